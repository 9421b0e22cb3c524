"""Recognises a network that has learned nothing by its loss."""

import math

CHANCE_TOLERANCE = 0.01  # relative distance from the chance loss below which a loss shows no learning


def chance_loss(num_classes: int) -> float:
    """The cross-entropy of equal probabilities for all classes."""
    return math.log(num_classes)


def is_chance_loss(loss: float, num_classes: int, num_epochs: int, num_train: int) -> bool:
    """Whether a run's train loss is still the chance loss after enough training to be lower.

    Args:
        loss: mean over the last epoch.
        num_classes: the number of classes.
        num_epochs: epochs of the whole run. With sigmoids the first one may be all plateau.
        num_train: training examples. With few of them, an epoch has too few steps to tell.
    """
    expected = chance_loss(num_classes)
    return num_epochs >= 2 and num_train >= 10_000 and abs(loss - expected) <= CHANCE_TOLERANCE * expected
