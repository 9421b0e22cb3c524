"""The short programs that docs/lenet.md begins with are LeNet-5, the network that the backends build."""

import runpy
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet_multi.architecture import PRESETS
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.backends.interface import Backend
from lenet_multi.port_traces import trace_network
from lenet_multi.ports import compare_networks

FOLDER = Path(__file__).parent.parent / "docs" / "programs"
PROGRAMS = {"torch": "lenet5_torch.py", "tensorflow": "lenet5_keras.py", "mxnet": "lenet5_gluon.py"}
ARCHITECTURE = PRESETS["lenet5"]
X = np.random.default_rng(0).random((2, *ARCHITECTURE.input_shape), np.float32)
# The description does not list these as layers: an activation belongs to the layer before it.
NOT_LISTED = ("activation", "input")


def run_program(backend: Backend, path: Path) -> Any:
    """The network that a program defines."""
    net = runpy.run_path(str(path))["net"]
    backend.layer_outputs(net, X)  # Gluon's parameters have no values before the first batch
    return net


def check_shapes(backend: Backend, net: Any) -> None:
    shapes = [layer.output.shape for layer in trace_network(net, X).layers if layer.kind not in NOT_LISTED]
    assert shapes == [(len(X), *shape) for shape in ARCHITECTURE.output_shapes.values()]


def check_numbers(backend: Backend, net: Any) -> None:
    """The same weights give the same numbers in every layer, the logits the last."""
    reference = backend.LeNet(ARCHITECTURE, device="cpu")
    weights = backend.get_parameters(reference).values()
    backend.set_parameters(net, dict(zip(backend.get_parameters(net), weights, strict=True)))
    report = compare_networks(reference, net, X)
    assert len(report.layers) == 7, "expected two convolutions, two poolings and three dense layers"
    assert report.first_divergence is None, str(report)


def check_start(backend: Backend, net: Any) -> None:
    """Xavier-uniform weights, zero biases."""
    for name, value in backend.get_parameters(net).items():
        if name.endswith(".bias"):
            assert not value.any(), name
            continue
        out_channels, in_channels, *window = value.shape
        bound = np.sqrt(6 / (prod(window) * (in_channels + out_channels)))
        # One of 150 uniform numbers or more lies in the outer tenth, but for one case in millions.
        assert 0.9 * bound < np.abs(value).max() <= bound * (1 + 1e-6), name


@pytest.mark.parametrize("check", [check_shapes, check_numbers, check_start])
@pytest.mark.parametrize("name", BACKENDS)
def test_the_program_is_the_network_that_the_backend_builds(name, check):
    backend = load_backend(name)
    check(backend, run_program(backend, FOLDER / PROGRAMS[name]))


@pytest.mark.parametrize(
    ("name", "right", "wrong", "check"),
    [
        ("torch", "Linear(84, 10)", "Linear(84, 11)", check_shapes),
        ("tensorflow", "Dense(120,", "Dense(121,", check_shapes),
        ("mxnet", "Conv2D(16,", "Conv2D(17,", check_shapes),
        ("torch", "nn.AvgPool2d", "nn.MaxPool2d", check_numbers),
        ("tensorflow", "AveragePooling2D", "MaxPooling2D", check_numbers),
        ("mxnet", "nn.AvgPool2D", "nn.MaxPool2D", check_numbers),
        ("torch", "nn.Sigmoid", "nn.Tanh", check_numbers),
        ("tensorflow", '"sigmoid"', '"tanh"', check_numbers),
        ("mxnet", '"sigmoid"', '"tanh"', check_numbers),
        ("torch", "zeros_(layer.bias)", "uniform_(layer.bias)", check_start),
        ("torch", "xavier_uniform_", "xavier_normal_", check_start),
        ("tensorflow", "Dense(10)", 'Dense(10, kernel_initializer="he_uniform")', check_start),
        ("mxnet", "init.Xavier()", "init.Uniform()", check_start),
    ],
)
def test_a_wrong_program_is_noticed(name, right, wrong, check, tmp_path):
    source = (FOLDER / PROGRAMS[name]).read_text()
    assert right in source
    path = tmp_path / "wrong.py"
    path.write_text(source.replace(right, wrong))
    backend = load_backend(name)
    net = run_program(backend, path)
    with pytest.raises(AssertionError):
        check(backend, net)
