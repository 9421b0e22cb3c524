"""Layers that are faster on a CPU, in JAX: every convolution is a matrix product.

XLA's own convolutions are slow on a CPU if they have few channels, above all in the backward pass, and its matrix
products are fast. `lenet_multi.fast` explains why convolution and pooling are combined; as in
`tensorflow_layers`, blocks of pixels become channels.

Arrays are (C, H, W, N), with the examples last: the slices that are copied for a product are then contiguous in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import isqrt
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lenet_multi.backends.jax import ACTIVATIONS, POOLINGS, flatten

POSITIONS = 4  # in a window of 2 x 2 pixels

Layer = Callable[[jax.Array], jax.Array]


def is_known(layer: Callable) -> bool:
    """Whether `fast_layers` has a layer that computes the same function."""
    if type(layer) is nnx.Conv:
        square = len(set(layer.kernel_size)) == 1 and isinstance(layer.padding, int)
        settings = (layer.strides, layer.kernel_dilation, layer.input_dilation, layer.feature_group_count)
        return square and settings == (1, 1, 1, 1) and layer.mask is None and is_usual(layer)
    if type(layer) is nnx.Linear:
        return is_usual(layer)
    if isinstance(layer, partial):
        return layer.func in POOLINGS.values() and not layer.args and {*layer.keywords} == {"window_shape", "strides"}
    return layer is flatten or layer in ACTIVATIONS.values()


def is_usual(layer: nnx.Conv | nnx.Linear) -> bool:
    """Whether a layer has a bias and computes in float32."""
    return layer.use_bias and layer.dtype in (None, jnp.float32) and layer.param_dtype == jnp.float32


def fast_layers(layers: Sequence[Callable]) -> list[Layer]:
    """The layers of a network, with each convolution and the pooling over 2 x 2 pixels after it combined."""
    made: list[Layer] = []
    rest = list(layers)
    while rest:
        match rest:
            case [nnx.Conv() as conv, partial() as pool, *others] if is_two_by_two(pool):
                made.append(PooledConvolution(conv, [], pool))
            case [nnx.Conv() as conv, activation, partial() as pool, *others] if (
                activation in ACTIVATIONS.values() and is_two_by_two(pool)
            ):
                made.append(PooledConvolution(conv, [activation], pool))
            case [nnx.Conv() as conv, *others]:
                made.append(Convolution(conv))
            case [nnx.Linear() as linear, *others]:
                made.append(partial(dense, linear))
            case [partial() as pool, *others]:
                made.append(partial(pooled, pool))
            case [layer, *others]:
                made.append(flat if layer is flatten else layer)
        rest = others
    for before, after in pairwise(made):
        if isinstance(before, PooledConvolution) and isinstance(after, PooledConvolution):
            before.after = after
    return made


def is_two_by_two(pool: partial) -> bool:
    """Whether a pooling divides the image into windows of 2 x 2 pixels."""
    return pool.keywords["window_shape"] == pool.keywords["strides"] == (2, 2)


def arranged(layers: list[Layer], X: jax.Array) -> jax.Array:
    """Images (N, H, W, C) as `logits` takes them."""
    x = X.transpose(3, 1, 2, 0)
    return layers[0].arranged(x) if isinstance(layers[0], Convolution) else x


def logits(layers: list[Layer], x: jax.Array) -> jax.Array:
    """The network's output (N, classes) for arranged images."""
    for number, layer in enumerate(layers):
        if number and isinstance(layer, Convolution):
            x = layer.arranged(x)
        x = layer(x)
    return x.T


def flat(x: jax.Array) -> jax.Array:
    """(C, H, W, N) to (H * W * C, N), the order of `flatten` in the plain backend."""
    return x.transpose(1, 2, 0, 3).reshape(-1, x.shape[-1])


def dense(linear: nnx.Linear, x: jax.Array) -> jax.Array:
    """A dense layer: (in, N) to (out, N)."""
    return linear.kernel[...].T @ x + cast("nnx.Param", linear.bias)[...][:, None]


def pooled(pool: partial, x: jax.Array) -> jax.Array:
    """A pooling that is not combined with a convolution."""
    return pool(x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)


class Convolution:
    """A convolution of stride 1, as a product of its kernel with all patches of the images."""

    def __init__(self, conv: nnx.Conv) -> None:
        assert isinstance(conv.padding, int)
        assert isinstance(conv.kernel_size, tuple)
        self.conv, self.padding, self.side = conv, conv.padding, conv.kernel_size[0]
        self.kernel, self.bias = conv.kernel, cast("nnx.Param", conv.bias)

    def arranged(self, x: jax.Array) -> jax.Array:
        """The input with the zeros around it that the convolution needs."""
        return pad(x, *[(self.padding, self.padding)] * 2)

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        return patch_product(x, kernel.reshape(-1, kernel.shape[-1]).T, self.bias[...], self.side)


