"""Somebody else's port: where do two networks first compute something else, and what does the difference look like?

`compare_networks` takes networks that were not built here: a `torch.nn.Module`, a Keras model, a Gluon block, or a
function. It runs both on the same inputs, compares them layer by layer, and names the first that diverges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from lenet_multi.port_hints import Agree, Difference, find_hint, image_shapes, without_ones
from lenet_multi.port_traces import PortError, Trace, Traced, as_numpy, reason_of, trace_network

SKIPPED = ("flatten", "padding", "dropout", "input")  # kinds that one framework has as a layer and another has not
# Largest numbers below this count as this: float32 has no seven digits there.
FLOOR = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class LayerReport:
    """How one pair of layers compares; `error` is the largest difference, infinite where the shapes differ."""

    reference: str
    port: str
    reference_shape: tuple[int, ...]
    port_shape: tuple[int, ...]
    error: float
    agrees: bool


@dataclass(frozen=True)
class Report:
    """What a comparison found; print it for a table.

    Attributes:
        layers: a report for each pair of layers, in the reference's order.
        first_divergence: the first of them that does not agree, or None.
        hint: what its difference looks like, or None where it has no known shape.
        not_compared: the outputs that one network gives beyond the other's, `1 output of the reference`, or None.
    """

    layers: tuple[LayerReport, ...]
    first_divergence: LayerReport | None
    hint: str | None
    not_compared: str | None = None

    def __str__(self) -> str:
        rows = [("reference", "port", "output shape", "largest error", "")]
        for layer in self.layers:
            shape = str(layer.reference_shape)
            if layer.port_shape != layer.reference_shape:
                shape += f", not {layer.port_shape}"
            rows.append((layer.reference, layer.port, shape, f"{layer.error:.1e}", "" if layer.agrees else "differs"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        if self.not_compared:
            table.append(f"not compared: {self.not_compared}")
        if self.first_divergence is None:
            return "\n".join([*table, "all layers agree"])
        first = self.first_divergence
        told = f"first to differ: {first.reference} (port: {first.port})"
        return "\n".join([*table, f"{told}: {self.hint}" if self.hint else told])


def compare_networks(
    reference: Any, port: Any, X: Any, mapping: Mapping[str, str] | None = None, tolerance: float = 1e-5
) -> Report:
    """Run two networks on the same inputs and compare them layer by layer.

    Layers with weights (convolutions, dense layers, norms, embeddings, ...) must be of the same kinds in the same
    order; branches may come in another one where the shapes of their weights tell them apart, or where the networks'
    outputs agree. The others between two of them (poolings, activations, ...) are compared where both networks show the
    same kinds there, and passed over where one does them in a function, which is not seen. A layer is compared after
    its activation where both networks show one; where only one does, before it: whether the activation is right then
    shows in what comes next. One without weights that differs is left out where all that comes after it agrees. A last
    row, `output`, compares what the networks give, where no row before has done so; where one gives more outputs than
    the other, the report says so.

    Args:
        reference: what is taken to be right: a `torch.nn.Module`; a Keras layer or model; a Gluon block; or a function
            of X that gives an array of any framework, or a dict of layer name to array, channels first. Two dicts are
            matched by name where they have the same names, else in order.
        port: what is held against it, likewise.
        X: inputs, one array of any framework, the examples on the first axis; images as (N, C, H, W), a Keras network
            that has the channels last is given (N, H, W, C). Signed integers are left as they are, for embeddings; all
            else is taken as float32. Networks and functions get copies. For networks of several inputs a tuple of them:
            Keras is given a list, the others one argument for each.
        mapping: the reference's layer name to the port's, in place of matching in order: the layers to compare, before
            `output`.
        tolerance: the largest difference that counts as agreement, in units of the largest number that the reference
            gives in that layer.

    Raises:
        PortError: when a network is of no known kind or fails on X, the layers cannot be matched, or an argument is not
            what is expected.
    """
    X = tuple(map(_inputs, X)) if isinstance(X, tuple) and X else (_inputs(X),)
    if mapping is not None:
        _check_mapping(mapping)
    if not isinstance(tolerance, Real) or not 0 < tolerance < float("inf"):
        raise PortError(f"tolerance {tolerance!r}, expected a number above 0: leave it out for 1e-5")
    a, b = trace_network(reference, X, "reference"), trace_network(port, X, "port")
    agree = partial(_agree, tolerance=tolerance)
    pairs = _in_order(a.layers, b.layers) if mapping is None else _by_mapping(a.layers, b.layers, mapping)
    pairs += _outputs(a, b, pairs)
    not_compared = _not_compared(a, b, pairs)
    if not pairs:
        raise PortError("an array from one function, a dict from the other, expected arrays from both or dicts")
    outputs_agree = bool(a.outputs and b.outputs) and all(
        agree(x.output, y.output) for x, y in zip(a.outputs, b.outputs, strict=False)
    )
    if mapping is None:
        pairs = _exchanged(pairs, agree) if outputs_agree else pairs
        pairs = _telling(pairs, [given.output for given in a.outputs], agree)
    reports = tuple(_report(pair, agree) for pair in pairs)
    first = next((number for number, report in enumerate(reports) if not report.agrees), None)
    if first is None:
        return Report(reports, None, None, not_compared)
    pair = pairs[first]
    is_dense = pair.reference.kind == pair.port.kind == "dense"
    difference = Difference(
        pair.reference,
        pair.port,
        *pair.compared,
        last=pairs[first - 1].reference.name if first else None,
        images=image_shapes(b.layers, pair.port, X) + image_shapes(a.layers, pair.reference, X) if is_dense else [],
        agree=agree,
        nearly=_agree(*pair.compared, tolerance=10 * tolerance),
        others=[
            (other.name, *_Pair(pair.reference, other).compared)
            for other in _comparable(b.layers)
            if other.kind == pair.reference.kind and other.name != pair.port.name
        ],
        outputs_agree=outputs_agree,
        mapped=mapping is not None,
    )
    return Report(reports, reports[first], find_hint(difference), not_compared)


def _inputs(X: Any) -> np.ndarray:
    """A copy of X, of the type that networks are given."""
    wanted = "expected numbers in one array"
    advice = "give an array of shape (N, C, H, W), or (N, ...), the examples on the first axis"
    try:
        inputs = np.array(as_numpy(X))
        # "V" is what NumPy says of bfloat16.
        if inputs.dtype.kind not in "biufV":
            raise TypeError(f"its numbers are of type {inputs.dtype}")
        if not np.issubdtype(inputs.dtype, np.signedinteger):
            inputs = inputs.astype(np.float32)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise PortError(f"an X that is a {type(X).__name__} ({reason_of(problem)}), {wanted}: {advice}") from problem
    if inputs.ndim == 0 or inputs.size == 0:
        raise PortError(f"an X of shape {inputs.shape}, expected one example or more: {advice}")
    return inputs


def _check_mapping(mapping: Any) -> None:
    if not isinstance(mapping, Mapping):
        raise PortError(
            f"a {type(mapping).__name__} as the mapping, expected a dict of the reference's layer names to the port's: "
            "leave it out to match the layers in order"
        )
    if not mapping:
        raise PortError("an empty mapping, expected layer names: leave it out to match the layers in order")
    names = [*mapping.keys(), *mapping.values()]
    other = next((name for name in names if not isinstance(name, str)), None)
    if other is not None:
        raise PortError(
            f"mapping has {other!r} of type {type(other).__name__}, expected layer names: give each as a string"
        )
    if len(set(mapping.values())) < len(mapping):
        names = list(mapping.values())
        twice = next(name for name in names if names.count(name) > 1)
        raise PortError(f"mapping gives the port's layer '{twice}' to more than one, expected every layer once")


@dataclass(frozen=True)
class _Pair:
    reference: Traced
    port: Traced

    @property
    def compared(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.reference, self.port
        x, y = (a.output, b.output) if a.activated == b.activated else (a.sums, b.sums)
        # A global pooling gives (N, C, 1, 1) or (N, C), and what comes next takes it as it is.
        return (without_ones(x), without_ones(y)) if a.kind != "output" and x.ndim != y.ndim else (x, y)


def _report(pair: _Pair, agree: Agree) -> LayerReport:
    x, y = pair.compared
    error = float("inf")
    if x.shape == y.shape:
        with np.errstate(invalid="ignore"):  # infinity less infinity is no number, and so is the error
            error = float(np.abs(x - y).max(initial=0))
    return LayerReport(pair.reference.name, pair.port.name, x.shape, y.shape, error, agree(x, y))


def _agree(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays agree, the first being right; what is no number, or infinite, agrees with nothing."""
    if a.shape != b.shape:
        return False
    largest = np.abs(a).max(initial=FLOOR)
    return bool(np.isfinite(largest)) and bool(np.abs(a - b).max(initial=0) <= tolerance * largest)


