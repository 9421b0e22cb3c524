"""Tests of the float64 reference: its gradients by finite differences, its outputs by hand."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import imported_frameworks

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.checks import float64_reference

SMALL = [
    Architecture(
        (2, 9, 8),
        (
            Conv(3, 3, 2, "tanh"),
            Pool("max", 3, 2),
            Conv(2, 2, 0, "relu"),
            Pool("avg", 2, 1),
            Flatten(),
            Dense(5, "sigmoid"),
            Dense(10),
        ),
    ),
    Architecture((1, 6, 7), (Conv(2, 3, 1, "sigmoid"), Pool("avg", 3, 2), Pool("max", 2, 1), Flatten(), Dense(10))),
    Architecture((3, 4, 4), (Pool("max", 2, 1), Conv(2, 2), Flatten(), Dense(4, "relu"), Dense(10))),
    Architecture((1, 3, 3), (Flatten(), Dense(6, "tanh"), Dense(10))),
]


def random_case(architecture, seed=0):
    rng = np.random.default_rng(seed)
    parameters = {name: rng.normal(0, 0.5, shape) for name, shape in architecture.parameter_shapes.items()}
    return parameters, rng.random((4, *architecture.input_shape)), rng.integers(0, 10, 4)


@pytest.mark.parametrize("architecture", SMALL)
def test_every_gradient_is_the_slope_of_the_loss(architecture):
    parameters, X, y = random_case(architecture)
    last = list(architecture.named_layers)[-1]
    _, gradients = float64_reference.loss_and_gradients(architecture, parameters, X, y)
    assert list(gradients) == list(parameters)
    step = 1e-6
    for name, value in parameters.items():
        slope = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            for sign in (1, -1):
                shifted = parameters | {name: value.copy()}
                shifted[name][index] += sign * step
                outputs = float64_reference.forward(architecture, shifted, X)
                slope[index] += sign * float64_reference.cross_entropy(outputs[last], y) / (2 * step)
        np.testing.assert_allclose(gradients[name], slope, atol=1e-7)


def test_a_convolution_is_a_cross_correlation_with_zero_padding():
    architecture = Architecture((1, 2, 2), (Conv(1, 3, padding=1), Flatten(), Dense(10)))
    kernel = np.arange(9.0).reshape(1, 1, 3, 3)
    parameters = {"conv1.weight": kernel, "conv1.bias": np.array([100.0])}
    parameters |= {"dense1.weight": np.zeros((10, 4)), "dense1.bias": np.zeros(10)}
    X = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    # The kernel is centered on each pixel in turn. On the first pixel, its numbers 4, 5, 7 and 8 cover the image.
    expected = [
        [1 * 4 + 2 * 5 + 3 * 7 + 4 * 8, 1 * 3 + 2 * 4 + 3 * 6 + 4 * 7],
        [1 * 1 + 2 * 2 + 3 * 4 + 4 * 5, 1 * 0 + 2 * 1 + 3 * 3 + 4 * 4],
    ]
    output = float64_reference.forward(architecture, parameters, X)["conv1"]
    np.testing.assert_allclose(output[0, 0], np.array(expected) + 100)


@pytest.mark.parametrize(("kind", "expected"), [("avg", [4.0, 6.0]), ("max", [7.0, 9.0])])
def test_pooling_drops_pixels_that_do_not_fill_a_window(kind, expected):
    X = np.arange(1.0, 16).reshape(1, 1, 3, 5)
    assert float64_reference.layer_forward("pool1", Pool(kind, 2, 2), {}, X).tolist() == [[[expected]]]


def test_flatten_keeps_the_channels_first_order():
    X = np.arange(12.0).reshape(1, 3, 2, 2)
    assert float64_reference.layer_forward("flatten", Flatten(), {}, X).tolist() == [list(range(12))]


def test_the_loss_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    assert float64_reference.cross_entropy(np.zeros((5, 10)), np.arange(5)) == pytest.approx(np.log(10))


def test_huge_logits_do_not_overflow():
    assert float64_reference.cross_entropy(np.array([[1e4, -1e4]]), np.array([1])) == pytest.approx(2e4)
    assert np.isfinite(float64_reference.activate("sigmoid", np.array([-1e4, 1e4]))).all()


def test_an_sgd_step_goes_against_the_gradient():
    stepped = float64_reference.sgd_step({"w": np.ones(2, np.float32)}, {"w": np.array([1.0, -2.0])}, lr=0.5)
    assert stepped["w"].tolist() == [0.5, 2.0]
    assert stepped["w"].dtype == np.float64


def test_training_steps_lower_the_loss():
    architecture = lenet(activation="tanh")
    parameters = float64_reference.xavier_uniform(architecture)
    rng = np.random.default_rng(0)
    X, y = rng.random((8, 1, 28, 28)), rng.integers(0, 10, 8)
    losses = []
    for _ in range(5):
        loss, gradients = float64_reference.loss_and_gradients(architecture, parameters, X, y)
        parameters = float64_reference.sgd_step(parameters, gradients, 0.1)
        losses.append(loss)
    assert losses == sorted(losses, reverse=True)


def test_the_float64_reference_imports_no_framework():
    code = f"import sys, lenet_multi.checks.float64_reference; print({imported_frameworks()})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_examples_near_a_kink_are_found():
    """A maximum of two nearly equal numbers, and a relu of nearly 0. Exactly equal numbers do not count."""
    architecture = Architecture((1, 2, 2), (Pool("max", 2, 2), Flatten(), Dense(1, "relu"), Dense(10, None)))
    parameters = {
        "dense1.weight": np.ones((1, 1)),
        "dense1.bias": np.full(1, -0.5),
        "dense2.weight": np.ones((10, 1)),
        "dense2.bias": np.zeros(10),
    }
    X = np.zeros((5, 1, 2, 2))
    X[:, 0, 0] = [[1.0, 0.2], [1.0, 1.0], [1, 1 - 1e-9], [0.5, 0], [0.5 + 1e-9, 0]]
    near = float64_reference.near_a_kink(architecture, parameters, X, 1e-6)
    assert near.tolist() == [False, False, True, False, True]
    assert float64_reference.has_kinks(architecture)
    assert not float64_reference.has_kinks(lenet())
