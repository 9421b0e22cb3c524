"""A point of the training curves."""

from __future__ import annotations

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
