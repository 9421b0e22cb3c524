"""The programs that docs/lenet.md shows are those that `export` writes, with the network that the backends build."""

import runpy
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, about

from lenet_multi.architecture import PRESETS
from lenet_multi.backends import load_backend
from lenet_multi.backends.interface import Backend
from lenet_multi.exporting.program_text import Training, program_text
from lenet_multi.ports import compare_networks
from lenet_multi.ports.networks import channels_first, network_of, run_network
from lenet_multi.ports.recording import Collector

FOLDER = Path(__file__).parent.parent / "docs" / "programs"
PROGRAMS = {"torch": "lenet5_torch.py", "tensorflow": "lenet5_keras.py", "mxnet": "lenet5_gluon.py"}
ARCHITECTURE = PRESETS["lenet5"]
X = np.random.default_rng(0).random((2, *ARCHITECTURE.input_shape), np.float32)
# An architecture does not list these as layers: an activation belongs to the layer before it.
NOT_LISTED = ("activation", "input")


def run_program(backend: Backend, path: Path) -> Any:
    """Run a program and return its network."""
    net = runpy.run_path(str(path))["net"]
    backend.layer_outputs(net, X)  # initializes Gluon's parameters, which wait for the first batch
    return net


def check_shapes(backend: Backend, net: Any) -> None:
    """Every layer has the output shape of the description."""
    network, collected = network_of(net, "network"), Collector()
    run_network(network, (X,), collected, "network")
    listed = [call.output for call in collected.calls if call.kind not in NOT_LISTED and call.output is not None]
    shapes = [channels_first(output, network).shape for output in listed]
    assert shapes == [(len(X), *shape) for shape in ARCHITECTURE.output_shapes.values()]


def check_numbers(backend: Backend, net: Any) -> None:
    """With the same weights, every layer gives the same numbers as the backend's."""
    reference = backend.LeNet(ARCHITECTURE, device="cpu")
    weights = backend.get_parameters(reference).values()
    backend.set_parameters(net, dict(zip(backend.get_parameters(net), weights, strict=True)))
    report = compare_networks(reference, net, X)
    assert len(report.layers) == 11, "expected two convolutions, two poolings, three dense layers, four activations"
    assert report.first_divergence is None, str(report)


def check_initialization(backend: Backend, net: Any) -> None:
    """The initial weights are Xavier-uniform, the biases zero."""
    for name, value in backend.get_parameters(net).items():
        if name.endswith(".bias"):
            assert not value.any(), name
            continue
        out_channels, in_channels, *window = value.shape
        bound = np.sqrt(6 / (prod(window) * (in_channels + out_channels)))
        # At least one of 150 or more uniform numbers exceeds 0.9 of the bound, except in one of several million draws.
        assert 0.9 * bound < np.abs(value).max() <= bound * (1 + 1e-6), name


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_is_what_export_writes(name):
    text = program_text(name, ARCHITECTURE, Training(), PROGRAMS[name], weights=False)
    assert (FOLDER / PROGRAMS[name]).read_text() == text, "write it anew: see CONTRIBUTING.md"


@pytest.mark.parametrize("check", [check_shapes, check_numbers, check_initialization])
@pytest.mark.parametrize("name", INSTALLED)
def test_the_program_is_the_network_that_the_backend_builds(name, check):
    backend = load_backend(name)
    check(backend, run_program(backend, FOLDER / PROGRAMS[name]))


@pytest.mark.parametrize(
    ("name", "correct", "wrong", "check"),
    about(
        ("torch", "Linear(84, 10)", "Linear(84, 11)", check_shapes),
        ("tensorflow", "Dense(120,", "Dense(121,", check_shapes),
        ("mxnet", "Conv2D(16,", "Conv2D(17,", check_shapes),
        ("torch", "nn.AvgPool2d", "nn.MaxPool2d", check_numbers),
        ("tensorflow", "AveragePooling2D", "MaxPooling2D", check_numbers),
        ("mxnet", "nn.AvgPool2D", "nn.MaxPool2D", check_numbers),
        ("torch", "nn.Sigmoid", "nn.Tanh", check_numbers),
        ("tensorflow", '"sigmoid"', '"tanh"', check_numbers),
        ("mxnet", '"sigmoid"', '"tanh"', check_numbers),
        ("torch", "zeros_(layer.bias)", "uniform_(layer.bias)", check_initialization),
        ("torch", "xavier_uniform_", "xavier_normal_", check_initialization),
        ("tensorflow", "Dense(10)", 'Dense(10, kernel_initializer="he_uniform")', check_initialization),
        ("mxnet", "init.Xavier()", "init.Uniform()", check_initialization),
    ),
)
def test_the_checks_detect_a_wrong_program(name, correct, wrong, check, tmp_path):
    source = (FOLDER / PROGRAMS[name]).read_text()
    assert correct in source
    path = tmp_path / "wrong.py"
    path.write_text(source.replace(correct, wrong))
    backend = load_backend(name)
    net = run_program(backend, path)
    with pytest.raises(AssertionError):
        check(backend, net)
