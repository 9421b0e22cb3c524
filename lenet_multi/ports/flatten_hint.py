"""The hint about flatten order, the orders in which frameworks flatten images, and the shapes of these images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt, prod

import numpy as np

from lenet_multi.ports.difference import Difference
from lenet_multi.ports.traces import TracedLayer


def flatten_hint(difference: Difference) -> str | None:
    """A dense layer follows a flatten of the other image format, and its weight was not permuted."""
    a, b = difference.reference, difference.port
    if a.kind != "dense" or b.kind != "dense" or "weight" not in b.parameters:
        return None
    weight = b.parameters["weight"]
    for image_shape in difference.image_shapes:
        for order, orders_text in flatten_orders(image_shape):
            if weight.shape[1] != len(order):
                continue
            if difference.agree(a.pre_activation, dense_output(b, weight[:, order])):
                return (
                    f"the outputs agree after the flatten permutation: reorder the {len(order)} inputs of the port's "
                    f"dense weight from {orders_text}, with (C, H, W) = {image_shape}"
                )
    return None


def dense_output(layer: TracedLayer, weight: np.ndarray) -> np.ndarray:
    """The output of a dense layer with another weight, before the activation."""
    assert layer.input is not None
    # Gluon's dense layer flattens its input itself.
    is_flat = layer.input.shape[-1] == weight.shape[1]
    inputs = layer.input if is_flat else layer.input.reshape(len(layer.input), -1)
    return inputs @ weight.T + layer.parameters.get("bias", 0)


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
