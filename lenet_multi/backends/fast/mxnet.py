"""The same networks in Gluon, faster. `lenet_multi.backends.fast` tells of the convolutions.

Here two more things count. The first layer's output comes with its even rows and its odd rows as separate channels, and
the second convolution takes two rows at once: a kernel of half the height, from twice the channels to twice the
channels. And its input has channels of zeros added, up to as many as a vector register holds: with 16 oneDNN's backward
pass takes half the time that it takes with 12.
"""

from __future__ import annotations

from typing import Any

import numpy
from mxnet.gluon import nn

FEW_CHANNELS = 4  # input channels; with more, a strided convolution gains nothing
REGISTER = 16  # float32 numbers in a vector register
PAIR = 2  # rows


def faster(net: nn.HybridSequential) -> nn.Block:
    """The same function as `net`, of the same parameters; `net` itself where that is as fast, or has none yet."""
    parameters = net.collect_params().values()
    if type(net) is not nn.HybridSequential or any(parameter._data is None for parameter in parameters):
        return net
    if any(parameter.list_ctx()[0].device_type != "cpu" for parameter in parameters):
        return net
    match list(net):
        case [nn.Conv2D() as conv, nn.AvgPool2D() as pool, *rest] if (
            conv.weight.shape[1] <= FEW_CHANNELS and conv.act is not None and is_plain(conv, pool)
        ):
            return FasterNet(conv, pool, rest)
    return net


class FasterNet(nn.Block):
    """The network with its first layers taken together, with rows in pairs where they fit."""

    def __init__(self, conv: nn.Conv2D, pool: nn.AvgPool2D, rest: list[nn.HybridBlock]) -> None:
        super().__init__()
        self.conv, self.size, self.rest = conv, pool._kwargs["kernel"][0], rest
        self.takes_pairs = takes_pairs(rest)
        self.nets: dict[bool, nn.HybridSequential] = {}

    def forward(self, x: Any) -> Any:
        settings = self.conv._kwargs
        height = (x.shape[2] + 2 * settings["pad"][0] - settings["kernel"][0] + 1) // self.size
        paired = self.takes_pairs and height % PAIR == 0
        if paired not in self.nets:
            self.nets[paired] = self.build(paired)
        return self.nets[paired](x)

    def build(self, paired: bool) -> nn.HybridSequential:
        """The network, compiled."""
        net = nn.HybridSequential()
        net.add(PooledConvolution(self.conv, self.size, paired))
        if paired:
            conv, _, *rest = self.rest  # the pooling is in it
            net.add(PairedConvolution(conv), *rest)
        else:
            net.add(*self.rest)
        net.hybridize(static_alloc=True, static_shape=True)
        return net


def takes_pairs(layers: list[nn.HybridBlock]) -> bool:
    """Whether they begin with a convolution and a pooling for which pairs of rows are faster."""
    match layers:
        case [nn.Conv2D() as conv, nn.AvgPool2D() as pool, *_]:
            return (
                PAIR * conv.weight.shape[1] <= REGISTER
                and conv.act is not None
                and is_plain(conv, pool)
                and conv._kwargs["pad"] == (0, 0)
                and pool._kwargs["kernel"] == (PAIR, PAIR)
            )
    return False


def is_plain(conv: nn.Conv2D, pool: nn.AvgPool2D) -> bool:
    """Whether the two are as the description's layers are: nothing but sizes, channels and a convolution's padding."""
    given, pooling = conv._kwargs, pool._kwargs
    plain = {"stride": (1, 1), "dilate": (1, 1), "num_group": 1, "no_bias": False}
    window = pooling["kernel"]
    return (
        all(given[name] == value for name, value in plain.items())
        and len(set(given["kernel"])) == len(set(given["pad"])) == len(set(window)) == 1
        and window == pooling["stride"]
        and pooling["pad"] == (0, 0)
        and pooling["pooling_convention"] == "valid"
    )


