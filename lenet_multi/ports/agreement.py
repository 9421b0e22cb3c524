"""Decides whether two arrays agree."""

from __future__ import annotations

import numpy as np

# The smallest scale for the relative tolerance: below it, float32 has fewer than seven digits.
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


def largest_error(reference: np.ndarray, port: np.ndarray) -> float:
    """The largest absolute difference; infinite if the shapes differ or a value is not finite."""
    if reference.shape != port.shape:
        return float("inf")
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.subtract(reference, port)
        error = float(max(difference.max(initial=0), -difference.min(initial=0)))
    return error if np.isfinite(error) else float("inf")


def scale_of(reference: np.ndarray) -> float:
    """The largest absolute value, which errors are relative to."""
    return float(max(reference.max(initial=0), -reference.min(initial=0), SMALLEST_SCALE))


def agree_within(reference: np.ndarray, port: np.ndarray, tolerance: float) -> bool:
    """Whether the largest difference is at most `tolerance` times the reference's largest absolute value.

    Arrays of different shapes do not agree. NaN and infinity agree with nothing.
    """
    error = largest_error(reference, port)
    return error < float("inf") and error <= tolerance * scale_of(reference)


def correlation(reference: np.ndarray, port: np.ndarray) -> float:
    """Pearson's correlation coefficient of two arrays of one shape; 0 where one is constant or not finite."""
    x, y = (array.ravel().astype(np.float64) for array in (reference, port))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else 0.0


def is_informative(array: np.ndarray) -> bool:
    """Whether an array has more than eight numbers, not all equal, so that agreement is no accident."""
    return array.size > 8 and bool((array != array.flat[0]).any())
