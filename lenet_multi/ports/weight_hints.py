"""Hints from parameters: transposed and flipped weights, norms, biases."""

from __future__ import annotations

import numpy as np

from lenet_multi.ports.difference import Difference
from lenet_multi.ports.flatten_hint import dense_output
from lenet_multi.ports.layer_kinds import CONVS

NORM_DEFAULTS = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
NORM_LABELS = {"mean": "running mean", "variance": "running variance"}


def transposed_dense_hint(difference: Difference) -> str | None:
    """A square dense weight is transposed."""
    a, b = difference.reference, difference.port
    if a.kind != "dense" or b.kind != "dense" or "weight" not in b.parameters:
        return None
    weight = b.parameters["weight"]
    if weight.shape[0] == weight.shape[1] and difference.agree(a.pre_activation, dense_output(b, weight.T)):
        return "the outputs agree after transposing the port's dense weight: its inputs and outputs are swapped"
    return None


def kernel_hint(difference: Difference) -> str | None:
    """The kernels of two convolutions agree after a flip, a transpose or another depthwise order."""
    a, b = difference.reference, difference.port
    if a.kind not in CONVS or b.kind not in CONVS or not {"weight"} <= a.parameters.keys() & b.parameters.keys():
        return None
    expected, weight = a.parameters["weight"], b.parameters["weight"]
    if difference.agree(expected, weight):
        return None
    spatial_axes = tuple(range(2, weight.ndim))
    flip = "flipping the port's kernels: one network convolves, the other correlates"
    changes = [(np.flip(weight, spatial_axes), flip)]
    if weight.ndim == 4:
        transpose = "transposing the port's kernels: height and width are swapped"
        changes.append((weight.transpose(0, 1, 3, 2), transpose))
    changes.append((weight.swapaxes(0, 1), "transposing the port's kernels: input and output channels are swapped"))
    channels = 0 if b.input is None else b.input.shape[1]
    if channels and weight.shape[1] == 1 and len(weight) % channels == 0:  # depthwise
        reorder = "reordering the port's depthwise kernels: one input channel's kernels come before the next one's"
        for groups in (channels, len(weight) // channels):
            grouped = weight.reshape(groups, -1, *weight.shape[1:])
            changes.append((grouped.swapaxes(0, 1).reshape(weight.shape), reorder))
    return next(
        (f"the weights agree after {text}" for changed, text in changes if difference.agree(expected, changed)), None
    )


def norm_hint(difference: Difference) -> str | None:
    """Two norms have different parameters, running statistics or epsilons."""
    a, b = difference.reference, difference.port
    if a.kind != "norm" or b.kind != "norm":
        return None
    differing = []
    for name, default in NORM_DEFAULTS.items():
        values = (np.atleast_1d(layer.parameters.get(name, default)) for layer in (a, b))
        if not difference.agree(*np.broadcast_arrays(*values)):
            differing.append(NORM_LABELS.get(name, name))
    if differing:
        return f"the norms have different parameters: {', '.join(differing)}"
    if a.epsilon is None or b.epsilon is None or a.epsilon == b.epsilon or b.input is None:
        return None
    channels = (1, -1, *[1] * (b.output.ndim - 2))
    if "variance" in b.parameters:
        variance, shape = b.parameters["variance"].reshape(channels), channels
    else:
        variance, shape = b.input.var(axis=-1, keepdims=True), (-1,)
    beta = np.reshape(b.parameters.get("beta", 0.0), shape if "beta" in b.parameters else ())
    corrected = beta + (b.pre_activation - beta) * np.sqrt((variance + b.epsilon) / (variance + a.epsilon))
    if difference.agree(a.pre_activation, corrected):
        return f"the outputs agree after setting the port's epsilon, {b.epsilon:g}, to the reference's, {a.epsilon:g}"
    return None


def bias_hint(difference: Difference) -> str | None:
    """The weights agree, and the biases differ."""
    a, b = difference.reference.parameters, difference.port.parameters
    if "weight" not in a or "weight" not in b or not difference.agree(a["weight"], b["weight"]):
        return None
    if ("bias" in a) != ("bias" in b):
        return f"the weights agree, but the {'port' if 'bias' in a else 'reference'} has no bias"
    if "bias" in a and not difference.agree(a["bias"], b["bias"]):
        return "the weights agree, but the biases differ"
    return None
