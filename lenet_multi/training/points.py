"""A point of the training curves, and the points that a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Point:
    """Means over the epoch so far and, at the end of an epoch, the test accuracy.

    `epoch` is fractional within an epoch: 0.2 is a fifth of the way through the first.
    """

    epoch: float
    train_loss: float
    train_acc: float
    test_acc: float | None = None


def thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    """At most `most` of the points: of many, only ends of epochs, evenly spaced, and the last is one of them."""
    if len(points) > most:
        points = [point for point in points if point.test_acc is not None]
    step = -(-len(points) // most) or 1
    return points[(len(points) - 1) % step :: step]


def rounded(value: float | None) -> float | None:
    """A value with the digits that a page shows."""
    return None if value is None else float(f"{value:.5g}")
