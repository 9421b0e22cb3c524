"""The layers of a network in PyTorch, faster on a CPU, with both of their passes written out.

A layer keeps for its backward pass what `forward` gives second; `backward` gives the gradient of its input, and those
of its parameters in order. Arrays are overwritten in place, and each lies in memory as its operation is fast with.
`lenet_multi.backends.fast` tells of the convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Size, Tensor, nn

FEW_CHANNELS = 4  # input channels; with more, a strided convolution is slow backward
PAIRED_CHANNELS = 8  # with as many, a vector register holds the channels of two pixels
MANY_CHANNELS = 16  # with as many, the gradient of the input is fast with the channels last
LARGE_WEIGHT = 5000  # numbers; from there on oneDNN's matrix product is faster than MKL's on some processors

Gradients = tuple[Tensor, ...]


class Layer(Protocol):
    """A layer with both of its passes."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """The output, and what the backward pass needs."""

    def backward(self, dy: Tensor, kept: Any) -> tuple[Tensor | None, Gradients]:
        """The gradients of the input, and of the parameters."""


class Activation(NamedTuple):
    """A function, and the gradient of its input: from that of its output, and the output. Both overwrite their last
    argument.
    """

    function: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


aten = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Sigmoid: Activation(torch.sigmoid_, lambda dy, y: aten.sigmoid_backward.grad_input(dy, y, grad_input=y)),
    nn.Tanh: Activation(torch.tanh_, lambda dy, y: aten.tanh_backward.grad_input(dy, y, grad_input=y)),
    nn.ReLU: Activation(torch.relu_, lambda dy, y: aten.threshold_backward.grad_input(dy, y, 0, grad_input=y)),
}
NONE = Activation(lambda x: x, lambda dy, y: dy)


def layers_of(modules: list[nn.Module]) -> Iterator[Layer]:
    """The modules as layers with both passes."""
    rest = modules
    while rest:
        is_first = len(rest) == len(modules)
        match rest:
            case [nn.Conv2d() as conv, after, nn.AvgPool2d(kernel_size=int(size)) as pool, *others] if (
                type(after) in ACTIVATIONS and is_plain(conv) and is_plain(pool)
            ):
                activation, rest = ACTIVATIONS[type(after)], others
                if is_first and conv.in_channels <= FEW_CHANNELS:
                    yield StridedConvolution(conv, activation, size, paired=bool(rest) and takes_pairs(rest[0]))
                else:
                    yield Convolution(conv)
                    yield ActivatedPool(activation, size)
            case [nn.Conv2d() as conv, *rest] if conv.in_channels > FEW_CHANNELS and is_plain(conv):
                yield Convolution(conv)
            case [nn.Flatten(start_dim=1, end_dim=-1), *rest]:
                yield Flatten()
            case [nn.Linear(bias=Tensor()) as linear, after, *others] if type(after) in ACTIVATIONS:
                rest = others
                yield Dense(linear, ACTIVATIONS[type(after)])
            case [nn.Linear(bias=Tensor()) as linear, *rest]:
                yield Dense(linear, NONE)
            case [module, *rest]:
                yield ByAutograd(module, is_first)


def is_plain(module: nn.Conv2d | nn.AvgPool2d) -> bool:
    """Whether it is as the description's layers are: nothing but sizes, channels and a convolution's padding."""
    if isinstance(module, nn.AvgPool2d):
        plain = nn.AvgPool2d(module.kernel_size)
        return all(getattr(module, name) == getattr(plain, name) for name in plain.__constants__)
    settings = (module.stride, module.dilation, module.groups, module.padding_mode)
    same_padding = isinstance(module.padding, tuple) and len(set(module.padding)) == 1
    square = len(set(module.kernel_size)) == 1
    return settings == ((1, 1), (1, 1), 1, "zeros") and same_padding and square and module.bias is not None


class ByAutograd:
    """A module as it is; the first one's input wants no gradient."""

    def __init__(self, module: nn.Module, is_first: bool) -> None:
        self.module, self.is_first = module, is_first

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        with torch.enable_grad():
            x = x.detach().requires_grad_(not self.is_first)
            y = self.module(x)
        return y.detach(), (x, y)

    def backward(self, dy: Tensor, kept: Any) -> tuple[Tensor | None, Gradients]:
        x, y = kept
        parameters = list(self.module.parameters())
        if not self.is_first:
            dx, *gradients = torch.autograd.grad(y, [x, *parameters], dy)
            return dx, tuple(gradients)
        return None, torch.autograd.grad(y, parameters, dy) if parameters else ()