# Matching


def _in_order(a: list[Traced], b: list[Traced]) -> list[_Pair]:
    by_name = {layer.name: layer for layer in b}
    if all(layer.kind == "output" for layer in (*a, *b)) and {layer.name for layer in a} == by_name.keys():
        return [_Pair(layer, by_name[layer.name]) for layer in a]
    (weighted_a, between_a), (weighted_b, between_b) = _split(a), _split(b)
    if not (weighted_a and weighted_b):
        # A function shows no layers, nor does a network that does all in functions: there are the outputs to compare.
        return [] if weighted_a or weighted_b else _same_kinds(between_a[0], between_b[0])
    if [layer.kind for layer in weighted_a] != [layer.kind for layer in weighted_b]:
        told = ["; ".join(f"{layer.name} ({layer.kind})" for layer in layers) for layers in (weighted_a, weighted_b)]
        raise PortError(
            f"the reference has the layers {told[0]}, the port {told[1]}, expected the same kinds in the same order: "
            "give a mapping of layer names"
        )
    pairs = _same_kinds(between_a[0], between_b[0])
    places = _places(weighted_a, weighted_b)
    for layer, after, place in zip(weighted_a, between_a[1:], places, strict=True):
        pairs += [_Pair(layer, weighted_b[place]), *_same_kinds(after, between_b[place + 1])]
    return pairs


