"""Layers that are faster on a CPU, in PyTorch, with written-out forward and backward passes.

Arrays are overwritten in place, and each has the fastest layout for its operation. `lenet_multi.fast` explains why
convolution and pooling are combined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Size, Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from lenet_multi.fast.batch_parts import NUM_PARTS
from lenet_multi.fast.torch_kernels import at_positions, from_positions, spread_positions
from lenet_multi.fast.torch_pooling import ACTIVATIONS, IDENTITY, POOLINGS, Activation, Pooling

FEW_CHANNELS = 4  # input channels; with more, a strided convolution is slow backward
MAX_WINDOW = 4  # pixels in a row; the kernels of a combined convolution grow with the fourth power
PAIRED_CHANNELS = 8  # up to this many, a vector register holds the channels of two pixels
MANY_CHANNELS = 16  # from this many on, the gradient of the input is fast with the channels last
LARGE_WEIGHT = 5000  # values; from this size on, oneDNN's matrix product is faster than MKL's on some processors

SUM, NO_LABEL = 2, -100  # arguments of PyTorch's losses: reduce to a sum; the label to ignore
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GRADIENT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")

Gradients = tuple[Tensor, ...]


class Layer(Protocol):
    """A layer with a forward and a backward pass."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Return the output, and the values that `backward` needs."""

    def backward(self, dy: Tensor, kept: Any) -> tuple[Tensor | None, Gradients]:
        """Return the gradients of the input and of the parameters, in order.

        Args:
            dy: the gradient of the output.
            kept: the values that `forward` returned for it.
        """


aten = torch.ops.aten
KNOWN = (nn.Conv2d, nn.Linear, nn.Flatten, nn.AvgPool2d, nn.MaxPool2d, *ACTIVATIONS)


def fast_layers(net: nn.Module) -> Layers | None:
    """The network's fast layers, or None if it needs autograd or has nothing to gain.

    It needs autograd if it has unknown layers, hooks, or parameters that are not float32 on a CPU.
    """
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
        return None  # the input of a dense layer is not flat
    layers = list(layers_of(list(net)))
    pooled = any(isinstance(layer, StridedConvolution | ActivatedPool) for layer in layers)
    return Layers(layers) if pooled or NUM_PARTS > 1 else None


class Layers:
    """A network's layers, in order."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        # Inference mode is faster than no_grad, but autograd cannot use its tensors.
        autograd = any(isinstance(layer, ByAutograd) for layer in layers)
        self.mode = torch.no_grad if autograd else torch.inference_mode

    def num_correct(self, X: Tensor, y: Tensor) -> Tensor:
        """The number of examples that the network classifies correctly, int64 ()."""
        with self.mode():
            y_hat, _ = self.forward(X)
            return (y_hat.argmax(dim=1) == y).sum()

    def gradients(self, X: Tensor, y: Tensor, batch_size: int) -> tuple[Gradients, Tensor, Tensor]:
        """The contribution of some examples of a batch to its gradients, loss and accuracy.

        Args:
            X: the images of these examples.
            y: their labels.
            batch_size: the size of the whole batch.

        Returns:
            Their share of the gradients of the batch's mean loss, one per parameter in order; the sum of their losses,
            float32 (); the number of correct predictions, int64 ().
        """
        with self.mode():
            y_hat, kept = self.forward(X)
            num_correct = (y_hat.argmax(dim=1) == y).sum()
            loss_sum, dy = cross_entropy(y_hat, y, batch_size)
            return self.backward(dy, kept), loss_sum, num_correct

    def forward(self, x: Tensor) -> tuple[Tensor, list[Any]]:
        """The logits, and the values that the layers need for the backward pass."""
        kept = []
        for layer in self.layers:
            x, layer_kept = layer.forward(x)
            kept.append(layer_kept)
        return x, kept

    def backward(self, dy: Tensor, kept: list[Any]) -> Gradients:
        """The gradients of all parameters, in order."""
        gradients: Gradients = ()
        for layer in reversed(self.layers):
            dy, layer_gradients = layer.backward(dy, kept.pop())  # type: ignore[assignment]
            gradients = (*layer_gradients, *gradients)
        return gradients


def cross_entropy(y_hat: Tensor, y: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """The sum of the losses, and the gradient of the logits for the examples' share of the batch's mean loss.

    It calls the same operations as `nn.CrossEntropyLoss` and autograd.
    """
    log_probabilities = torch.log_softmax(y_hat, 1)
    l, count = aten.nll_loss_forward(log_probabilities, y, None, SUM, NO_LABEL)
    share = l.new_full((), 1 / batch_size)
    dy = aten.nll_loss_backward(share, log_probabilities, y, None, SUM, NO_LABEL, count)
    return l, aten._log_softmax_backward_data(dy, log_probabilities, 1, dy.dtype)


def layers_of(modules: list[nn.Module]) -> Iterator[Layer]:
    """Convert the modules to layers with forward and backward passes."""
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
                yield Dense(linear, IDENTITY)
            case [module, *rest]:
                yield ByAutograd(module, is_first)


def is_plain(module: nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d) -> bool:
    """Whether all settings are defaults, except sizes, channels and a convolution's padding, and a window is small."""
    if not isinstance(module, nn.Conv2d):
        plain = type(module)(module.kernel_size)
        same = all(getattr(module, name) == getattr(plain, name) for name in plain.__constants__)
        return same and isinstance(module.kernel_size, int) and module.kernel_size <= MAX_WINDOW
    settings = (module.stride, module.dilation, module.groups, module.padding_mode)
    same_padding = isinstance(module.padding, tuple) and len(set(module.padding)) == 1
    square = len(set(module.kernel_size)) == 1
    return settings == ((1, 1), (1, 1), 1, "zeros") and same_padding and square and module.bias is not None


