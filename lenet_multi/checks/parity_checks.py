"""The eleven parity checks in order, from output shapes to whole training runs.

Each check compares every backend with the float64 reference. Two backends that agree with the reference agree with each
other, within twice the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lenet_multi.checks import layer_checks, training_checks
from lenet_multi.checks.fixture import Fixture
from lenet_multi.checks.measurement import Backends, Measurements


@dataclass(frozen=True)
class ParityCheck:
    """One check.

    Args:
        number: its place in the order.
        title: what it compares.
        tolerance: the largest error that passes.
        reason: why the tolerance has this value.
        measure: measures the error of each backend.
    """

    number: int
    title: str
    tolerance: float
    reason: str
    measure: Callable[[Fixture, Backends, float], Measurements]


PARITY_CHECKS = (
    ParityCheck(1, "output shapes", 0, "shapes are equal or not", layer_checks.output_shapes),
    ParityCheck(2, "parameter names and shapes", 0, "as check 1", layer_checks.parameter_shapes),
    ParityCheck(
        3,
        "initialization",
        5,
        "standard errors: one draw in two million deviates more by chance",
        layer_checks.initialization,
    ),
    ParityCheck(
        4,
        "layer outputs",
        5e-6,
        "float32 rounds at 6e-8, a sum of 400 products at about 1e-6",
        layer_checks.layer_outputs,
    ),
    ParityCheck(5, "loss", 2e-6, "mean of 256 float32 losses, each with an error of about 1e-7", layer_checks.loss),
    ParityCheck(
        6,
        "gradients",
        1e-4,
        "sums of up to 200,704 products in float32, some of which nearly cancel",
        layer_checks.gradients,
    ),
    ParityCheck(7, "weights after one SGD step", 1e-4, "as check 6", training_checks.sgd_step),
    ParityCheck(
        8,
        "100 steps: losses, final weights",
        5e-4,
        "two backends are within 1e-3 of each other",
        training_checks.training_run,
    ),
    ParityCheck(
        9,
        "correct predictions on the test set",
        0,
        "counts are equal, except for ties between logits",
        layer_checks.correct_predictions,
    ),
    ParityCheck(10, "logits with exchanged parameters", 5e-6, "as check 4", layer_checks.exchanged_parameters),
    ParityCheck(11, "run resumed in another framework", 5e-4, "as check 8", training_checks.cross_framework_resume),
)


@dataclass(frozen=True)
class CheckResult:
    """A check, and its measurements by backend."""

    check: ParityCheck
    measurements: Measurements = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(measurement.passed for measurement in self.measurements.values())


def run_checks(
    fixture: Fixture, backends: Backends, checks: tuple[ParityCheck, ...] = PARITY_CHECKS
) -> Iterator[CheckResult]:
    """Run the checks and yield each result; a failed check does not stop the next one."""
    for check in checks:
        yield CheckResult(check, check.measure(fixture, backends, check.tolerance))