def _places(a: list[Traced], b: list[Traced]) -> list[int]:
    """Where the counterparts of a's layers stand in b, both of the same kinds in the same order.

    At the same place; but where the shapes of the weights tell that two branches come in another order, the first that
    is left of the same kind and shape.
    """

    def shapes(layers: list[Traced]) -> list[tuple[str, tuple[int, ...]]]:
        return [(layer.kind, np.shape(layer.parameters.get("weight", 0))) for layer in layers]

    wanted, left = shapes(a), shapes(b)
    if sorted(wanted) != sorted(left):
        return list(range(len(a)))
    places = []
    for shape in wanted:
        places.append(left.index(shape))
        left[places[-1]] = ("taken", ())
    return places


def _split(layers: list[Traced]) -> tuple[list[Traced], list[list[Traced]]]:
    """The layers with weights, and the others: those before the first, between it and the second, and so on."""
    weighted: list[Traced] = []
    between: list[list[Traced]] = [[]]
    for layer in _comparable(layers):
        if layer.weighted:
            weighted.append(layer)
            between.append([])
        else:
            between[-1].append(layer)
    return weighted, between


def _same_kinds(a: list[Traced], b: list[Traced]) -> list[_Pair]:
    """Layers without weights, matched where both networks show the same kinds, else passed over."""
    if [layer.kind for layer in a] != [layer.kind for layer in b]:
        return []
    return [_Pair(*pair) for pair in zip(a, b, strict=True)]


