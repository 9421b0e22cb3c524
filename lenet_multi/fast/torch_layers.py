"""The layers of a network in PyTorch, faster on a CPU, with both of their passes written out.

A layer keeps for its backward pass what `forward` gives second; `backward` gives the gradient of its input, and those
of its parameters in order. Arrays are overwritten in place, and each has the layout that its operation is fastest with.
`lenet_multi.fast` says why convolutions and poolings are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Size, Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from lenet_multi.fast.parts import NUM_PARTS

FEW_CHANNELS = 4  # input channels; with more, a strided convolution is slow backward
PAIRED_CHANNELS = 8  # with as many, a vector register holds the channels of two pixels
MANY_CHANNELS = 16  # with as many, the gradient of the input is fast with the channels last
LARGE_WEIGHT = 5000  # numbers; from there on oneDNN's matrix product is faster than MKL's on some processors

SUM, NO_LABEL = 2, -100  # as the losses of `torch.nn` have them: the sum over the examples; a label that is none
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GRADIENT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")

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
KNOWN = (nn.Conv2d, nn.Linear, nn.Flatten, nn.AvgPool2d, nn.MaxPool2d, *ACTIVATIONS)


def fast_layers(net: nn.Module) -> Layers | None:
    """The network's layers, where all are known and autograd is asked for nothing else; None elsewhere."""
    parameters = list(net.parameters())
    if type(net) is not nn.Sequential or not all(type(module) in KNOWN for module in net):
        return None
    if any(p.device.type != "cpu" or p.dtype != torch.float32 for p in parameters):
        return None
    if _has_any_global_hook() or any(getattr(module, hooks) for module in net.modules() for hooks in HOOKS):
        return None
    if any(getattr(parameter, hooks) for parameter in parameters for hooks in GRADIENT_HOOKS):
        return None
    if any(getattr(module, "inplace", False) for module in net):
        return None
    kinds = [type(module) for module in net]
    if nn.Linear in kinds and nn.Flatten not in kinds[: kinds.index(nn.Linear)]:
        return None  # a dense layer of arrays that are not flat
    layers = list(layers_of(list(net)))
    pooled = any(isinstance(layer, StridedConvolution | ActivatedPool) for layer in layers)
    return Layers(layers) if pooled or NUM_PARTS > 1 else None


