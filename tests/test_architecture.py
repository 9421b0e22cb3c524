"""An architecture computes shapes and counts, and refuses invalid networks."""

# Some tests pass wrong types on purpose.
# mypy: disable-error-code="arg-type,misc"

import subprocess
import sys

import pytest
from conftest import imported_frameworks

from lenet_multi.architecture import (
    PRESETS,
    Architecture,
    ArchitectureError,
    Conv,
    Dense,
    Flatten,
    Pool,
    lenet,
)

LENET5 = PRESETS["lenet5"]


def test_lenet5_has_the_chapters_shapes():
    assert LENET5.output_shapes == {
        "conv1": (6, 28, 28),
        "pool1": (6, 14, 14),
        "conv2": (16, 10, 10),
        "pool2": (16, 5, 5),
        "flatten": (400,),
        "dense1": (120,),
        "dense2": (84,),
        "dense3": (10,),
    }


def test_lenet5_has_61706_parameters():
    assert LENET5.num_parameters == 61_706


def test_lenet5_needs_416520_multiply_adds():
    assert LENET5.multiply_adds == 416_520


def test_parameters_are_named_and_shaped_canonically():
    assert list(LENET5.parameter_shapes.items())[:4] == [
        ("conv1.weight", (6, 1, 5, 5)),
        ("conv1.bias", (6,)),
        ("conv2.weight", (16, 6, 5, 5)),
        ("conv2.bias", (16,)),
    ]
    assert LENET5.parameter_shapes["dense1.weight"] == (120, 400)


def test_lenet5_max_differs_only_in_pooling():
    kinds = [layer.kind for layer in PRESETS["lenet5-max"].layers if isinstance(layer, Pool)]
    assert kinds == ["max", "max"]
    assert PRESETS["lenet5-max"].parameter_shapes == LENET5.parameter_shapes


def test_from_dict_inverts_to_dict():
    unusual = lenet(activation="relu", pooling="max", conv_channels=(4,), kernel_sizes=(3,), dense_units=())
    assert Architecture.from_dict(unusual.to_dict()) == unusual


def test_a_preset_has_its_name_and_other_networks_are_custom():
    assert LENET5.name == "lenet5"
    assert lenet(activation="tanh").name == "custom"


def test_a_description_cannot_be_changed():
    with pytest.raises(AttributeError):
        LENET5.layers = ()


def test_a_single_padding_applies_to_all_convolutions():
    three = lenet(conv_channels=(6, 16, 20), paddings=(2,))
    assert three.output_shapes["conv3"] == (20, 7, 7)


def network(*layers, input_shape=(1, 8, 8)):
    return Architecture(input_shape, (*layers, Flatten(), Dense(10)))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: network(Conv(4, 9)), "conv1"),
        (lambda: network(Conv(4, 3), Conv(4, 7)), "conv2"),
        (lambda: network(Conv(0, 3)), "conv1"),
        (lambda: network(Conv(4, 0)), "conv1"),
        (lambda: network(Conv(4, 3, padding=-1)), "conv1"),
        (lambda: network(Conv(4.0, 3)), "conv1"),
        (lambda: network(Conv(4, 3, activation="swish")), "conv1"),
        (lambda: network(Pool("avg", 9, 9)), "pool1"),
        (lambda: network(Pool("avg", 2, 2), Pool("avg", 5, 5)), "pool2"),
        (lambda: network(Pool("median", 2, 2)), "pool1"),
        (lambda: network(Pool("avg", 2, 0)), "pool1"),
        (lambda: network(Flatten()), "flatten2"),
        (lambda: network(input_shape=(0, 8, 8)), "input"),
        (lambda: Architecture((1, 8, 8), (Flatten(), Dense(0), Dense(10))), "dense1"),
        (lambda: Architecture((1, 8, 8), (Flatten(), Dense(5, "swish"), Dense(10))), "dense1"),
        (lambda: Architecture((1, 8, 8), (Dense(10),)), "dense1"),
        (lambda: Architecture((1, 8, 8), (Flatten(), Conv(1, 1), Dense(10))), "conv1"),
        (lambda: Architecture((1, 8, 8), (Flatten(),)), "logits"),
        (lambda: Architecture((1, 8, 8), (Flatten(), Dense(10, "relu"))), "logits"),
        (lambda: Architecture((1, 8, 8), ("conv",)), "layer 1"),
        (lambda: Architecture((8, 8), (Flatten(), Dense(10))), "input"),
        (lambda: lenet(paddings=(1, 2, 3)), "padding"),
        (lambda: lenet(kernel_sizes=()), "kernel size"),
        (lambda: Architecture.from_dict({"layers": 3}), "description"),
    ],
)
def test_an_invalid_network_is_refused_and_the_error_names_the_layer(build, named):
    with pytest.raises(ArchitectureError, match=named):
        build()


def test_the_package_imports_no_framework():
    code = (
        "import sys, lenet_multi.train, lenet_multi.evaluate, lenet_multi.shapes, lenet_multi.data;"
        f"print({imported_frameworks()})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
