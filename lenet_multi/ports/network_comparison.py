"""Compares two networks layer by layer and finds the layers that differ.

The networks need not be built by this package. Each is a `torch.nn.Module`, a Keras model, a Gluon block, a Flax NNX
module or a function. Both run on the same inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import as_numpy, dtype_name
from lenet_multi.ports.errors import PortError, error_reason
from lenet_multi.ports.gradients import compare_gradients
from lenet_multi.ports.hints import report_of
from lenet_multi.ports.networks import network_of
from lenet_multi.ports.paired_networks import PairedNetworks
from lenet_multi.ports.report import Report


def compare_networks(
    reference: Any,
    port: Any,
    X: Any,
    mapping: Mapping[str, str] | None = None,
    tolerance: float = 1e-5,
    backward: bool = False,
) -> Report:
    """Run two networks on the same inputs and compare them layer by layer.

    Layers are paired by their place in the graph, their kind, the shape of their weights and their numbers. Layers with
    weights that have no counterpart are listed. The layers between two layers with weights (poolings, activations, ...)
    are compared where both networks have the same kinds. Otherwise they are skipped, because one network may run them
    in a function, which the comparison sees only through the input of the next layer.

    Each layer of the port receives the reference's input, so that the errors of earlier layers do not count, and every
    layer that differs is found. A last row, `output`, compares the outputs of the networks, unless another row already
    compares them.

    Args:
        reference: the network that is assumed to be correct: a `torch.nn.Module`, a Keras layer or model, a Gluon
            block, a Flax NNX module, or a function of X. A function returns an array of any framework, or a dict from
            layer name to array, channels first. Two dicts are matched by name if they have the same names, otherwise
            in order.
        port: the network to check, in any of these forms.
        X: the inputs, one array of any framework with the examples on the first axis. Images are (N, C, H, W), and
            (N, C, D, H, W) in three dimensions; Flax and channels-last Keras networks receive them with C last. Arrays
            of other ranks are passed as they are. Signed integers are kept; all other types are cast to float32. Each
            network receives a copy. For networks with several inputs, a tuple of arrays: Keras receives a list, the
            others one argument for each.
        mapping: the layers to compare, in place of pairing them: the reference's layer names to the port's. `output` is
            compared too.
        tolerance: the largest difference that counts as agreement, as a fraction of the largest absolute value in the
            reference's layer.
        backward: compare the gradients of a loss with respect to inputs and parameters too, in training mode, and the
            running statistics of norms after the step. Gradients may differ by 100 times the tolerance, and by what a
            change of X in its last place does to the reference's.

    Returns:
        The report: a row for each pair of layers, with a hint at the cause where they differ.

    Raises:
        PortError: when a network is of an unknown kind or fails on X, no layer has a counterpart, or an argument is
            invalid; with `backward`, when a network fails in training mode, or the reference is random in it.
    """
    inputs = as_inputs(X)
    if mapping is not None:
        _check_mapping(mapping)
    if not isinstance(tolerance, Real) or not 0 < tolerance < float("inf"):
        raise PortError(f"tolerance {tolerance!r} is not a positive, finite number: leave it out for 1e-5")
    comparison = PairedNetworks(network_of(reference, "reference"), network_of(port, "port"), inputs, mapping)
    comparison.judge(float(tolerance))
    report = report_of(comparison)
    return replace(report, layers=(*report.layers, *compare_gradients(comparison))) if backward else report


def as_inputs(X: Any) -> tuple[np.ndarray, ...]:
    """The inputs as NumPy arrays.

    Raises:
        PortError: when X is neither an array nor a tuple of arrays with examples.
    """
    if isinstance(X, list) and any(getattr(item, "ndim", 0) for item in X):
        raise PortError("X is a list of arrays: pass a tuple for a network with several inputs, else one array")
    return tuple(map(_as_input, X)) if isinstance(X, tuple) and X else (_as_input(X),)


def _as_input(X: Any) -> np.ndarray:
    """Copy an input to NumPy: signed integers keep their type, everything else becomes float32."""
    advice = "pass an array of shape (N, C, H, W), or (N, ...), with the examples on the first axis"
    try:
        inputs = np.array(as_numpy(X))
        # NumPy reports bfloat16 as kind "V".
        if inputs.dtype.kind not in "biufV":
            raise TypeError(f"its type is {inputs.dtype}")
        if not (dtype_name(X) or inputs.dtype.name).startswith("int"):  # `as_numpy` makes bytes and Booleans int64
            inputs = inputs.astype(np.float32)
    except (TypeError, ValueError, RuntimeError) as problem:
        reason = error_reason(problem)
        raise PortError(f"X, a {type(X).__name__}, is not an array of numbers ({reason}): {advice}") from problem
    if inputs.ndim == 0 or inputs.size == 0:
        raise PortError(f"X has shape {inputs.shape}, expected at least one example: {advice}")
    return inputs


def _check_mapping(mapping: Any) -> None:
    if not isinstance(mapping, Mapping):
        raise PortError(
            f"mapping is a {type(mapping).__name__}, expected a dict from the reference's layer names to the port's: "
            "leave it out to pair the layers automatically"
        )
    if not mapping:
        raise PortError("mapping is empty: name layers, or leave it out to pair the layers automatically")
    names = [*mapping.keys(), *mapping.values()]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise PortError(f"mapping contains {wrong!r} of type {type(wrong).__name__}, expected layer names as strings")
    if len(set(mapping.values())) < len(mapping):
        names = list(mapping.values())
        repeated = next(name for name in names if names.count(name) > 1)
        raise PortError(f"mapping names the port's layer '{repeated}' more than once: name each layer once")
