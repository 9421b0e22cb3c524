"""The image shapes and the orders in which frameworks flatten images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt, prod

import numpy as np

from lenet_multi.ports.traces import TracedLayer


def image_shapes(
    layers: Sequence[TracedLayer], layer: TracedLayer, inputs: Sequence[np.ndarray]
) -> list[tuple[int, ...]]:
    """Return the shapes (C, H, W) of images that a layer may have received flattened, the most likely first.

    Args:
        layers: the layers of the network in the order of execution.
        layer: a layer of this list, whose input may be flattened images.
        inputs: the inputs of the network.
    """
    if layer.input is None:
        return []
    size = prod(layer.input.shape[1:])
    before = layers[: [other.name for other in layers].index(layer.name)]
    arrays = (layer.input, *(other.output for other in reversed(before)), *inputs)
    known = [array.shape[1:] for array in arrays if array.ndim == 4]
    shapes = [shape for shape in known if prod(shape) == size]
    if not shapes and known and size % known[0][0] == 0:
        # A pooling in a function may have shrunk the last images. Assume the same channels and a square image.
        channels, side = known[0][0], isqrt(size // known[0][0])
        shapes = [(channels, side, side)] if channels * side * side == size else []
    return shapes


def flatten_orders(image_shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the permutations of flattened numbers between channels-first and channels-last, each with its name."""
    channels, height, width = image_shape
    numbers = np.arange(channels * height * width)
    yield numbers.reshape(channels, height, width).transpose(1, 2, 0).ravel(), "(C, H, W) to (H, W, C)"
    yield numbers.reshape(height, width, channels).transpose(2, 0, 1).ravel(), "(H, W, C) to (C, H, W)"