class Layers:
    """A network's layers, one after the other."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        # Inference mode does without all that autograd might ever ask for.
        autograd = any(isinstance(layer, ByAutograd) for layer in layers)
        self.mode = torch.no_grad if autograd else torch.inference_mode

    def num_correct(self, X: Tensor, y: Tensor) -> Tensor:
        """How many of these examples the network classifies correctly, int64 ()."""
        with self.mode():
            y_hat, _ = self.forward(X)
            return (y_hat.argmax(dim=1) == y).sum()

    def gradients(self, X: Tensor, y: Tensor, batch_size: int) -> tuple[Gradients, Tensor, Tensor]:
        """What these examples add to a batch.

        Returns:
            Their share of the gradients of the batch's mean loss, one for each parameter in order; the sum of their
            losses, float32 (); how many of them are classified correctly, int64 ().
        """
        with self.mode():
            y_hat, kept = self.forward(X)
            num_correct = (y_hat.argmax(dim=1) == y).sum()
            loss_sum, dy = cross_entropy(y_hat, y, batch_size)
            return self.backward(dy, kept), loss_sum, num_correct

    def forward(self, x: Tensor) -> tuple[Tensor, list[Any]]:
        """The logits, and what the layers need for the backward pass."""
        kept = []
        for layer in self.layers:
            x, for_backward = layer.forward(x)
            kept.append(for_backward)
        return x, kept

    def backward(self, dy: Tensor, kept: list[Any]) -> Gradients:
        """The gradients of all parameters, in order."""
        gradients: Gradients = ()
        for layer in reversed(self.layers):
            dy, found = layer.backward(dy, kept.pop())  # type: ignore[assignment]
            gradients = (*found, *gradients)
        return gradients


def cross_entropy(y_hat: Tensor, y: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """The sum over examples, and the gradient of their share of the batch's mean.

    By the operations that `nn.CrossEntropyLoss` and autograd call.
    """
    log_probabilities = torch.log_softmax(y_hat, 1)
    l, count = aten.nll_loss_forward(log_probabilities, y, None, SUM, NO_LABEL)
    share = l.new_full((), 1 / batch_size)
    dy = aten.nll_loss_backward(share, log_probabilities, y, None, SUM, NO_LABEL, count)
    return l, aten._log_softmax_backward_data(dy, log_probabilities, 1, dy.dtype)


def layers_of(modules: list[nn.Module]) -> Iterator[Layer]:
    """The modules as layers with both passes."""
    rest = modules
    while rest:
        is_first = len(rest) == len(modules)
        match rest:
            case [nn.Conv2d() as conv, after, nn.AvgPool2d() | nn.MaxPool2d() as pool, *others] if (
                type(after) in ACTIVATIONS and is_plain(conv) and is_plain(pool)
            ):
                rest = others
                size = int(pool.kernel_size)  # type: ignore[arg-type]
                pooling: Pooling = POOLINGS[type(pool)](ACTIVATIONS[type(after)], size)
                if is_first and conv.in_channels <= FEW_CHANNELS:
                    yield StridedConvolution(conv, pooling, size, paired=bool(rest) and takes_pairs(rest[0]))
                else:
                    yield Convolution(conv)
                    yield ActivatedPool(pooling, size)
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


def is_plain(module: nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d) -> bool:
    """Whether it is as the description's layers are: nothing but sizes, channels and a convolution's padding."""
    if not isinstance(module, nn.Conv2d):
        plain = type(module)(module.kernel_size)
        same = all(getattr(module, name) == getattr(plain, name) for name in plain.__constants__)
        return same and isinstance(module.kernel_size, int)
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


class Pooling(Protocol):
    """An activation and the pooling after it; arrays are overwritten."""

    scale: float
    """What the gradients of `sets_gradient` still have to be multiplied by."""

    def sets(self, x: Tensor) -> Tensor:
        """Pool over sets of channels: (N, rows, places, numbers) to (N, rows, 1, numbers)."""

    def sets_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the array that `sets` was given and has left as `x`; `y` is what it returned."""

    def windows(self, x: Tensor) -> Tensor:
        """Pool over windows: (N, H, size, W, size, C) to (N, H, W, C)."""

    def windows_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """As `sets_gradient`, for `windows`."""


class MeanPooling:
    """An activation, and then the mean."""

    def __init__(self, activation: Activation, size: int) -> None:
        self.activation, self.size, self.scale = activation, size, 1 / size**2

    def sets(self, x: Tensor) -> Tensor:
        """As `Pooling` says."""
        # As a product, for `mean` is slow here.
        return x.new_full((1, self.size**2), self.scale) @ self.activation.function(x)

    def sets_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """As `Pooling` says; the mean's factor is left to the few numbers of the parameters."""
        return self.activation.gradient(dy.expand_as(x), x)

    def windows(self, x: Tensor) -> Tensor:
        """As `Pooling` says."""
        rows = total(self.activation.function(x).unbind(2))
        return total(rows.unbind(3)) * self.scale

    def windows_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """As `Pooling` says."""
        n, height, size, *_ = x.shape
        row = torch.cat([dy * self.scale] * size, dim=3).view(n, height, 1, -1)
        return self.activation.gradient(row.expand(-1, -1, size, -1), x.view(n, height, size, -1))


class MaxPooling:
    """The maximum, and then the activation: it never falls, and so gives the same as before the maximum."""

    scale = 1.0

    def __init__(self, activation: Activation, size: int) -> None:
        self.activation, self.size = activation, size

    def sets(self, x: Tensor) -> Tensor:
        """As `Pooling` says; leaves 1 in `x` where a number is larger than those before it, else 0."""
        return self._largest(x.unbind(2)).unsqueeze(2)

    def sets_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """As `Pooling` says; the first of equal numbers has the gradient."""
        self._to_largest(dy.squeeze(2), x.unbind(2), y.squeeze(2))
        return x

    def windows(self, x: Tensor) -> Tensor:
        """As `Pooling` says, and as `sets`."""
        return self._largest(self._places(x))

    def windows_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """As `Pooling` says, and as `sets_gradient`."""
        self._to_largest(dy, self._places(x), y)
        return x

    def _places(self, x: Tensor) -> list[Tensor]:
        return [place for row in x.unbind(2) for place in row.unbind(3)]

    def _largest(self, places: Sequence[Tensor]) -> Tensor:
        largest = places[0].clone()
        for place in places[1:]:
            so_far, largest = largest, torch.maximum(largest, place)
            place.gt_(so_far)
        return self.activation.function(largest)

    def _to_largest(self, dy: Tensor, places: Sequence[Tensor], y: Tensor) -> None:
        dy = self.activation.gradient(dy, y.clone())
        for place in reversed(places[1:]):
            dy.sub_(place.mul_(dy))
        places[0].copy_(dy)