class Flatten:
    """(N, C, H, W) to (N, C * H * W)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        return x.flatten(1), x.shape

    def backward(self, dy: Tensor, shape: Size) -> tuple[Tensor, Gradients]:
        return dy.view(shape), ()


class Dense:
    """A dense layer and its activation."""

    def __init__(self, linear: nn.Linear, activation: Activation) -> None:
        self.linear, self.activation = linear, activation
        large = linear.weight.numel() >= LARGE_WEIGHT and torch.backends.mkldnn.is_available()
        self.product = onednn_product if large else F.linear

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y = self.activation.function(self.product(x, self.linear.weight, self.linear.bias))
        return y, (x, y)

    def backward(self, dy: Tensor, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Gradients]:
        x, y = kept
        dy = self.activation.gradient(dy, y)
        return self.product(dy, self.linear.weight.t()), (self.product(dy.t(), x.t()), dy.sum(0))


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` by oneDNN: PyTorch itself takes MKL, which leaves half of an AMD processor's vector registers idle."""
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")


def takes_pairs(module: nn.Module) -> bool:
    """Whether the module becomes a `Convolution` that is faster with the rows of its input in pairs."""
    return (
        isinstance(module, nn.Conv2d)
        and FEW_CHANNELS < module.in_channels <= PAIRED_CHANNELS
        and is_plain(module)
        and module.padding[0] < module.kernel_size[0]  # type: ignore[operator]
    )


class StridedConvolution:
    """The first convolution, its activation and the average pooling over s x s pixels after it.

    `paired`: the output comes with its even rows and its odd rows apart, as (N, 2, C, H / 2, W), where H is even. The
    convolution then makes 2 * s * s places' channels at once, and no copy is needed for what comes next.
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation, size: int, paired: bool) -> None:
        self.conv, self.activation, self.size, self.paired = conv, activation, size, paired

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        weight, bias, padding, size = self.conv.weight, self.conv.bias, self.conv.padding, self.size
        assert bias is not None
        height = (x.shape[2] + 2 * padding[0] - weight.shape[2] + 1) // size  # type: ignore[operator]
        rows = 2 * size if self.paired and height % 2 == 0 else size
        places = spread_places(weight.shape, rows, size)
        kernel = at_places(weight, places)
        x = x.reshape(-1).view(x.shape)  # channels first; PyTorch takes a single channel for last as soon as for first
        y = F.conv2d(x, kernel, bias.expand(rows * size, -1).reshape(-1), stride=(rows, size), padding=padding)
        shape = y.shape
        y = self.activation.function(y).view(len(x), rows // size, size**2, -1)
        means = y.new_full((1, size**2), 1 / size**2) @ y
        pair = [2] if rows > size else []
        return means.view(len(x), *pair, len(bias), *shape[2:]), (x, kernel, y, places, shape)

    def backward(self, dy: Tensor, kept: Any) -> tuple[None, Gradients]:
        x, kernel, y, places, shape = kept
        dy = dy.reshape(*y.shape[:2], 1, -1).expand_as(y)
        dy = self.activation.gradient(dy, y).view(shape)
        stride = (y.shape[1] * self.size, self.size)
        _, dkernel, _ = convolution_backward(dy, x, kernel, stride, self.conv.padding, (False, True, False))
        dweight = from_places(dkernel, places, self.conv.weight.shape)
        dbias = dy.flatten(1).sum(0).view(-1, len(dweight), shape[2] * shape[3]).sum((0, 2))
        # The mean's share is given here, to the few numbers of the parameters.
        return None, (dweight / self.size**2, dbias / self.size**2)


class Convolution:
    """A convolution with the channels last in memory, but for the gradient of its input, which is slow so.

    That of few channels is a convolution itself, for two rows at once.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        in_pairs = x.dim() == 5
        if in_pairs:
            n, _, channels, pairs, width = x.shape
            x = x.permute(0, 3, 1, 4, 2).reshape(n, 2 * pairs, width, channels).permute(0, 3, 1, 2)
        else:
            x = x.contiguous(memory_format=torch.channels_last)
        weight = self.conv.weight.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, self.conv.bias, padding=self.conv.padding), (x, weight, in_pairs)

    def backward(self, dy: Tensor, kept: Any) -> tuple[Tensor, Gradients]:
        x, weight, in_pairs = kept
        padding = self.conv.padding
        dy = dy.contiguous(memory_format=torch.channels_last)
        _, dweight, _ = convolution_backward(dy, x, weight, (1, 1), padding, (False, True, False))
        _, channels, _, width = dy.shape
        dbias = dy.permute(0, 2, 3, 1).reshape(-1, width * channels).sum(0).view(width, channels).sum(0)
        if in_pairs:
            kernel = at_places(weight, spread_places(weight.shape, 2, 1, transposed=True))
            dx = F.conv2d(dy.contiguous(), kernel, stride=(2, 1), padding=weight.shape[2] - 1 - padding[0])
            return dx.view(len(dx), 2, -1, *dx.shape[2:]), (dweight, dbias)
        if x.shape[1] < MANY_CHANNELS:
            dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
        dx, _, _ = convolution_backward(dy, x, weight, (1, 1), padding, (True, False, False))
        return dx, (dweight, dbias)


