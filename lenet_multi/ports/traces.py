"""The record of one run of a network: its layers with their inputs, outputs and parameters, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import dtype_name, find_arrays, float64_copies


@dataclass(frozen=True)
class TracedLayer:
    """One call of a layer.

    Attributes:
        name: the framework's name of the layer, with a number from the second call on: `act:2`.
        kind: one of `KINDS`, or the name of the class; `output` for an output of the network and for an array that a
            function returns by name.
        output: float64, channels first: (N, C, H, W), or (N, units).
        pre_activation: the output before the activation; equal to `output` if the layer has no activation.
        has_activation: whether the layer applies an activation.
        input: the first input array, float64, channels first; None if unknown.
        has_weights: whether the layer has parameters, so that every framework has a layer for it.
        parameters: those that the layer has of: convolution `weight` (out, in, height, width), for a transposed
            convolution (in, out, height, width); dense `weight` (out, in); `bias` (out,); norm `gamma`, `beta`, `mean`,
            `variance`.
        epsilon: the number that a norm adds to the variance; None for other layers.
        dtype: NumPy's name for the type of the output, such as `float32`; None if unknown.
    """

    name: str
    kind: str
    output: np.ndarray
    pre_activation: np.ndarray
    has_activation: bool = False
    input: np.ndarray | None = None
    has_weights: bool = True
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    epsilon: float | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Trace:
    """The layers of a network in the order of execution, and the network's outputs."""

    layers: list[TracedLayer]
    outputs: list[TracedLayer]


def network_outputs(
    value: Any, name: str = "output", channels_first: Callable[[np.ndarray], np.ndarray] = lambda array: array
) -> list[TracedLayer]:
    """Return the arrays in the return value of a network, named `output`, `output:2`, and so on."""
    outputs = []
    for number, framework_array in enumerate(find_arrays(value), 1):
        (array,) = map(channels_first, float64_copies(framework_array))
        numbered = name if number == 1 else f"{name}:{number}"
        outputs.append(TracedLayer(numbered, "output", array, array, dtype=dtype_name(framework_array)))
    return outputs