POOLINGS: dict[type[nn.Module], type[MeanPooling] | type[MaxPooling]] = {
    nn.AvgPool2d: MeanPooling,
    nn.MaxPool2d: MaxPooling,
}


class StridedConvolution:
    """The first convolution, its activation and the pooling over s x s pixels after it.

    `paired`: the output comes with its even rows and its odd rows apart, as (N, 2, C, H / 2, W), where H is even. The
    convolution then makes 2 * s * s places' channels at once, and no copy is needed for what comes next.
    """

    def __init__(self, conv: nn.Conv2d, pooling: Pooling, size: int, paired: bool) -> None:
        self.conv, self.pooling, self.size, self.paired = conv, pooling, size, paired

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        weight, bias, padding, size = self.conv.weight, self.conv.bias, self.conv.padding, self.size
        assert bias is not None
        height = (x.shape[2] + 2 * padding[0] - weight.shape[2] + 1) // size  # type: ignore[operator]
        rows = 2 * size if self.paired and height % 2 == 0 else size
        places = spread_places(weight.shape, rows, size)
        kernel = at_places(weight, places)
        x = x.reshape(-1).view(x.shape)  # channels first; PyTorch takes a single channel for last as soon as for first
        z = F.conv2d(x, kernel, bias.expand(rows * size, -1).reshape(-1), stride=(rows, size), padding=padding)
        shape = z.shape
        z = z.view(len(x), rows // size, size**2, -1)
        y = self.pooling.sets(z)
        pair = [2] if rows > size else []
        return y.view(len(x), *pair, len(bias), *shape[2:]), (x, kernel, z, y, places, shape)

    def backward(self, dy: Tensor, kept: Any) -> tuple[None, Gradients]:
        x, kernel, z, y, places, shape = kept
        dz = self.pooling.sets_gradient(dy.reshape(y.shape), z, y).view(shape)
        stride = (z.shape[1] * self.size, self.size)
        _, dkernel, _ = convolution_backward(dz, x, kernel, stride, self.conv.padding, (False, True, False))
        dweight = from_places(dkernel, places, self.conv.weight.shape)
        dbias = dz.flatten(1).sum(0).view(-1, len(dweight), shape[2] * shape[3]).sum((0, 2))
        return None, (dweight * self.pooling.scale, dbias * self.pooling.scale)


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
    """The activation and the pooling over s x s pixels after a `Convolution`, whose output it overwrites."""

    def __init__(self, pooling: Pooling, size: int) -> None:
        self.pooling, self.size = pooling, size

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        size = self.size
        x = x.permute(0, 2, 3, 1).contiguous()  # as it is, but for a convolution of 1 channel
        n, height, width, channels = shape = x.shape
        height, width = height // size, width // size
        x = x[:, : height * size, : width * size].contiguous().view(n, height, size, width, size, channels)
        y = self.pooling.windows(x)
        return y.permute(0, 3, 1, 2), (x, y, shape)

    def backward(self, dy: Tensor, kept: Any) -> tuple[Tensor, Gradients]:
        x, y, shape = kept
        n, height, size, width, _, channels = x.shape
        dx = self.pooling.windows_gradient(dy.permute(0, 2, 3, 1), x, y)
        dx = dx.view(n, height * size, width * size, channels)
        if dx.shape != shape:  # pixels that no window holds
            dx = F.pad(dx, (0, 0, 0, shape[2] - dx.shape[2], 0, shape[1] - dx.shape[1]))
        return dx.permute(0, 3, 1, 2), ()


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
