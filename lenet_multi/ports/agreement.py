"""Decides whether two arrays agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Agree = Callable[[np.ndarray, np.ndarray], bool]

# The smallest scale for the relative tolerance: below it, float32 has fewer than seven digits.
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


def agree_within(reference: np.ndarray, port: np.ndarray, tolerance: float) -> bool:
    """Whether the largest difference is at most `tolerance` times the reference's largest absolute value.

    Arrays of different shapes do not agree. NaN and infinity agree with nothing.
    """
    if reference.shape != port.shape:
        return False
    scale = np.abs(reference).max(initial=SMALLEST_SCALE)
    return bool(np.isfinite(scale)) and bool(np.abs(reference - port).max(initial=0) <= tolerance * scale)


def are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same shape and numbers; NaN equals NaN."""
    return np.array_equal(a, b, equal_nan=True)


def is_informative(array: np.ndarray) -> bool:
    """Whether an array has more than eight numbers, not all equal, so that agreement is no accident."""
    return array.size > 8 and bool((array != array.flat[0]).any())
