"""Layers that are faster on a CPU, in Gluon. `lenet_multi.fast` explains why convolution and pooling are combined.

With average pooling, two more techniques apply. The first layer returns its even and odd rows as separate channels, so
the second convolution computes two rows at once: its kernel has half the height, twice the input channels and twice the
output channels. Channels of zeros fill its input up to the width of a vector register: oneDNN's backward pass takes
half as long with 16 channels as with 12.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy
from mxnet.gluon import nn

FEW_CHANNELS = 4  # input channels; with more, a strided convolution is not faster
MAX_WINDOW = 4  # pixels in a row; the kernels of a combined convolution grow with the fourth power
REGISTER = 16  # float32 values in a vector register
PAIR = 2  # rows that the second convolution computes at once

Pool: TypeAlias = nn.AvgPool2D | nn.MaxPool2D


def fast_network(net: nn.HybridSequential, height: int) -> nn.HybridSequential:
    """A separately compiled network that computes the same function with the same parameters.

    Args:
        net: a network on a CPU with initialized parameters.
        height: the height of the images.
    """
    fast = nn.HybridSequential()
    rest = list(net)
    match rest:
        case [nn.Conv2D() as conv, nn.AvgPool2D() as pool, *others] if takes_sets(conv, pool):
            rest = others
            height = (height + 2 * conv._kwargs["pad"][0] - conv._kwargs["kernel"][0] + 1) // window(pool)
            paired = takes_pairs(rest) and height % PAIR == 0
            fast.add(PooledConvolution(conv, window(pool), paired))
            if paired:
                second, _, *rest = rest  # `PairedConvolution` includes the pooling
                fast.add(PairedConvolution(second))
    while rest:
        match rest:
            case [nn.Conv2D() as conv, nn.MaxPool2D() as pool, *others] if is_plain(conv, pool):
                rest = others
                fast.add(MaximumFirst(conv, window(pool)))
            case [layer, *rest]:
                fast.add(layer)
    fast.hybridize(static_alloc=True, static_shape=True)
    return fast


def takes_sets(conv: nn.Conv2D, pool: nn.AvgPool2D) -> bool:
    """Whether a strided convolution computes the two faster."""
    return conv.weight.shape[1] <= FEW_CHANNELS and is_plain(conv, pool)


def takes_pairs(layers: list[nn.HybridBlock]) -> bool:
    """Whether the layers begin with a convolution and a pooling that are faster with pairs of rows."""
    match layers:
        case [nn.Conv2D() as conv, nn.AvgPool2D() as pool, *_]:
            return (
                PAIR * conv.weight.shape[1] <= REGISTER
                and is_plain(conv, pool)
                and conv._kwargs["pad"] == (0, 0)
                and window(pool) == PAIR
            )
    return False


def window(pool: Pool) -> int:
    """The side length of a pooling's square window."""
    return pool._kwargs["kernel"][0]


def is_plain(conv: nn.Conv2D, pool: Pool) -> bool:
    """Whether all settings are defaults, except sizes, channels, the convolution's padding and its activation."""
    settings, pooling = conv._kwargs, pool._kwargs
    plain = {"stride": (1, 1), "dilate": (1, 1), "num_group": 1, "no_bias": False}
    window = pooling["kernel"]
    return (
        conv.act is not None
        and all(settings[name] == value for name, value in plain.items())
        and len(set(settings["kernel"])) == len(set(settings["pad"])) == len(set(window)) == 1
        and window == pooling["stride"]
        and max(window) <= MAX_WINDOW
        and pooling["pad"] == (0, 0)
        and pooling["pooling_convention"] == "valid"
    )


def at_positions(F: Any, conv: nn.Conv2D, weight: Any, rows: int, columns: int, height: int) -> Any:
    """The kernel shifted to each position in a window of rows x columns pixels.

    Args:
        F: Gluon's namespace of operations.
        conv: the convolution.
        weight: its weight, (out, in, k, k).
        rows: the height of the window.
        columns: the width of the window.
        height: the height of the result, at least k + rows - 1; the rows below that are zeros.

    Returns:
        (rows * columns * out, in, height, k + columns - 1).
    """
    k = conv._kwargs["kernel"][0]
    positions = [(i, j) for i in range(rows) for j in range(columns)]
    shifted = [((0, 0), (0, 0), (i, height - k - i), (j, columns - 1 - j)) for i, j in positions]
    return F.np.concatenate([F.np.pad(weight, zeros, "constant") for zeros in shifted], axis=0)