class PooledConvolution(Convolution):
    """A convolution, its activation and the pooling over 2 x 2 pixels after it.

    Images in blocks of s x s pixels have the shape (s * s * C, H / s, W / s, N). The convolution takes them in this
    shape and computes all output pixels of a block at once: first the pixels at the first position of each window of
    2 x 2 pixels, then those at the second, and so on. After pooling, blocks have s / 2 x s / 2
    pixels: one pixel, or 2 x 2 pixels if the next layer is another `PooledConvolution`, which then takes blocks.
    """

    after: PooledConvolution | None = None

    def __init__(self, conv: nnx.Conv, activation: list[Layer], pool: partial) -> None:
        super().__init__(conv)
        self.activation, self.is_max = activation, pool.func is POOLINGS["max"]

    def size_of_blocks(self, x: jax.Array) -> int:
        """The side length of the blocks of an input, 1 if it has pixels instead."""
        return isqrt(len(x) // self.conv.in_features)

    def taps(self, size: int) -> int:
        """The number of input blocks along each side that one block of outputs depends on."""
        return -(-(self.side + size - 1) // size)

    def arranged(self, x: jax.Array) -> jax.Array:
        """The input in blocks, with the zeros around it that the convolution needs."""
        if self.size_of_blocks(x) > 1:
            return pad(x, *[(self.padding // 2, self.padding // 2)] * 2)
        channels, *sides, n = x.shape
        outputs = [(side + 2 * self.padding - self.side + 1) // 2 for side in sides]  # pooled
        size = 4 if self.after and not any(side % 2 for side in (*outputs, self.after.padding)) else 2
        lengths = [(-(-output * 2 // size) + self.taps(size) - 1) * size for output in outputs]
        x = pad(x, *((self.padding, length - self.padding - side) for length, side in zip(lengths, sides, strict=True)))
        height, width = (length // size for length in lengths)
        x = x.reshape(channels, height, size, width, size, n).transpose(2, 4, 0, 1, 3, 5)
        return x.reshape(-1, height, width, n)

    def __call__(self, x: jax.Array) -> jax.Array:
        size = self.size_of_blocks(x)
        taps = self.taps(size)
        kernel = kernel_for_blocks(self.kernel[...], size, taps)
        x = patch_product(x, kernel, jnp.tile(self.bias[...], size**2), taps)
        if self.is_max:
            x = largest_of_four(x)  # before the activation: valid because activations are non-decreasing
        for activation in self.activation:
            x = activation(x)
        return x if self.is_max else mean_of_four(x)


def pad(x: jax.Array, rows: tuple[int, int], columns: tuple[int, int]) -> jax.Array:
    """Add zeros around the images; a negative number of rows or columns crops them."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)])


def kernel_for_blocks(kernel: jax.Array, size: int, taps: int) -> jax.Array:
    """Convert a kernel (k, k, in, out) to the kernel for blocks, (size * size * out, taps * taps * size * size * in).

    It contains one copy of the kernel per output pixel of a block, shifted to the position of the pixel.
    """
    side, _, in_channels, out_channels = kernel.shape
    half = range(size // 2)
    positions = [(2 * a + i, 2 * b + j) for i in range(2) for j in range(2) for a in half for b in half]
    spread = np.zeros((taps * size, taps * size, len(positions), side, side), np.float32)
    for number, (row, column) in enumerate(positions):
        for i, j in np.ndindex(side, side):
            spread[row + i, column + j, number, i, j] = 1
    spread = spread.reshape(taps, size, taps, size, -1, side * side).transpose(0, 2, 1, 3, 4, 5)
    blocks = jnp.asarray(spread.reshape(-1, side * side)) @ kernel.reshape(side * side, -1)
    blocks = blocks.reshape(taps * taps * size * size, size * size, in_channels, out_channels)
    return blocks.transpose(1, 3, 0, 2).reshape(size * size * out_channels, -1)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def patch_product(x: jax.Array, kernel: jax.Array, bias: jax.Array, taps: int) -> jax.Array:
    """The product of a kernel (out, taps * taps * C) with all patches of taps x taps pixels of x (C, H, W, N)."""
    return patch_product_forward(x, kernel, bias, taps)[0]


def patch_product_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array, taps: int) -> tuple[jax.Array, Any]:
    """The product, and the values that `patch_product_backward` needs."""
    channels, height, width, n = x.shape
    height, width = height - taps + 1, width - taps + 1
    slices = [x[:, i : i + height, j : j + width] for i, j in np.ndindex(taps, taps)]
    patches = jnp.concatenate(slices).reshape(taps * taps * channels, -1)
    y = kernel @ patches + bias[:, None]
    return y.reshape(-1, height, width, n), (x.shape, patches, kernel)


def patch_product_backward(taps: int, kept: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of x, kernel and bias. The backward pass that JAX derives copies the gradients of the slices."""
    shape, patches, kernel = kept
    _, height, width, n = dy.shape
    dy = dy.reshape(len(kernel), -1)
    slices = (kernel.T @ dy).reshape(taps, taps, shape[0], height, width, n)
    dx = jnp.zeros(shape)
    for i, j in np.ndindex(taps, taps):
        dx += pad(slices[i, j], (i, taps - 1 - i), (j, taps - 1 - j))
    return dx, dy @ patches.T, dy.sum(1)


patch_product.defvjp(patch_product_forward, patch_product_backward)


def mean_of_four(x: jax.Array) -> jax.Array:
    """The mean over four sets of channels: (4 * C, H, W, N) to (C, H, W, N).

    The sum is a matrix product, because XLA would recompute any other sum for each slice that the next layer takes. The
    division is separate: slices of the product itself take ten times as long to compile.
    """
    channels = len(x) // POSITIONS
    one_of_each = jnp.tile(jnp.eye(channels), POSITIONS)
    return (one_of_each @ x.reshape(len(x), -1)).reshape(channels, *x.shape[1:]) / POSITIONS


def largest_of_four(x: jax.Array) -> jax.Array:
    """The maximum over four sets of channels: (4 * C, H, W, N) to (C, H, W, N).

    Among equal values, the first one gets the gradient.
    """
    largest, *others = x.reshape(POSITIONS, -1, *x.shape[1:])
    for other in others:
        largest = jnp.where(other > largest, other, largest)
    return largest