def convolution_backward(dy: Tensor, x: Tensor, kernel: Tensor, stride: Any, padding: Any, which: Any) -> Gradients:
    """The gradients of input, kernel and bias, those that `which` says; the bias's is sooner had by sums over `dy`."""
    rest = ((1, 1), False, (0, 0), 1)  # dilation, not transposed, 1 group
    return aten.convolution_backward.default(dy, x, kernel, None, stride, padding, *rest, which)


class ActivatedPool:
    """The activation and the average pooling after a `Convolution`, whose output it overwrites."""

    def __init__(self, activation: Activation, size: int) -> None:
        self.activation, self.size = activation, size

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Size]]:
        size = self.size
        x = x.permute(0, 2, 3, 1).contiguous()  # as it is, but for a convolution of 1 channel
        n, height, width, channels = shape = x.shape
        y = self.activation.function(x)
        height, width = height // size, width // size
        y = y[:, : height * size, : width * size].contiguous().view(n, height, size, width, size, channels)
        y_sum = total(total(y.unbind(2)).unbind(3))
        return (y_sum / size**2).permute(0, 3, 1, 2), (y, shape)

    def backward(self, dy: Tensor, kept: tuple[Tensor, Size]) -> tuple[Tensor, Gradients]:
        y, shape = kept
        n, height, size, width, _, channels = y.shape
        row = torch.cat([dy.permute(0, 2, 3, 1) / size**2] * size, dim=3).view(n, height, 1, -1)
        dy = self.activation.gradient(row.expand(-1, -1, size, -1), y.view(n, height, size, -1))
        dy = dy.view(n, height * size, width * size, channels)
        if dy.shape != shape:  # pixels that no window holds
            dy = F.pad(dy, (0, 0, 0, shape[2] - dy.shape[2], 0, shape[1] - dy.shape[1]))
        return dy.permute(0, 3, 1, 2), ()


def total(arrays: tuple[Tensor, ...]) -> Tensor:
    """Their sum: for large slices of an array it is much faster than `sum`."""
    return sum(arrays[1:], arrays[0])


@cache
def spread_places(shape: Size, rows: int, columns: int, transposed: bool = False) -> Tensor:
    """Where a kernel's numbers go, for all places (i, j) in a window of rows x columns pixels.

    Args:
        shape: the kernel's, (out, in, k, k).
        transposed: for the kernel that takes the output's gradient to the input's, (in, out, k, k).

    Returns:
        int64 (rows * columns * out, in, k + rows - 1, k + columns - 1): for each place the kernel shifted there, each
        number as its index in the flattened kernel, and one past the last index where there is a zero.
    """
    indices = torch.arange(shape.numel()).view(shape)
    if transposed:
        indices = indices.flip(2, 3).transpose(0, 1)
    places = [(i, j) for i in range(rows) for j in range(columns)]
    shifted = [F.pad(indices, (j, columns - 1 - j, i, rows - 1 - i), value=shape.numel()) for i, j in places]
    return torch.cat(shifted)


def at_places(weight: Tensor, places: Tensor) -> Tensor:
    """The kernel shifted to each place."""
    numbers = torch.cat([weight.reshape(-1), weight.new_zeros(1)])
    return numbers.index_select(0, places.view(-1)).view(places.shape)


def from_places(dkernel: Tensor, places: Tensor, shape: Size) -> Tensor:
    """The gradient of the weight from that of the kernel at all places."""
    numbers = dkernel.new_zeros(shape.numel() + 1)
    return numbers.index_add_(0, places.view(-1), dkernel.reshape(-1))[:-1].view(shape)
