"""Hints from padding: borders of different width, and convolutions that start at different rows or columns."""

from __future__ import annotations

from itertools import product

import numpy as np

from lenet_multi.ports.agreement import Agree, is_informative
from lenet_multi.ports.difference import Difference
from lenet_multi.ports.layer_kinds import CONVS
from lenet_multi.ports.traces import TracedLayer


def border_hint(difference: Difference) -> str | None:
    """The images agree in the middle only, whether or not they have the same size."""
    x, y = difference.x, difference.y
    if x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2] or _has_different_weights(difference):
        return None
    height, width = (min(pair) for pair in zip(x.shape[2:], y.shape[2:], strict=True))
    if x.shape != y.shape:
        if any(surplus % 2 for surplus in np.subtract(x.shape[2:], y.shape[2:])):
            return None
        if _agree_in_the_middle(difference, height, width):
            return (
                "the outputs agree except for a border that only one of them has: check the padding (the reference's "
                f"shape is {x.shape}, the port's {y.shape})"
            )
    for border in range(1, (min(height, width) + 1) // 2):
        if _agree_in_the_middle(difference, height - 2 * border, width - 2 * border):
            return f"the outputs differ only in a border of width {border}: check the padding"
    return None


def _has_different_weights(difference: Difference) -> bool:
    """Whether both layers are convolutions with different weights of one shape, which no padding explains."""
    layers = (difference.reference, difference.port)
    a, b = (layer.parameters.get("weight") if layer.kind in CONVS else None for layer in layers)
    return a is not None and b is not None and a.shape == b.shape and not difference.agree(a, b)


def _agree_in_the_middle(difference: Difference, height: int, width: int) -> bool:
    x, y = (_center_crop(images, height, width) for images in (difference.x, difference.y))
    return is_informative(x) and difference.agree(x, y)


def _center_crop(images: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = ((size - crop) // 2 for size, crop in zip(images.shape[2:], (height, width), strict=True))
    return images[:, :, top : top + height, left : left + width]


def shift_hint(difference: Difference) -> str | None:
    """Two convolutions pad above and to the left by different amounts, as "same" padding with a stride does."""
    a, b = difference.reference, difference.port
    if a.kind != "conv" or b.kind != "conv" or a.input is None or b.input is None:
        return None
    if not difference.agree(a.input, b.input):
        return None
    padding, port_padding = _find_padding(a, difference.agree), _find_padding(b, difference.agree)
    if padding is None or port_padding is None or padding == port_padding:
        return None
    port = f"the port pads {port_padding[0]} and {port_padding[1]}"
    text = f"the reference pads {padding[0]} above and {padding[1]} to the left, {port}"
    if difference.x.shape != difference.y.shape:
        return text
    return f"{text}: with a stride, Keras's 'same' padding adds less above and left than below and right"


def _find_padding(layer: TracedLayer, agree: Agree) -> tuple[int, int] | None:
    """Find a convolution's padding above and to the left, from its first image and first output channel."""
    weight = layer.parameters.get("weight")
    output = layer.pre_activation
    if layer.input is None or output.ndim != 4 or weight is None or weight.shape[1] != layer.input.shape[1]:
        return None
    output = output[0, 0] - layer.parameters.get("bias", np.zeros(1))[0]
    _, _, height, width = weight.shape
    padded = np.pad(layer.input[0], ((0, 0), (height - 1, height - 1), (width - 1, width - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[1:])[0]
    full_correlation = np.einsum("hwcij,cij->hw", windows, weight[0])
    for stride, top, left in product(range(1, 5), range(height), range(width)):
        candidate = full_correlation[height - 1 - top :: stride, width - 1 - left :: stride]
        candidate = candidate[: output.shape[0], : output.shape[1]]
        if is_informative(output) and agree(output, candidate):
            return top, left
    return None
