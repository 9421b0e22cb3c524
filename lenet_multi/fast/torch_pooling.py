"""Activations and poolings in PyTorch, with written-out backward passes that overwrite their arrays.

`torch_layers` computes an activation and the pooling after it with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Activation(NamedTuple):
    """An activation function and its gradient.

    `gradient` computes the gradient of the input from the gradient of the output and the output. Both overwrite their
    last argument.
    """

    function: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


aten = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Sigmoid: Activation(torch.sigmoid_, lambda dy, y: aten.sigmoid_backward.grad_input(dy, y, grad_input=y)),
    nn.Tanh: Activation(torch.tanh_, lambda dy, y: aten.tanh_backward.grad_input(dy, y, grad_input=y)),
    nn.ReLU: Activation(torch.relu_, lambda dy, y: aten.threshold_backward.grad_input(dy, y, 0, grad_input=y)),
}
IDENTITY = Activation(lambda x: x, lambda dy, y: dy)


class Pooling(Protocol):
    """An activation and the pooling after it. The methods overwrite their arrays."""

    scale: float
    """The factor that the caller multiplies the results of `sets_gradient` by."""

    def sets(self, x: Tensor) -> Tensor:
        """Pool over sets of channels: (N, rows, positions, values) to (N, rows, 1, values)."""

    def sets_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the input of `sets`, without the factor `scale`.

        Args:
            dy: the gradient of its output.
            x: its input array, as `sets` overwrote it.
            y: its output.
        """

    def windows(self, x: Tensor) -> Tensor:
        """Pool over windows: (N, H, size, W, size, C) to (N, H, W, C)."""

    def windows_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the input of `windows`; arguments as in `sets_gradient`."""


class MeanPooling:
    """An activation, followed by the mean."""

    def __init__(self, activation: Activation, size: int) -> None:
        self.activation, self.size, self.scale = activation, size, 1 / size**2

    def sets(self, x: Tensor) -> Tensor:
        """See `Pooling`."""
        # Compute the mean as a matrix product: `mean` is slow here.
        return x.new_full((1, self.size**2), self.scale) @ self.activation.function(x)

    def sets_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `Pooling`. The caller applies the factor to the gradients of the parameters, which are much smaller."""
        return self.activation.gradient(dy.expand_as(x), x)

    def windows(self, x: Tensor) -> Tensor:
        """See `Pooling`."""
        rows = total(self.activation.function(x).unbind(2))
        return total(rows.unbind(3)) * self.scale

    def windows_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `Pooling`."""
        n, height, size, *_ = x.shape
        row = torch.cat([dy * self.scale] * size, dim=3).view(n, height, 1, -1)
        return self.activation.gradient(row.expand(-1, -1, size, -1), x.view(n, height, size, -1))


class MaxPooling:
    """The maximum, followed by the activation. No activation decreases, so the order makes no difference."""

    scale = 1.0

    def __init__(self, activation: Activation, size: int) -> None:
        self.activation, self.size = activation, size

    def sets(self, x: Tensor) -> Tensor:
        """See `Pooling`. Overwrites `x`: 1 where a value is larger than all values in earlier sets, else 0."""
        return self._largest(x.unbind(2)).unsqueeze(2)

    def sets_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `Pooling`. Among equal values, the first one gets the gradient."""
        self._to_largest(dy.squeeze(2), x.unbind(2), y.squeeze(2))
        return x

    def windows(self, x: Tensor) -> Tensor:
        """See `Pooling` and `sets`."""
        return self._largest(self._positions(x))

    def windows_gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `Pooling` and `sets_gradient`."""
        self._to_largest(dy, self._positions(x), y)
        return x

    def _positions(self, x: Tensor) -> list[Tensor]:
        return [value for row in x.unbind(2) for value in row.unbind(3)]

    def _largest(self, positions: Sequence[Tensor]) -> Tensor:
        largest = positions[0].clone()
        for value in positions[1:]:
            so_far, largest = largest, torch.maximum(largest, value)
            value.gt_(so_far)
        return self.activation.function(largest)

    def _to_largest(self, dy: Tensor, positions: Sequence[Tensor], y: Tensor) -> None:
        dy = self.activation.gradient(dy, y.clone())
        for value in reversed(positions[1:]):
            dy.sub_(value.mul_(dy))
        positions[0].copy_(dy)


POOLINGS: dict[type[nn.Module], type[MeanPooling] | type[MaxPooling]] = {
    nn.AvgPool2d: MeanPooling,
    nn.MaxPool2d: MaxPooling,
}


def total(arrays: tuple[Tensor, ...]) -> Tensor:
    """The sum of the arrays. For large slices of an array this is much faster than `Tensor.sum`."""
    return sum(arrays[1:], arrays[0])
