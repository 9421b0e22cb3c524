"""Checks 7, 8 and 11: one SGD step, a training run, and a run resumed in another framework, in the backends' own loops.

Each function is the `measure` of a `ParityCheck`: it takes the fixture, the backends and the tolerance.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.checks import float64_reference
from lenet_multi.checks.fixture import BATCH_SIZE, NUM_EPOCHS, TRAINING_BATCH_SIZE, Fixture
from lenet_multi.checks.float64_reference import Arrays
from lenet_multi.checks.measurement import (
    Backends,
    Errors,
    ErrorsAndValues,
    Measurements,
    comparable,
    largest_error,
    measure_each,
    names_that_fail,
)
from lenet_multi.data import BatchSampler, Split
from lenet_multi.training.points import Point
from lenet_multi.training.recorder import Recorder

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend, Network


def sgd_step(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 7. The error of each parameter after one step, relative to the step, with the scale of check 6.

    The rounding of the weight itself is subtracted: it is float32, and may be much larger than the step.
    """
    gradients = fixture.loss_and_gradients[1]
    expected = float64_reference.sgd_step(fixture.parameters, gradients, fixture.lr)
    least = max(float(np.abs(value).max()) for value in gradients.values()) / 100

    def measure(backend: Backend) -> Errors:
        net = fixture.network(backend, fixture.parameters)
        _train(backend, net, fixture.batch, fixture, epochs=1, batch_size=BATCH_SIZE)
        found = backend.get_parameters(net)
        errors = {}
        for name, value in expected.items():
            rounding = float(np.finfo(np.float32).eps * np.abs(value).max())
            step = fixture.lr * max(float(np.abs(gradients[name]).max()), least)
            errors[name] = max(largest_error(found.get(name), value) - rounding, 0.0) / (step or 1.0)
        return errors

    return measure_each(backends, tolerance, measure)


def training_run(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 8. The absolute error of the loss at each step, from the same initial parameters.

    Also the distance of the final parameters from the reference's, relative to the distance that the reference's moved.
    """
    losses, final = fixture.training

    def measure(backend: Backend) -> ErrorsAndValues:
        net = fixture.network(backend, fixture.start)
        found = _train(backend, net, fixture.training_data, fixture, epochs=NUM_EPOCHS)
        errors = errors_of_run(fixture, found, backend.get_parameters(net), losses, final)
        return errors, {"losses": found, "expected": losses}

    return measure_each(backends, tolerance, measure)


def errors_of_run(
    fixture: Fixture, found: list[float], parameters: Arrays, losses: list[float], final: Arrays
) -> Errors:
    """The errors of check 8 for a run's losses and final parameters."""
    return _errors_by_step(found, losses) | _error_of_final_weights(fixture, parameters, final, is_short=False)


def cross_framework_resume(fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 11. As check 8, for a second epoch after a first one in each framework: the largest of its errors."""
    losses, final = fixture.resumed_training
    first_epochs: dict[str, tuple[Arrays, list[Point]]] = {}

    def train_first_epoch(name: str) -> None:
        backend = backends[name]
        net, recorder = fixture.network(backend, fixture.start), Recorder(reports_per_epoch=fixture.resume_steps)
        _train(backend, net, fixture.resume_data, fixture, epochs=1, recorder=recorder)
        first_epochs[name] = backend.get_parameters(net), recorder.points

    untrained = names_that_fail(backends, train_first_epoch)

    def measure(backend: Backend) -> ErrorsAndValues:
        errors = {f"after {name}": math.inf for name in untrained}
        values = {}
        for name, (parameters, points) in first_epochs.items():
            recorder = Recorder(first_epoch=1, points=points, reports_per_epoch=fixture.resume_steps)
            net = fixture.network(backend, parameters)
            found = _train(backend, net, fixture.resume_data, fixture, epochs=2, recorder=recorder)
            values[f"losses after {name}"] = found
            parts = _errors_by_step(found, losses)
            parts |= _error_of_final_weights(fixture, backend.get_parameters(net), final, is_short=True)
            errors[f"after {name}"] = max(parts.values(), key=comparable)
        return errors, values

    return measure_each(backends, tolerance, measure)


def _train(
    backend: Backend,
    net: Network,
    data: Split,
    fixture: Fixture,
    epochs: int,
    recorder: Recorder | None = None,
    batch_size: int = TRAINING_BATCH_SIZE,
) -> list[float]:
    """Train with the backend's own loop, without output, and return the loss of every step."""
    num_batches = len(BatchSampler(len(data), batch_size))
    recorder = recorder or Recorder(reports_per_epoch=num_batches)
    test_data = fixture.dataset.test.subset(BATCH_SIZE)
    with contextlib.redirect_stdout(io.StringIO()):
        backend.train(
            net,
            data,
            test_data,
            num_epochs=epochs,
            lr=fixture.lr,
            batch_size=batch_size,
            seed=fixture.seed,
            recorder=recorder,
        )
    means = [point.train_loss for point in recorder.points]
    return list(step_losses(means, num_batches, batch_size, len(data)))


def step_losses(means: list[float], num_batches: int, batch_size: int, num_examples: int) -> Iterator[float]:
    """The loss of each step, from its running means over each epoch."""
    sum_before, examples_before = 0.0, 0
    for number, mean in enumerate(means):
        examples = min((number % num_batches + 1) * batch_size, num_examples)
        if number % num_batches == 0:
            sum_before, examples_before = 0.0, 0
        yield (mean * examples - sum_before) / (examples - examples_before)
        sum_before, examples_before = mean * examples, examples


def _errors_by_step(found: list[float], expected: list[float]) -> Errors:
    if len(found) != len(expected):
        return {f"{len(found)} steps instead of {len(expected)}": math.inf}
    pairs = enumerate(zip(found, expected, strict=True), start=1)
    return {f"step {step}": abs(a - b) for step, (a, b) in pairs}


def _error_of_final_weights(fixture: Fixture, found: Arrays, expected: Arrays, is_short: bool) -> Errors:
    """The distance of the final parameters from the expected ones, relative to the distance that the latter moved.

    Distances are Euclidean, over all parameters. At the kink of a relu or a maximum, a rounding error changes a whole
    gradient. For networks with kinks the error is therefore divided by 10, and by 40 in a short run, in which such a
    gradient is a larger part of the distance.
    """

    def distance(parameters: Arrays) -> float:
        return math.sqrt(sum(float(((parameters[name] - value) ** 2).sum()) for name, value in expected.items()))

    if {name: value.shape for name, value in found.items()} != fixture.architecture.parameter_shapes:
        return {"final weights": math.inf}
    allowance = (40 if is_short else 10) if float64_reference.has_kinks(fixture.architecture) else 1
    return {"final weights": distance(found) / ((distance(fixture.start) or 1.0) * allowance)}