class ByAutograd:
    """A module that runs unchanged, with gradients from autograd. The input of the first module needs no gradient."""

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
    """`F.linear` by oneDNN: PyTorch's default, MKL, leaves half of an AMD processor's vector registers idle."""
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")


def takes_pairs(module: nn.Module) -> bool:
    """Whether the module becomes a `Convolution` that is faster with its input rows in pairs."""
    return (
        isinstance(module, nn.Conv2d)
        and FEW_CHANNELS < module.in_channels <= PAIRED_CHANNELS
        and is_plain(module)
        and module.padding[0] < module.kernel_size[0]  # type: ignore[operator]
    )


class StridedConvolution:
    """The first convolution, its activation and the pooling over s x s pixels after it.

    Args:
        conv: the convolution.
        pooling: the activation and the pooling.
        size: s.
        paired: if the output height H is even, return the even and the odd rows separately, as (N, 2, C, H / 2, W).
            The convolution then computes the channels of 2 * s * s positions at once, and the next layer needs no copy.
    """

    def __init__(self, conv: nn.Conv2d, pooling: Pooling, size: int, paired: bool) -> None:
        self.conv, self.pooling, self.size, self.paired = conv, pooling, size, paired

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        weight, bias, padding, size = self.conv.weight, self.conv.bias, self.conv.padding, self.size
        assert bias is not None
        height = (x.shape[2] + 2 * padding[0] - weight.shape[2] + 1) // size  # type: ignore[operator]
        rows = 2 * size if self.paired and height % 2 == 0 else size
        positions = spread_positions(weight.shape, rows, size)
        kernel = at_positions(weight, positions)
        x = x.reshape(-1).view(x.shape)  # channels first: with a single channel, PyTorch may assume channels last
        z = F.conv2d(x, kernel, bias.expand(rows * size, -1).reshape(-1), stride=(rows, size), padding=padding)
        shape = z.shape
        z = z.view(len(x), rows // size, size**2, -1)
        y = self.pooling.sets(z)
        pair = [2] if rows > size else []
        return y.view(len(x), *pair, len(bias), *shape[2:]), (x, kernel, z, y, positions, shape)

    def backward(self, dy: Tensor, kept: Any) -> tuple[None, Gradients]:
        x, kernel, z, y, positions, shape = kept
        dz = self.pooling.sets_gradient(dy.reshape(y.shape), z, y).view(shape)
        stride = (z.shape[1] * self.size, self.size)
        _, dkernel, _ = convolution_backward(dz, x, kernel, stride, self.conv.padding, (False, True, False))
        dweight = from_positions(dkernel, positions, self.conv.weight.shape)
        dbias = dz.flatten(1).sum(0).view(-1, len(dweight), shape[2] * shape[3]).sum((0, 2))
        return None, (dweight * self.pooling.scale, dbias * self.pooling.scale)


class Convolution:
    """A convolution with the channels last in memory.

    The gradient of an input with few channels is slow in this layout and uses channels first. If the input comes in
    pairs of rows, its gradient is a convolution that computes two rows at once.
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
            kernel = at_positions(weight, spread_positions(weight.shape, 2, 1, transposed=True))
            dx = F.conv2d(dy.contiguous(), kernel, stride=(2, 1), padding=weight.shape[2] - 1 - padding[0])
            return dx.view(len(dx), 2, -1, *dx.shape[2:]), (dweight, dbias)
        if x.shape[1] < MANY_CHANNELS:
            dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
        dx, _, _ = convolution_backward(dy, x, weight, (1, 1), padding, (True, False, False))
        return dx, (dweight, dbias)


def convolution_backward(dy: Tensor, x: Tensor, kernel: Tensor, stride: Any, padding: Any, which: Any) -> Gradients:
    """The gradients of input, kernel and bias that `which` selects. For the bias, sums over `dy` are faster."""
    rest = ((1, 1), False, (0, 0), 1)  # dilation, not transposed, 1 group
    return aten.convolution_backward.default(dy, x, kernel, None, stride, padding, *rest, which)


class ActivatedPool:
    """The activation and the pooling over s x s pixels after a `Convolution`; it overwrites their input."""

    def __init__(self, pooling: Pooling, size: int) -> None:
        self.pooling, self.size = pooling, size

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        size = self.size
        x = x.permute(0, 2, 3, 1).contiguous()  # no copy, except after a convolution with 1 channel
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
        if dx.shape != shape:  # pixels outside all windows
            dx = F.pad(dx, (0, 0, 0, shape[2] - dx.shape[2], 0, shape[1] - dx.shape[1]))
        return dx.permute(0, 3, 1, 2), ()
