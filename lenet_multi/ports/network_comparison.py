"""Compares two networks layer by layer and finds the first layer that differs.

The networks need not be built by this package. Each is a `torch.nn.Module`, a Keras model, a Gluon block or a function.
Both run on the same inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from lenet_multi.ports.agreement import Agree, agree_within
from lenet_multi.ports.arrays import as_numpy
from lenet_multi.ports.difference import Difference
from lenet_multi.ports.errors import PortError, error_reason
from lenet_multi.ports.flatten_hint import image_shapes
from lenet_multi.ports.hints import find_hint
from lenet_multi.ports.matching import (
    Pair,
    comparable_layers,
    match_by_mapping,
    match_exchanged,
    match_in_order,
    match_outputs,
    uncompared_outputs,
    without_irrelevant,
)
from lenet_multi.ports.report import LayerReport, Report
from lenet_multi.ports.tracing import trace_network


def compare_networks(
    reference: Any, port: Any, X: Any, mapping: Mapping[str, str] | None = None, tolerance: float = 1e-5
) -> Report:
    """Run two networks on the same inputs and compare them layer by layer.

    Layers with weights (convolutions, dense layers, norms, embeddings, ...) must be of the same kinds in the same
    order. Branches may run in a different order if the shapes of their weights differ, or if the outputs of the
    networks agree. The layers between two layers with weights (poolings, activations, ...) are compared if both
    networks have the same kinds there. Otherwise they are skipped, because one network may run them in a function,
    which the trace does not show.

    A layer is compared after its activation if both networks show one. If only one network does, the layer is compared
    before the activation, and a wrong activation shows up in the next layer. A layer without weights that differs is
    left out if all later layers agree. A last row, `output`, compares the outputs of the networks, unless another row
    already compares them. If one network has more outputs than the other, the report says so.

    Args:
        reference: the network that is assumed to be correct: a `torch.nn.Module`, a Keras layer or model, a Gluon
            block, or a function of X. A function returns an array of any framework, or a dict from layer name to array,
            channels first. Two dicts are matched by name if they have the same names, otherwise in order.
        port: the network to check, in any of these forms.
        X: the inputs, one array of any framework with the examples on the first axis. Images are (N, C, H, W); a
            channels-last Keras network receives them as (N, H, W, C). Signed integers are kept, for embeddings; all
            other types are cast to float32. Each network receives a copy. For networks with several inputs, a tuple of
            arrays: Keras receives a list, the others one argument for each.
        mapping: the layers to compare, in place of matching in order: the reference's layer names to the port's.
            `output` is compared too.
        tolerance: the largest difference that counts as agreement, as a fraction of the largest absolute value in the
            reference's layer.

    Returns:
        The report: a row for each pair of layers, the first divergence, and a hint at its cause.

    Raises:
        PortError: when a network is of an unknown kind or fails on X, the layers cannot be matched, or an argument is
            invalid.
    """
    X = tuple(map(_as_input, X)) if isinstance(X, tuple) and X else (_as_input(X),)
    if mapping is not None:
        _check_mapping(mapping)
    if not isinstance(tolerance, Real) or not 0 < tolerance < float("inf"):
        raise PortError(f"tolerance {tolerance!r} is not a positive, finite number: leave it out for 1e-5")
    a, b = trace_network(reference, X, "reference"), trace_network(port, X, "port")
    agree = partial(agree_within, tolerance=tolerance)
    pairs = match_in_order(a.layers, b.layers) if mapping is None else match_by_mapping(a.layers, b.layers, mapping)
    pairs += match_outputs(a, b, pairs)
    not_compared = uncompared_outputs(a, b, pairs)
    if not pairs:
        raise PortError("one function returns an array, the other a dict: return arrays from both, or dicts from both")
    outputs_agree = bool(a.outputs and b.outputs) and all(
        agree(x.output, y.output) for x, y in zip(a.outputs, b.outputs, strict=False)
    )
    if mapping is None:
        pairs = match_exchanged(pairs, agree) if outputs_agree else pairs
        pairs = without_irrelevant(pairs, [layer.output for layer in a.outputs], agree)
    reports = tuple(_layer_report(pair, agree) for pair in pairs)
    first = next((number for number, report in enumerate(reports) if not report.agrees), None)
    if first is None:
        return Report(reports, None, None, not_compared)
    pair = pairs[first]
    flattened: list[tuple[int, ...]] = []
    if pair.reference.kind == pair.port.kind == "dense":
        flattened = image_shapes(b.layers, pair.port, X) + image_shapes(a.layers, pair.reference, X)
    difference = Difference(
        pair.reference,
        pair.port,
        *pair.compared,
        last_agreeing=pairs[first - 1].reference.name if first else None,
        image_shapes=flattened,
        other_layers=[
            (other.name, *Pair(pair.reference, other).compared)
            for other in comparable_layers(b.layers)
            if other.kind == pair.reference.kind and other.name != pair.port.name
        ],
        agree=agree,
        nearly_agrees=agree_within(*pair.compared, tolerance=10 * tolerance),
        outputs_agree=outputs_agree,
        has_mapping=mapping is not None,
    )
    return Report(reports, reports[first], find_hint(difference), not_compared)


def _as_input(X: Any) -> np.ndarray:
    """Copy an input to NumPy: signed integers keep their type, everything else becomes float32."""
    advice = "give an array of shape (N, C, H, W), or (N, ...), with the examples on the first axis"
    try:
        inputs = np.array(as_numpy(X))
        # NumPy reports bfloat16 as kind "V".
        if inputs.dtype.kind not in "biufV":
            raise TypeError(f"its type is {inputs.dtype}")
        if not np.issubdtype(inputs.dtype, np.signedinteger):
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
            "leave it out to match the layers in order"
        )
    if not mapping:
        raise PortError("mapping is empty: give layer names, or leave it out to match the layers in order")
    names = [*mapping.keys(), *mapping.values()]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise PortError(f"mapping contains {wrong!r} of type {type(wrong).__name__}, expected layer names as strings")
    if len(set(mapping.values())) < len(mapping):
        names = list(mapping.values())
        repeated = next(name for name in names if names.count(name) > 1)
        raise PortError(f"mapping names the port's layer '{repeated}' more than once: name each layer once")


def _layer_report(pair: Pair, agree: Agree) -> LayerReport:
    x, y = pair.compared
    error = float("inf")
    if x.shape == y.shape:
        with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, and so is the error
            error = float(np.abs(x - y).max(initial=0))
    return LayerReport(pair.reference.name, pair.port.name, x.shape, y.shape, error, agree(x, y))