def _by_mapping(a: list[Traced], b: list[Traced], mapping: Mapping[str, str]) -> list[_Pair]:
    found = []
    for layers, used, whose in ((a, mapping.keys(), "reference"), (b, mapping.values(), "port")):
        by_name = {layer.name: layer for layer in layers} | {layer.name: layer for layer in _comparable(layers)}
        for name in used:
            if name not in by_name:
                told = ", ".join(by_name) or "none, for a function shows none"
                raise PortError(f"mapping names '{name}', expected a layer of the {whose}: {told}")
        found.append(by_name)
    order = [layer.name for layer in a]
    return [_Pair(found[0][name], found[1][mapping[name]]) for name in sorted(mapping, key=order.index)]


def _comparable(layers: list[Traced]) -> list[Traced]:
    """The layers that every framework has, an activation taken together with the layer whose sums it is given."""
    kept: list[Traced] = []
    for layer in layers:
        last = kept[-1] if kept else None
        if layer.kind == "activation" and last and last.weighted and not last.activated and _follows(layer, last):
            kept[-1] = replace(last, output=layer.output, activated=True)
        elif layer.kind not in SKIPPED:
            kept.append(layer)
    return kept


def _follows(layer: Traced, last: Traced) -> bool:
    """Whether nothing lies between two layers."""
    return layer.input is not None and _same(layer.input, last.output)


def _outputs(a: Trace, b: Trace, pairs: list[_Pair]) -> list[_Pair]:
    """What both networks give, as pairs, but for what has been compared as the output of a layer."""
    compared = [pair.compared for pair in pairs]
    return [
        _Pair(given, port_given)
        for given, port_given in zip(a.outputs, b.outputs, strict=False)
        if not any(_same(given.output, x) and _same(port_given.output, y) for x, y in compared)
    ]


def _not_compared(a: Trace, b: Trace, pairs: list[_Pair]) -> str | None:
    """How many outputs one network gives beyond the other's, but for what has been compared as those of a layer."""
    num_both = min(len(a.outputs), len(b.outputs))
    for whose, trace, side in (("reference", a, 0), ("port", b, 1)):
        compared = [pair.compared[side] for pair in pairs]
        left = [given for given in trace.outputs[num_both:] if not any(_same(given.output, x) for x in compared)]
        if left:
            return f"{len(left)} output{'s' if len(left) > 1 else ''} of the {whose}"
    return None


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _exchanged(pairs: list[_Pair], agree: Agree) -> list[_Pair]:
    """The pairs with those that differ matched by their numbers, if all of these with weights find a counterpart.

    Frameworks run the branches of a network in orders of their own. Only for networks whose outputs agree: where they
    do not, the weights of two layers may be in each other's place.
    """
    wrong = [n for n, pair in enumerate(pairs) if pair.reference.weighted and not agree(*pair.compared)]
    left = [pairs[n].port for n in wrong]
    exchanged = list(pairs)
    for n in wrong:
        possible = [_Pair(pairs[n].reference, port) for port in left if port.kind == pairs[n].reference.kind]
        found = next((pair for pair in possible if agree(*pair.compared)), None)
        if found is None:
            return pairs
        exchanged[n] = found
        left = [port for port in left if port is not found.port]
    return exchanged


def _telling(pairs: list[_Pair], given: list[np.ndarray], agree: Agree) -> list[_Pair]:
    """The pairs without those that differ though all that comes after them agrees.

    A pooling may stand before the activation in one network and after it, in a function, in the other. What the
    reference gives in the end, `given`, has nothing after it.
    """
    kept: list[_Pair] = []
    rest_agrees = True
    for pair in reversed(pairs):
        x, y = pair.compared
        pair_agrees = agree(x, y)
        is_last = not kept or any(_same(x, output) for output in given)
        if not pair_agrees and not pair.reference.weighted and rest_agrees and not is_last:
            continue
        rest_agrees &= pair_agrees
        kept.insert(0, pair)
    return kept
