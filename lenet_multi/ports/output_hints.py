"""Hints from outputs: activations, axes, pooling sizes, softmax and constant factors."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from lenet_multi.ports.agreement import is_informative
from lenet_multi.ports.arrays import squeeze_spatial
from lenet_multi.ports.difference import Difference

AXES: dict[tuple[int, ...], str] = {
    (0, 2, 3, 1): " (NHWC/NCHW)",
    (0, 3, 1, 2): " (NHWC/NCHW)",
    (0, 1, 3, 2): " (height/width)",
}


def activation_hint(difference: Difference) -> str | None:
    """The outputs agree before the activation, but not after it."""
    a, b = difference.reference, difference.port
    if not (a.has_weights and b.has_weights and a.has_activation and b.has_activation):
        return None
    if difference.agree(a.pre_activation, b.pre_activation):
        return "the weighted sums agree, but the activation functions differ"
    return None


def axes_hint(difference: Difference) -> str | None:
    """The outputs agree after a transpose of the port's."""
    if difference.x.ndim != 4 or difference.y.ndim != 4:
        return None
    for axes in permutations((1, 2, 3)):
        order = (0, *axes)
        if order != (0, 1, 2, 3) and difference.agree(difference.x, difference.y.transpose(order)):
            return f"the outputs agree after transposing the port's axes{AXES.get(order, '')}: port.transpose{order}"
    return None


def squeeze_hint(difference: Difference) -> str | None:
    """One output is (N, C), the other (N, C, 1, 1)."""
    x, y = difference.x, difference.y
    if x.shape != y.shape and difference.agree(squeeze_spatial(x), squeeze_spatial(y)):
        return (
            f"the outputs agree without trailing axes of length 1: the reference's shape is {x.shape}, "
            f"the port's {y.shape}"
        )
    return None


def pool_size_hint(difference: Difference) -> str | None:
    """Two poolings agree except for the last row or column, which only one of them has."""
    x, y = difference.x, difference.y
    if difference.reference.kind != "pool" or x.ndim != 4 or y.ndim != 4 or x.shape == y.shape:
        return None
    if np.abs(np.subtract(x.shape, y.shape)).max() > 1:
        return None
    overlap = tuple(slice(min(sizes)) for sizes in zip(x.shape, y.shape, strict=True))
    if is_informative(x[overlap]) and difference.agree(x[overlap], y[overlap]):
        return (
            "one pooling rounds its output size up, the other rounds it down (ceil_mode): "
            f"the reference's shape is {x.shape}, the port's {y.shape}"
        )
    return None


def softmax_hint(difference: Difference) -> str | None:
    """One network gives probabilities, the other logits."""
    x, y = difference.x, difference.y
    if difference.reference.kind != "output" or x.shape != y.shape or x.ndim < 2 or x.shape[1] < 2:
        return None
    for role, a, b in (("reference", x, _softmax(y)), ("port", _softmax(x), y)):
        if difference.agree(a, b):
            return f"only the {role} ends in a softmax"
    return None


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def factor_hint(difference: Difference) -> str | None:
    """The outputs agree after multiplying the port's by a number, such as a missing scale of the pixels."""
    x, y = difference.x, difference.y
    if x.shape != y.shape or not is_informative(x) or not (y * y).sum() > 0:
        return None
    factor = float((x * y).sum() / (y * y).sum())
    if factor != 0 and difference.agree(x, factor * y):
        return f"the outputs differ by a constant factor: the reference is {factor:.6g} times the port"
    return None
