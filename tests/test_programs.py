"""The programs that docs/lenet.md shows are those that `export` writes, with the network that the backends build."""

import runpy
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from conftest import INSTALLED, about

from lenet_multi.architecture import PRESETS
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.backends.layouts import channels_first_shape
from lenet_multi.exporting.dialects import load_dialect
from lenet_multi.exporting.program_text import Training, program_text

FOLDER = Path(__file__).parent.parent / "docs" / "programs"
PROGRAMS = {
    "torch": "lenet5_torch.py",
    "tensorflow": "lenet5_keras.py",
    "mxnet": "lenet5_gluon.py",
    "jax": "lenet5_flax.py",
}
ARCHITECTURE = PRESETS["lenet5"]
X = np.random.default_rng(0).random((2, *ARCHITECTURE.input_shape), np.float32)


def run_program(name: str, path: Path) -> dict[str, Any]:
    """Run a program and return its variables."""
    load_backend(name)  # prepares the framework
    return runpy.run_path(str(path))


def outputs_of(name: str, program: dict[str, Any]) -> dict[str, np.ndarray]:
    """The output of each layer of the description, after its activation, in the framework's layout."""
    dialect, outputs = load_dialect(name), {}
    x = eval(dialect.images, program, {"X": X})
    layer_name = ""
    for line, layer in zip(dialect.lines(ARCHITECTURE), eval(dialect.layers, program), strict=True):
        x = layer(x)
        layer_name = line.layer or layer_name  # an activation belongs to the layer before it
        outputs[layer_name] = eval(dialect.array, program, {"x": x})
    return outputs


def load_weights(name: str, program: dict[str, Any], net: Any) -> None:
    """Load the weights of a network of the backend as an exported program loads them."""
    dialect = load_dialect(name)
    with TemporaryDirectory() as folder:
        weights = {key: np.array(value, order="C") for key, value in dialect.weights(net).items()}
        safetensors.numpy.save_file(weights, Path(folder) / "net.safetensors")
        program["__file__"] = f"{folder}/net.py"
        exec(f"{dialect.load_imports}\n{dialect.load_weights}", program)


def check_shapes(name: str, program: dict[str, Any]) -> None:
    """Every layer has the output shape of the description."""
    layout = load_backend(name).LAYOUT
    shapes = [channels_first_shape(output.shape, layout) for output in outputs_of(name, program).values()]
    assert shapes == [(len(X), *shape) for shape in ARCHITECTURE.output_shapes.values()]


def check_numbers(name: str, program: dict[str, Any]) -> None:
    """With the same weights, every layer gives the same numbers as the backend's."""
    backend = load_backend(name)
    reference = backend.LeNet(ARCHITECTURE, device="cpu")
    load_weights(name, program, reference)
    found, expected = outputs_of(name, program), backend.layer_outputs(reference, X)
    assert list(found) == list(expected) == list(ARCHITECTURE.named_layers)
    for layer, output in expected.items():
        np.testing.assert_allclose(found[layer], output, rtol=1e-5, atol=1e-5, err_msg=layer)


def check_initialization(name: str, program: dict[str, Any]) -> None:
    """The initial weights are Xavier-uniform, the biases zero."""
    outputs_of(name, program)  # initializes Gluon's parameters, which wait for the first batch
    weights = load_dialect(name).weights(program["net"])
    for (key, shape), value in zip(ARCHITECTURE.parameter_shapes.items(), weights.values(), strict=True):
        if key.endswith(".bias"):
            assert not np.any(value), key
            continue
        out_channels, in_channels, *window = shape
        bound = np.sqrt(6 / (prod(window) * (in_channels + out_channels)))
        # At least one of 150 or more uniform numbers exceeds 0.9 of the bound, except in one of several million draws.
        assert 0.9 * bound < np.abs(value).max() <= bound * (1 + 1e-6), key


@pytest.mark.parametrize("name", BACKENDS)
def test_the_program_is_what_export_writes(name):
    text = program_text(name, ARCHITECTURE, Training(), PROGRAMS[name], weights=False)
    assert (FOLDER / PROGRAMS[name]).read_text() == text, "write it anew: see CONTRIBUTING.md"


@pytest.mark.parametrize("check", [check_shapes, check_numbers, check_initialization])
@pytest.mark.parametrize("name", INSTALLED)
def test_the_program_is_the_network_that_the_backend_builds(name, check):
    check(name, run_program(name, FOLDER / PROGRAMS[name]))


@pytest.mark.parametrize(
    ("name", "correct", "wrong", "check"),
    about(
        ("torch", "Linear(84, 10)", "Linear(84, 11)", check_shapes),
        ("tensorflow", "Dense(120,", "Dense(121,", check_shapes),
        ("mxnet", "Conv2D(16,", "Conv2D(17,", check_shapes),
        ("jax", "nnx.Linear(84, 10,", "nnx.Linear(84, 11,", check_shapes),
        ("torch", "nn.AvgPool2d", "nn.MaxPool2d", check_numbers),
        ("tensorflow", "AveragePooling2D", "MaxPooling2D", check_numbers),
        ("mxnet", "nn.AvgPool2D", "nn.MaxPool2D", check_numbers),
        ("jax", "nnx.avg_pool", "nnx.max_pool", check_numbers),
        ("torch", "nn.Sigmoid", "nn.Tanh", check_numbers),
        ("tensorflow", '"sigmoid"', '"tanh"', check_numbers),
        ("mxnet", '"sigmoid"', '"tanh"', check_numbers),
        ("jax", "nnx.sigmoid", "nnx.tanh", check_numbers),
        ("torch", "zeros_(layer.bias)", "uniform_(layer.bias)", check_initialization),
        ("torch", "xavier_uniform_", "xavier_normal_", check_initialization),
        ("tensorflow", "Dense(10)", 'Dense(10, kernel_initializer="he_uniform")', check_initialization),
        ("mxnet", "init.Xavier()", "init.Uniform()", check_initialization),
        ("jax", "kernel_init=xavier, ", "", check_initialization),
    ),
)
def test_the_checks_detect_a_wrong_program(name, correct, wrong, check, tmp_path):
    source = (FOLDER / PROGRAMS[name]).read_text()
    assert correct in source
    path = tmp_path / "wrong.py"
    path.write_text(source.replace(correct, wrong))
    program = run_program(name, path)
    with pytest.raises(AssertionError):
        check(name, program)
