"""Checks 1 to 6, 9 and 10: shapes, parameters, layer outputs, loss, gradients, predictions. Nothing is trained.

Each function is the `measure` of a `ParityCheck`: it takes the fixture, the backends and the tolerance.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.backends.layouts import canonical_output, channels_first_shape
from lenet_multi.checks.fixture import BATCH_SIZE, Fixture
from lenet_multi.checks.float64_reference import xavier_bound
from lenet_multi.checks.measurement import (
    Backends,
    Errors,
    ErrorsAndValues,
    Measurements,
    largest_error,
    measure_each,
    names_that_fail,
    relative_error,
)
from lenet_multi.data import BatchSampler
from lenet_multi.runs.weights import load_weights, save_weights

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend

# A loss is the difference of two numbers as large as the logits, and carries their rounding errors. Near 0 these can be
# larger than the loss: the error of a smaller loss than this one is relative to this one.
LEAST_LOSS = 1e-3
RELATIVE_TIE = 1e-6  # two logits tie in float32 if they differ by less than this times the largest term of a logit


def output_shapes(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 1. The error of a layer is 1 if its output shape is not the description's, else 0."""
    expected = fixture.architecture.output_shapes

    def measure(backend: Backend) -> Errors:
        outputs = backend.layer_outputs(fixture.network(backend), fixture.inputs)
        shapes = {name: channels_first_shape(out.shape, backend.LAYOUT)[1:] for name, out in outputs.items()}
        return {name: float(shapes.get(name) != shape) for name, shape in expected.items()}

    return measure_each(backends, tolerance, measure)


def parameter_shapes(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 2. The error of a parameter is 1 if it is missing, has another shape or does not belong there, else 0."""
    expected = fixture.architecture.parameter_shapes

    def measure(backend: Backend) -> Errors:
        found = {name: value.shape for name, value in backend.get_parameters(fixture.network(backend)).items()}
        return {name: float(found.get(name) != expected.get(name)) for name in expected | found}

    return measure_each(backends, tolerance, measure)


def initialization(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 3. The deviation of a weight's mean and variance from those of a uniform draw, in standard errors.

    The larger of the two deviations counts. It is infinite if a weight exceeds the Xavier bound, or a bias is not zero.
    """

    def deviation(name: str, value: np.ndarray | None) -> float:
        if value is None:
            return math.inf
        if name.endswith(".bias"):
            return math.inf if value.any() else 0.0
        bound = xavier_bound(value.shape)
        if np.abs(value).max() > bound * (1 + 1e-6):
            return math.inf
        # A uniform draw from [-1, 1] has mean 0 and mean square 1/3. Estimated from n values, their standard errors
        # are sqrt(1/3 / n) and, relative to the mean square, sqrt(0.8 / n).
        draw = value.astype(np.float64) / bound
        mean = abs(draw.mean()) / math.sqrt(1 / 3 / draw.size)
        variance = abs(3 * (draw**2).mean() - 1) / math.sqrt(0.8 / draw.size)
        return float(max(mean, variance))

    def measure(backend: Backend) -> Errors:
        found = backend.get_parameters(fixture.network(backend))
        return {name: deviation(name, found.get(name)) for name in fixture.architecture.parameter_shapes}

    return measure_each(backends, tolerance, measure)


def layer_outputs(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 4. The largest absolute error of each layer's output."""

    def measure(backend: Backend) -> Errors:
        net = fixture.network(backend, fixture.parameters)
        outputs = backend.layer_outputs(net, fixture.inputs)
        found = {
            name: canonical_output(fixture.architecture, name, output, backend.LAYOUT)
            for name, output in outputs.items()
        }
        return {name: largest_error(found.get(name), expected) for name, expected in fixture.outputs.items()}

    return measure_each(backends, tolerance, measure)


def loss(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 5. The error of a batch's mean cross-entropy, relative to it or to `LEAST_LOSS`, whichever is larger."""
    expected, _ = fixture.loss_and_gradients

    def measure(backend: Backend) -> ErrorsAndValues:
        net = fixture.network(backend, fixture.parameters)
        found, _ = backend.loss_and_gradients(net, fixture.inputs, fixture.labels)
        error = abs(found - expected) / max(expected, LEAST_LOSS)
        return {"loss": error}, {"loss": found, "expected": expected}

    return measure_each(backends, tolerance, measure)


def gradients(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 6. The largest error of each parameter's gradient, relative to the largest value of that gradient.

    A gradient below a hundredth of the network's largest is the difference of larger terms and carries their rounding
    errors: its error is relative to that hundredth.
    """
    _, expected = fixture.loss_and_gradients
    least = max(float(np.abs(value).max()) for value in expected.values()) / 100

    def measure(backend: Backend) -> Errors:
        net = fixture.network(backend, fixture.parameters)
        _, found = backend.loss_and_gradients(net, fixture.inputs, fixture.labels)
        return {name: relative_error(found.get(name), value, least) for name, value in expected.items()}

    return measure_each(backends, tolerance, measure)


def correct_predictions(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 9. The difference in the number of correct predictions on the test set that ties do not explain.

    An example is a tie if float32 rounding can change which is larger: its label's logit or the largest other one. It
    may count as correct or not.
    """
    labels = fixture.dataset.test.labels.astype(np.int64)
    logits = fixture.test_logits
    label_logits = logits[np.arange(len(labels)), labels]
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    lead = label_logits - others.max(axis=1)
    # A logit can be the difference of larger terms, and then carries their rounding errors.
    bias = fixture.parameters[f"{fixture.last_layer}.bias"]
    tie = RELATIVE_TIE * max(np.abs(terms).max() for terms in (logits, logits - bias, bias))
    least, most = int((lead > tie).sum()), int((lead > -tie).sum())

    def measure(backend: Backend) -> ErrorsAndValues:
        net = fixture.network(backend, fixture.parameters)
        test_iter = backend.batches(fixture.dataset.test, BatchSampler(len(labels), BATCH_SIZE), fixture.device)
        found = round(backend.evaluate_accuracy(net, test_iter) * len(labels))
        values = {"correct": found, "expected, ties wrong": least, "expected, ties right": most}
        return {"correct predictions": float(max(least - found, found - most, 0))}, values

    return measure_each(backends, tolerance, measure)


def exchanged_parameters(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 10. The largest absolute error of the logits after loading the parameters that each backend saved."""
    last = fixture.last_layer
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.safetensors" for name in backends}

        def save(name: str) -> None:
            backend = backends[name]
            save_weights(files[name], backend.get_parameters(fixture.network(backend, fixture.parameters)), {})

        unsaved = names_that_fail(backends, save)

        def measure(backend: Backend) -> Errors:
            errors = {}
            for name, file in files.items():
                if name in unsaved:
                    errors[f"saved by {name}"] = math.inf
                    continue
                loaded, _ = load_weights(file)
                found = backend.layer_outputs(fixture.network(backend, loaded), fixture.inputs)[last]
                errors[f"saved by {name}"] = largest_error(found, fixture.outputs[last])
            return errors

        return measure_each(backends, tolerance, measure)
