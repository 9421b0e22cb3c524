"""Measure the error of each backend and compare it with the tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend


@dataclass(frozen=True)
class Measurement:
    """The errors that a check found for one backend.

    Args:
        errors: part (layer, parameter, step, ...) to error.
        tolerance: the largest error that passes.
        values: the numbers behind the errors, where they say more: losses, counts.
    """

    errors: dict[str, float]
    tolerance: float
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The part with the largest error; of equal errors, the first."""
        return max(self.errors, key=lambda part: comparable(self.errors[part]))

    @property
    def error(self) -> float:
        return self.errors[self.worst]

    @property
    def passed(self) -> bool:
        return comparable(self.error) <= self.tolerance

    @property
    def first_failing(self) -> str | None:
        """The first part, in the order of the network, whose error exceeds the tolerance."""
        return next((part for part, error in self.errors.items() if comparable(error) > self.tolerance), None)


Backends = Mapping[str, "Backend"]
Measurements = dict[str, Measurement]  # by backend name
Errors = dict[str, float]
ErrorsAndValues = tuple[Errors, dict[str, Any]]


def comparable(error: float) -> float:
    """NaN as infinity: the worst error."""
    return math.inf if math.isnan(error) else error


def measure_each(
    backends: Backends, tolerance: float, measure: Callable[[Backend], Errors | ErrorsAndValues]
) -> Measurements:
    """Measure every backend. A backend that raises an error fails the check; the others are still measured."""
    measurements = {}
    for name, backend in backends.items():
        try:
            found = measure(backend)
        except Exception as problem:
            found = {f"{type(problem).__name__} ({' '.join(str(problem).split())[:200]})": math.inf}
        errors, values = found if isinstance(found, tuple) else (found, {})
        measurements[name] = Measurement(errors, tolerance, values)
    return measurements


def names_that_fail(backends: Backends, prepare: Callable[[str], None]) -> list[str]:
    """Call `prepare` with each backend's name, and return the names for which it raised an error."""
    failed = []
    for name in backends:
        try:
            prepare(name)
        except Exception:
            failed.append(name)
    return failed


def largest_error(found: np.ndarray | None, expected: np.ndarray) -> float:
    """The largest absolute difference; infinite if the array is missing or has another shape."""
    return math.inf if found is None or found.shape != expected.shape else float(np.abs(found - expected).max())


def relative_error(found: np.ndarray | None, expected: np.ndarray, least: float) -> float:
    """The largest absolute difference, relative to the largest expected value or `least`, whichever is larger."""
    return largest_error(found, expected) / (max(float(np.abs(expected).max()), least) or 1.0)
