"""From a framework's own order of axes to channels first."""

from __future__ import annotations

import numpy as np

from lenet_multi.architecture import Architecture, Flatten


def channels_first_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """(N, H, W, C) as (N, C, H, W) where the layout is NHWC; other shapes as they are."""
    return (shape[0], shape[3], *shape[1:3]) if layout == "NHWC" and len(shape) == 4 else shape


def canonical_output(architecture: Architecture, name: str, output: np.ndarray, layout: str) -> np.ndarray:
    """A layer's output with its channels first, also where they are flattened."""
    if layout == "NCHW":
        return output
    if isinstance(architecture.named_layers[name], Flatten):
        channels, height, width = architecture.input_shapes[name]
        return output.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(len(output), -1)
    return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output
