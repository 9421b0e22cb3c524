"""Recognises a network that has learned nothing by its loss."""

import math

from lenet_multi.architecture import NUM_CLASSES

CHANCE_LOSS = math.log(NUM_CLASSES)  # cross-entropy of equal probabilities for all classes
CHANCE_TOLERANCE = 0.01  # relative distance from CHANCE_LOSS below which a loss shows no learning


def is_chance_loss(loss: float, num_epochs: int, num_train: int) -> bool:
    """Whether a run's train loss is still the chance loss after enough training to be lower.

    Args:
        loss: mean over the last epoch.
        num_epochs: epochs of the whole run. With sigmoids the first one may be all plateau.
        num_train: training examples. With few of them, an epoch has too few steps to tell.
    """
    return num_epochs >= 2 and num_train >= 10_000 and abs(loss - CHANCE_LOSS) <= CHANCE_TOLERANCE * CHANCE_LOSS
