"""Training and evaluation in PyTorch, faster on a CPU.

Much of a training step of LeNet goes into starting its many small operations, and into arrays that are written, copied
and read once more often than need be. So the layers of `torch_layers` have their backward passes written out, and
`faster_step` calls these itself: autograd need not keep account of what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from lenet_multi.backends.fast.torch_layers import (
    ACTIVATIONS,
    ActivatedPool,
    ByAutograd,
    Gradients,
    Layer,
    StridedConvolution,
    layers_of,
)

KNOWN = (nn.Conv2d, nn.Linear, nn.Flatten, nn.AvgPool2d, nn.MaxPool2d, *ACTIVATIONS)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GRADIENT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
MEAN, NO_LABEL = 1, -100  # as the losses of `torch.nn` have them: the mean over the examples; a label that is none

aten = torch.ops.aten


def faster(net: nn.Module) -> Callable[..., Tensor]:
    """The same function as `net`, of the same parameters, without gradients; `net` itself where that is as fast."""
    layers = faster_layers(net)
    return net if layers is None else Layers(layers)


def faster_step(net: nn.Module, lr: float, loss_sum: Tensor, num_correct: Tensor) -> Callable[..., None] | None:
    """A step of plain SGD on the mean cross-entropy of a batch; None where autograd is as fast.

    Args:
        net: its parameters are changed in place.
        lr: the learning rate.
        loss_sum: float32 (), to which the batch's sum of losses is added.
        num_correct: int64 (), to which the number of correct predictions is added.

    Returns:
        A function of images (N, C, H, W) and labels (N,), int64.
    """
    found = faster_layers(net)
    if found is None or not all(parameter.requires_grad for parameter in net.parameters()):
        return None
    layers = Layers(found)
    # A layer may stand twice: then it has two gradients, and gets both.
    parameters: list[Tensor] = [parameter for _, parameter in net.named_parameters(remove_duplicate=False)]

    def step(X: Tensor, y: Tensor) -> None:
        with layers.mode():
            y_hat, kept = layers.forward(X)
            num_correct.add_((y_hat.argmax(dim=1) == y).sum())
            l, dy = cross_entropy(y_hat, y)
            loss_sum.add_(l, alpha=len(y))
            torch._foreach_add_(parameters, layers.backward(dy, kept), alpha=-lr)

    return step


def faster_layers(net: nn.Module) -> list[Layer] | None:
    """The network's layers, if they are known and some are faster together than one by one."""
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
    layers = list(layers_of(list(net)))
    return layers if any(isinstance(layer, StridedConvolution | ActivatedPool) for layer in layers) else None


class Layers:
    """All layers, one after the other."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        # Inference mode does without all that autograd might ever ask for.
        autograd = any(isinstance(layer, ByAutograd) for layer in layers)
        self.mode = torch.no_grad if autograd else torch.inference_mode

    def __call__(self, x: Tensor) -> Tensor:
        """The logits."""
        with self.mode():
            return self.forward(x)[0]

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


def cross_entropy(y_hat: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the batch, and its gradient: by the operations that `nn.CrossEntropyLoss` and autograd call."""
    log_probabilities = torch.log_softmax(y_hat, 1)
    l, count = aten.nll_loss_forward(log_probabilities, y, None, MEAN, NO_LABEL)
    dy = aten.nll_loss_backward(l.new_ones(()), log_probabilities, y, None, MEAN, NO_LABEL, count)
    return l, aten._log_softmax_backward_data(dy, log_probabilities, 1, dy.dtype)


class SGD:
    """`torch.optim.SGD` without momentum, in one operation, and without importing PyTorch's compiler for it."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.lr = lr

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Go against the gradients."""
        changed = [parameter for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_add_(changed, [parameter.grad for parameter in changed], alpha=-self.lr)  # type: ignore[misc]
