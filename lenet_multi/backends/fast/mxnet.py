"""The same networks in Gluon, faster. `lenet_multi.backends.fast` tells of the convolutions."""

from __future__ import annotations

from typing import Any

import numpy
from mxnet.gluon import nn

FEW_CHANNELS = 4  # input channels; with more, a strided convolution gains nothing


def faster(net: nn.HybridSequential) -> nn.HybridBlock:
    """The same function as `net`, of the same parameters; `net` itself where that is as fast, or has none yet."""
    parameters = net.collect_params().values()
    if type(net) is not nn.HybridSequential or any(parameter._data is None for parameter in parameters):
        return net
    if any(parameter.list_ctx()[0].device_type != "cpu" for parameter in parameters):
        return net
    fast_net = nn.HybridSequential()
    rest = list(net)
    while rest:
        match rest:
            case [nn.Conv2D() as conv, nn.AvgPool2D() as pool, *after] if (
                conv.weight.shape[1] <= FEW_CHANNELS and conv.act is not None and is_plain(conv, pool)
            ):
                fast_net.add(PooledConvolution(conv, pool._kwargs["kernel"][0]))
                rest = after
            case [layer, *rest]:
                fast_net.add(layer)
    fast_net.hybridize(static_alloc=True, static_shape=True)
    return fast_net


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


class PooledConvolution(nn.HybridBlock):
    """A convolution, its activation and the average pooling after it."""

    def __init__(self, conv: nn.Conv2D, size: int) -> None:
        super().__init__()
        self.conv, self.size = conv, size
        self.weight, self.bias = conv.weight, conv.bias
        # The mean over sets of channels is a convolution with this kernel, (out, sets * out, 1, 1): a mean is slow.
        mean = numpy.tile(numpy.eye(len(conv.weight.data()), dtype="float32"), size**2) / size**2
        with self.name_scope():
            self.mean = self.params.get_constant("mean", mean[:, :, None, None])
        self.mean.initialize(ctx=conv.weight.list_ctx())

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any, mean: Any) -> Any:
        size, settings = self.size, self.conv._kwargs
        out, side = settings["num_filter"], settings["kernel"][0] + self.size - 1
        places = [(i, j) for i in range(size) for j in range(size)]
        # For each place in the window the kernel, shifted there.
        shifted = [((0, 0), (0, 0), (i, size - 1 - i), (j, size - 1 - j)) for i, j in places]
        kernel = F.np.concatenate([F.np.pad(weight, zeros, "constant") for zeros in shifted], axis=0)
        x = F.npx.convolution(
            x,
            kernel,
            F.np.tile(bias, len(places)),
            kernel=(side, side),
            stride=(size, size),
            pad=settings["pad"],
            num_filter=len(places) * out,
        )
        x = F.npx.activation(x, act_type=self.conv.act._act_type)
        return F.npx.convolution(x, mean, kernel=(1, 1), num_filter=out, no_bias=True)