def at_places(F: Any, conv: nn.Conv2D, weight: Any, rows: int, columns: int, height: int) -> Any:
    """The kernel shifted to each place in a window of rows x columns pixels.

    Args:
        weight: the convolution's, (out, in, k, k).
        height: of what comes, at least k + rows - 1; below there are zeros.

    Returns:
        (rows * columns * out, in, height, k + columns - 1).
    """
    k = conv._kwargs["kernel"][0]
    places = [(i, j) for i in range(rows) for j in range(columns)]
    shifted = [((0, 0), (0, 0), (i, height - k - i), (j, columns - 1 - j)) for i, j in places]
    return F.np.concatenate([F.np.pad(weight, zeros, "constant") for zeros in shifted], axis=0)


class PooledConvolution(nn.HybridBlock):
    """The first convolution, its activation and the average pooling over s x s pixels after it.

    `paired`: out of (N, in, H, W) come (N, REGISTER, h / 2, w): the channels of the even rows, those of the odd rows,
    and zeros.
    """

    def __init__(self, conv: nn.Conv2D, size: int, paired: bool) -> None:
        super().__init__()
        self.conv, self.size, self.rows = conv, size, PAIR * size if paired else size
        self.weight, self.bias = conv.weight, conv.bias
        # The mean over sets of channels is a convolution with this kernel, (out, sets * out, 1, 1): a mean is slow.
        mean = numpy.tile(numpy.eye(len(conv.weight.data()), dtype="float32"), size**2) / size**2
        if paired:
            mean = numpy.kron(numpy.eye(PAIR, dtype="float32"), mean)
            mean = numpy.pad(mean, ((0, REGISTER - len(mean)), (0, 0)))
        self.channels = len(mean)
        with self.name_scope():
            self.mean = self.params.get_constant("mean", mean[:, :, None, None])
        self.mean.initialize(ctx=conv.weight.list_ctx())

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any, mean: Any) -> Any:
        rows, columns, settings = self.rows, self.size, self.conv._kwargs
        height, width = (k + places - 1 for k, places in zip(settings["kernel"], (rows, columns), strict=True))
        x = F.npx.convolution(
            x,
            at_places(F, self.conv, weight, rows, columns, height),
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

    Out of (N, REGISTER, H / 2, W), as a `PooledConvolution` gives it, come (N, out, h, w).
    """

    def __init__(self, conv: nn.Conv2D) -> None:
        super().__init__()
        self.conv, self.weight, self.bias = conv, conv.weight, conv.bias
        # The mean over the two sets of channels and over two columns, (out, 2 * out, 1, 2).
        mean = numpy.tile(numpy.eye(len(conv.weight.data()), dtype="float32"), PAIR) / PAIR**2
        with self.name_scope():
            self.mean = self.params.get_constant("mean", numpy.stack([mean] * PAIR, axis=-1)[:, :, None])
        self.mean.initialize(ctx=conv.weight.list_ctx())

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any, mean: Any) -> Any:
        out, channels, height, width = self.weight.shape
        pairs = height // PAIR + 1  # that the rows of the kernel reach over, beginning in an even or in an odd one
        kernel = at_places(F, self.conv, weight, PAIR, 1, PAIR * pairs)
        kernel = kernel.reshape((PAIR * out, channels, pairs, PAIR, width))
        kernel = kernel.transpose((0, 3, 1, 2, 4)).reshape((PAIR * out, PAIR * channels, pairs, width))
        kernel = F.np.pad(kernel, ((0, 0), (0, REGISTER - PAIR * channels), (0, 0), (0, 0)), "constant")
        x = F.npx.convolution(x, kernel, F.np.tile(bias, PAIR), kernel=(pairs, width), num_filter=PAIR * out)
        x = F.npx.activation(x, act_type=self.conv.act._act_type)
        return F.npx.convolution(x, mean, kernel=(1, PAIR), stride=(1, PAIR), num_filter=out, no_bias=True)
