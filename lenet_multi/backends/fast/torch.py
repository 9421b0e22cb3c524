"""The same networks in PyTorch, faster on a CPU. `lenet_multi.backends.fast` tells of the convolutions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_CHANNELS = 4  # input channels; with more, a strided convolution is slow backward
MANY_CHANNELS = 16  # with as many, the gradient of the input is fast with the channels last


def faster(net: nn.Module) -> Callable[..., Tensor]:
    """The same function as `net`, of the same parameters; `net` itself where that is as fast."""
    if not isinstance(net, nn.Sequential) or any(p.device.type != "cpu" for p in net.parameters()):
        return net
    steps: list[Callable[[Tensor], Tensor]] = []
    rest = list(net)
    while rest:
        match rest:
            case [
                nn.Conv2d(in_channels=in_channels) as conv,
                nn.Sigmoid() | nn.Tanh() | nn.ReLU() as activation,
                nn.AvgPool2d(kernel_size=int(size), stride=stride),
                *after,
            ] if in_channels <= FEW_CHANNELS and size == stride:
                steps.append(PooledConvolution(conv, activation, size))
                rest = after
            case [nn.Conv2d() as conv, *after] if FEW_CHANNELS < conv.in_channels < MANY_CHANNELS:
                steps.append(partial(convolution, conv))
                rest = after
            case [layer, *rest]:
                steps.append(layer)

    return partial(through, steps)


def through(steps: list[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """What the last step gives, when each is given what the one before it gave."""
    for step in steps:
        x = step(x)
    return x


class PooledConvolution:
    """A convolution, its activation and the average pooling after it."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module, size: int) -> None:
        self.conv, self.activation, self.size = conv, activation, size

    def __call__(self, x: Tensor) -> Tensor:
        weight, bias, size = self.conv.weight, self.conv.bias, self.size
        assert bias is not None
        places = [(i, j) for i in range(size) for j in range(size)]
        # For each place in the window the kernel, shifted there.
        kernel = torch.cat([F.pad(weight, (j, size - 1 - j, i, size - 1 - i)) for i, j in places])
        x = F.conv2d(x, kernel.contiguous(), bias.repeat(len(places)), stride=size, padding=self.conv.padding)
        return MeanOfPlaces.apply(self.activation(x).unflatten(1, (len(places), -1)))


class MeanOfPlaces(torch.autograd.Function):
    """The mean over places: (N, places, C, H, W) to (N, C, H, W).

    `mean` does the same, but its gradient is written out for each place, where one for all of them will do.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.places = x.shape[1]
        return x.mean(dim=1)

    @staticmethod
    def backward(ctx, dy):
        return (dy / ctx.places)[:, None].expand(-1, ctx.places, -1, -1, -1)


def convolution(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The layer's output, in the way of `Convolution`."""
    return Convolution.apply(x, conv.weight, conv.bias, conv.padding)


class Convolution(torch.autograd.Function):
    """A convolution, with the channels last in memory but for the gradient of its input, which is slow so."""

    @staticmethod
    def forward(ctx, x, weight, bias, padding):
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors

        def gradients(dy, x, weight, which):
            convolution = ([len(weight)], (1, 1), ctx.padding, (1, 1), False, (0, 0), 1)
            return torch.ops.aten.convolution_backward(dy, x, weight, *convolution, which)

        _, dweight, dbias = gradients(dy, x, weight, (False, True, True))
        dx, _, _ = gradients(dy.contiguous(), x.contiguous(), weight.contiguous(), (True, False, False))
        return dx, dweight, dbias, None
