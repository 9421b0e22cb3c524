"""Pairs the layers of two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lenet_multi.ports.agreement import Agree, are_equal
from lenet_multi.ports.arrays import squeeze_spatial
from lenet_multi.ports.errors import PortError
from lenet_multi.ports.traces import Trace, TracedLayer

SKIPPED = ("flatten", "padding", "dropout", "input")  # kinds that are layers in one framework but not in another


@dataclass(frozen=True)
class Pair:
    """A layer of the reference and the layer of the port to compare it with."""

    reference: TracedLayer
    port: TracedLayer

    @property
    def compared(self) -> tuple[np.ndarray, np.ndarray]:
        """The two arrays to compare: the outputs, or the pre-activations if only one layer has its activation."""
        a, b = self.reference, self.port
        x, y = (a.output, b.output) if a.has_activation == b.has_activation else (a.pre_activation, b.pre_activation)
        # A global pooling gives (N, C, 1, 1) or (N, C). Inside a network, the next layer hides the difference.
        return (squeeze_spatial(x), squeeze_spatial(y)) if a.kind != "output" and x.ndim != y.ndim else (x, y)


def match_in_order(a: list[TracedLayer], b: list[TracedLayer]) -> list[Pair]:
    """Pair the layers in order; pair two dicts of arrays by name if they have the same names.

    Raises:
        PortError: when the layers with weights are not of the same kinds in the same order.
    """
    by_name = {layer.name: layer for layer in b}
    if all(layer.kind == "output" for layer in (*a, *b)) and {layer.name for layer in a} == by_name.keys():
        return [Pair(layer, by_name[layer.name]) for layer in a]
    (weighted_a, between_a), (weighted_b, between_b) = _split(a), _split(b)
    if not (weighted_a and weighted_b):
        # A network without visible layers, such as a function, has only its outputs to compare.
        return [] if weighted_a or weighted_b else _match_same_kinds(between_a[0], between_b[0])
    if [layer.kind for layer in weighted_a] != [layer.kind for layer in weighted_b]:
        lists = [", ".join(f"{layer.name} ({layer.kind})" for layer in layers) for layers in (weighted_a, weighted_b)]
        raise PortError(
            f"the layers with weights differ in kind or order, {lists[0]} in the reference and {lists[1]} in the port: "
            "give a mapping of layer names"
        )
    pairs = _match_same_kinds(between_a[0], between_b[0])
    positions = _match_positions(weighted_a, weighted_b)
    for layer, after, position in zip(weighted_a, between_a[1:], positions, strict=True):
        pairs += [Pair(layer, weighted_b[position]), *_match_same_kinds(after, between_b[position + 1])]
    return pairs


def _match_positions(a: list[TracedLayer], b: list[TracedLayer]) -> list[int]:
    """Return the position in b of the counterpart of each layer of a; both have the same kinds in the same order.

    If both have the same weight shapes in a different order, as when two branches are exchanged, each layer of a gets
    the first free layer of b that has its kind and shape. Otherwise the counterparts have the same positions.
    """

    def signatures(layers: list[TracedLayer]) -> list[tuple[str, tuple[int, ...]]]:
        return [(layer.kind, np.shape(layer.parameters.get("weight", 0))) for layer in layers]

    needed, free = signatures(a), signatures(b)
    if sorted(needed) != sorted(free):
        return list(range(len(a)))
    positions = []
    for signature in needed:
        positions.append(free.index(signature))
        free[positions[-1]] = ("taken", ())
    return positions


def _split(layers: list[TracedLayer]) -> tuple[list[TracedLayer], list[list[TracedLayer]]]:
    """Split into the layers with weights, and a list of the other layers before, between and after them."""
    weighted: list[TracedLayer] = []
    between: list[list[TracedLayer]] = [[]]
    for layer in comparable_layers(layers):
        if layer.has_weights:
            weighted.append(layer)
            between.append([])
        else:
            between[-1].append(layer)
    return weighted, between


def _match_same_kinds(a: list[TracedLayer], b: list[TracedLayer]) -> list[Pair]:
    """Pair layers without weights if both networks have the same kinds in the same order; else return no pairs."""
    if [layer.kind for layer in a] != [layer.kind for layer in b]:
        return []
    return [Pair(*pair) for pair in zip(a, b, strict=True)]


def match_by_mapping(a: list[TracedLayer], b: list[TracedLayer], mapping: Mapping[str, str]) -> list[Pair]:
    """Pair the layers that a mapping names, in the reference's order of execution.

    Raises:
        PortError: when the mapping names a layer that a network does not have.
    """
    tables = []
    for role, layers, names in (("reference", a, mapping.keys()), ("port", b, mapping.values())):
        by_name = {layer.name: layer for layer in layers} | {layer.name: layer for layer in comparable_layers(layers)}
        for name in names:
            if name not in by_name:
                advice = f"choose from {', '.join(by_name)}" if by_name else "a function has no named layers"
                raise PortError(f"mapping names '{name}', which is not a layer of the {role}: {advice}")
        tables.append(by_name)
    order = [layer.name for layer in a]
    return [Pair(tables[0][name], tables[1][mapping[name]]) for name in sorted(mapping, key=order.index)]


def comparable_layers(layers: list[TracedLayer]) -> list[TracedLayer]:
    """Drop the kinds in `SKIPPED`, and merge each activation into the layer with weights that it follows."""
    kept: list[TracedLayer] = []
    for layer in layers:
        last = kept[-1] if kept else None
        if (
            layer.kind == "activation"
            and last
            and last.has_weights
            and not last.has_activation
            and _follows(layer, last)
        ):
            kept[-1] = replace(last, output=layer.output, has_activation=True)
        elif layer.kind not in SKIPPED:
            kept.append(layer)
    return kept


def _follows(layer: TracedLayer, last: TracedLayer) -> bool:
    """Whether the input of a layer is the unchanged output of another."""
    return layer.input is not None and are_equal(layer.input, last.output)


def match_outputs(a: Trace, b: Trace, pairs: list[Pair]) -> list[Pair]:
    """Pair the outputs of the networks, except for those that some pair of layers already compares."""
    compared = [pair.compared for pair in pairs]
    return [
        Pair(output, port_output)
        for output, port_output in zip(a.outputs, b.outputs, strict=False)
        if not any(are_equal(output.output, x) and are_equal(port_output.output, y) for x, y in compared)
    ]


def uncompared_outputs(a: Trace, b: Trace, pairs: list[Pair]) -> str | None:
    """Return the number of surplus outputs of one network, `1 output of the port`, or None if all are compared."""
    num_both = min(len(a.outputs), len(b.outputs))
    for role, trace, side in (("reference", a, 0), ("port", b, 1)):
        compared = [pair.compared[side] for pair in pairs]
        surplus = [layer for layer in trace.outputs[num_both:] if not any(are_equal(layer.output, x) for x in compared)]
        if surplus:
            return f"{len(surplus)} output{'s' if len(surplus) > 1 else ''} of the {role}"
    return None


def match_exchanged(pairs: list[Pair], agree: Agree) -> list[Pair]:
    """Pair again, by their numbers, the layers with weights that differ; needs a counterpart for each of them.

    Frameworks may run the branches of a network in different orders. Use this only if the networks' outputs agree:
    otherwise the weights of two layers may be swapped.
    """
    differing = [n for n, pair in enumerate(pairs) if pair.reference.has_weights and not agree(*pair.compared)]
    free = [pairs[n].port for n in differing]
    exchanged = list(pairs)
    for n in differing:
        candidates = [Pair(pairs[n].reference, port) for port in free if port.kind == pairs[n].reference.kind]
        match = next((pair for pair in candidates if agree(*pair.compared)), None)
        if match is None:
            return pairs
        exchanged[n] = match
        free = [port for port in free if port is not match.port]
    return exchanged


def without_irrelevant(pairs: list[Pair], outputs: list[np.ndarray], agree: Agree) -> list[Pair]:
    """Drop pairs without weights that differ although all later pairs agree.

    A pooling may come before the activation in one network and after it in the other, where one of the two is in a
    function. Pairs whose array is one of the reference's `outputs` stay, as no later layer depends on them.
    """
    kept: list[Pair] = []
    rest_agrees = True
    for pair in reversed(pairs):
        x, y = pair.compared
        pair_agrees = agree(x, y)
        is_last = not kept or any(are_equal(x, output) for output in outputs)
        if not pair_agrees and not pair.reference.has_weights and rest_agrees and not is_last:
            continue
        rest_agrees &= pair_agrees
        kept.insert(0, pair)
    return kept