class PooledConvolution(nn.HybridBlock):
    """The first convolution, its activation and the average pooling over s x s pixels after it.

    Args:
        conv: the convolution.
        size: s.
        paired: return (N, REGISTER, h / 2, w) instead of (N, out, h, w): first the channels of the even rows, then
            those of the odd rows, then zeros.
    """

    def __init__(self, conv: nn.Conv2D, size: int, paired: bool) -> None:
        super().__init__()
        self.conv, self.size, self.rows = conv, size, PAIR * size if paired else size
        self.weight, self.bias = conv.weight, conv.bias
        # Kernel (out, sets * out, 1, 1) of a convolution that computes the mean over the sets: MXNet's mean is slow.
        mean: numpy.ndarray = numpy.tile(numpy.eye(len(conv.weight.data()), dtype="float32"), size**2) / size**2
        if paired:
            mean = numpy.kron(numpy.eye(PAIR, dtype="float32"), mean)
            mean = numpy.pad(mean, ((0, REGISTER - len(mean)), (0, 0)))
        self.channels = len(mean)
        with self.name_scope():
            self.mean = self.params.get_constant("mean", mean[:, :, None, None])
        self.mean.initialize(ctx=conv.weight.list_ctx())

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any, mean: Any) -> Any:
        rows, columns, settings = self.rows, self.size, self.conv._kwargs
        height, width = (k + positions - 1 for k, positions in zip(settings["kernel"], (rows, columns), strict=True))
        x = F.npx.convolution(
            x,
            at_positions(F, self.conv, weight, rows, columns, height),
            F.np.tile(bias, rows * columns),
            kernel=(height, width),
            stride=(rows, columns),
            pad=settings["pad"],
            num_filter=rows * columns * settings["num_filter"],
        )
        x = F.npx.activation(x, act_type=self.conv.act._act_type)
        return F.npx.convolution(x, mean, kernel=(1, 1), num_filter=self.channels, no_bias=True)


class PairedConvolution(nn.HybridBlock):
    """The second convolution, for two rows at once, its activation and the average pooling over 2 x 2 pixels after it.

    It maps the output of a paired `PooledConvolution`, (N, REGISTER, H / 2, W), to (N, out, h, w).
    """

    def __init__(self, conv: nn.Conv2D) -> None:
        super().__init__()
        self.conv, self.weight, self.bias = conv, conv.weight, conv.bias
        # The kernel of the mean over the two sets of channels and over two columns, (out, 2 * out, 1, 2).
        mean = numpy.tile(numpy.eye(len(conv.weight.data()), dtype="float32"), PAIR) / PAIR**2
        with self.name_scope():
            self.mean = self.params.get_constant("mean", numpy.stack([mean] * PAIR, axis=-1)[:, :, None])
        self.mean.initialize(ctx=conv.weight.list_ctx())

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any, mean: Any) -> Any:
        out, channels, height, width = self.weight.shape
        pairs = height // PAIR + 1  # pairs of rows that the kernel covers, whether it starts in an even or an odd row
        kernel = at_positions(F, self.conv, weight, PAIR, 1, PAIR * pairs)
        kernel = kernel.reshape((PAIR * out, channels, pairs, PAIR, width))
        kernel = kernel.transpose((0, 3, 1, 2, 4)).reshape((PAIR * out, PAIR * channels, pairs, width))
        kernel = F.np.pad(kernel, ((0, 0), (0, REGISTER - PAIR * channels), (0, 0), (0, 0)), "constant")
        x = F.npx.convolution(x, kernel, F.np.tile(bias, PAIR), kernel=(pairs, width), num_filter=PAIR * out)
        x = F.npx.activation(x, act_type=self.conv.act._act_type)
        return F.npx.convolution(x, mean, kernel=(1, PAIR), stride=(1, PAIR), num_filter=out, no_bias=True)


class MaximumFirst(nn.HybridBlock):
    """A convolution and maximum pooling, followed by the convolution's activation."""

    def __init__(self, conv: nn.Conv2D, size: int) -> None:
        super().__init__()
        self.conv, self.size = conv, size
        self.weight, self.bias = conv.weight, conv.bias

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:
        settings, window = self.conv._kwargs, (self.size, self.size)
        kernel, channels = settings["kernel"], settings["num_filter"]
        x = F.npx.convolution(x, weight, bias, kernel=kernel, pad=settings["pad"], num_filter=channels)
        x = F.npx.pooling(x, kernel=window, stride=window, pool_type="max")
        return F.npx.activation(x, act_type=self.conv.act._act_type)
