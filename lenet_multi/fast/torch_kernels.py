"""Kernels that are shifted to several positions in a window, so that one convolution computes all of them."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Size, Tensor


@cache
def spread_positions(shape: Size, rows: int, columns: int, transposed: bool = False) -> Tensor:
    """Index array that shifts a kernel to all positions (i, j) in a window of rows x columns pixels.

    Args:
        shape: the kernel's shape, (out, in, k, k).
        rows: the height of the window.
        columns: the width of the window.
        transposed: use the kernel that maps the output's gradient to the input's, (in, out, k, k).

    Returns:
        int64 (rows * columns * out, in, k + rows - 1, k + columns - 1): the kernel shifted to each position, with every
        value replaced by its index in the flattened kernel. The index for zeros is one past the last.
    """
    indices = torch.arange(shape.numel()).view(shape)
    if transposed:
        indices = indices.flip(2, 3).transpose(0, 1)
    positions = [(i, j) for i in range(rows) for j in range(columns)]
    shifted = [F.pad(indices, (j, columns - 1 - j, i, rows - 1 - i), value=shape.numel()) for i, j in positions]
    return torch.cat(shifted)


def at_positions(weight: Tensor, positions: Tensor) -> Tensor:
    """The kernel shifted to each position, with the index array from `spread_positions`."""
    numbers = torch.cat([weight.reshape(-1), weight.new_zeros(1)])
    return numbers.index_select(0, positions.view(-1)).view(positions.shape)


def from_positions(dkernel: Tensor, positions: Tensor, shape: Size) -> Tensor:
    """The gradient of the weight, from the gradient of the kernel at all positions."""
    numbers = dkernel.new_zeros(shape.numel() + 1)
    return numbers.index_add_(0, positions.view(-1), dkernel.reshape(-1))[:-1].view(shape)
