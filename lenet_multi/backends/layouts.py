"""Convert shapes and outputs from a framework's layout to channels first."""

from __future__ import annotations

import numpy as np

from lenet_multi.architecture import Architecture, Flatten


def channels_first_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Convert a shape (N, H, W, C) to (N, C, H, W) if the layout is NHWC; return any other shape unchanged."""
    return (
        (shape[0], shape[3], *shape[1:3])
        if layout == "NHWC" and len(shape) == 4
        else shape
    )


def canonical_output(
    architecture: Architecture, name: str, output: np.ndarray, layout: str
) -> np.ndarray:
    """Convert a layer's output to channels first. The output of flatten is reordered to channel-major.

    Args:
        architecture: the network's description.
        name: the layer's name in it.
        output: the layer's output for a batch, in the framework's layout.
        layout: `NCHW` or `NHWC`.
    """
    if layout == "NCHW":
        return output
    if isinstance(architecture.named_layers[name], Flatten):
        channels, height, width = architecture.input_shapes[name]
        return (
            output.reshape(-1, height, width, channels)
            .transpose(0, 3, 1, 2)
            .reshape(len(output), -1)
        )
    return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output
