"""Pairs the calls of two networks' layers, by their place in the graph, kind, weight shape and numbers.

Layers with weights come first, because every framework has them as layers. Layers without weights (poolings,
activations, ...) follow if they are attached to the same pair, since the other network may run them in a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lenet_multi.ports.layer_kinds import SKIPPED, WITH_WEIGHTS
from lenet_multi.ports.recording import Adapter, Facts, LayerCall, facts_of

INPUT = -1  # in place of a call's number: the input of the network
Match = dict[int, int]  # numbers of the reference's calls to those of the port's

# How much it counts that two layers with weights have something in common.
SAME_KIND, SAME_SHAPE, SAME_NUMBERS, SAME_PARENT = 0.3, 0.7, 0.5, 0.25


@dataclass(frozen=True)
class _Node:
    """A call as the alignment sees it."""

    call: LayerCall
    kind: str
    shape: tuple[int, ...]  # of the weight
    numbers: Facts | None  # of the weight
    parent: int | None  # the weighted call that the input comes from, through layers without weights
    siblings: tuple[tuple[int, int], ...]  # equal for calls with the same input


class Graph:
    """The calls of a network, and which of them receive the output of which."""

    def __init__(self, calls: Sequence[LayerCall], adapter: Adapter, inputs: Sequence[np.ndarray]) -> None:
        self.weighted = {call.number for call in calls if call.kind in WITH_WEIGHTS}
        self.sources: dict[int, list[int | None]] = {}
        made: dict[tuple[int, int], int] = {facts_of(array).sums: INPUT for array in inputs}
        for call in calls:
            self.sources[call.number] = [made.get(facts.sums) for facts in call.input_facts]
            if call.output_facts is not None:
                made[call.output_facts.sums] = call.number
        self.nodes = {call.number: self._node(call, adapter) for call in calls if call.kind in WITH_WEIGHTS}
        self.others = [call for call in calls if call.kind not in (*WITH_WEIGHTS, *SKIPPED)]

    def _node(self, call: LayerCall, adapter: Adapter) -> _Node:
        parameters = adapter.parameters(call.layer, call.kind)
        weight = parameters.get("weight", parameters.get("gamma", parameters.get("mean", np.zeros(0))))
        shape = weight.shape
        kind = "conv" if call.kind == "separable conv" else call.kind
        # A convolution of one pixel is a dense layer.
        if kind == "dense" or (kind == "conv" and set(shape[2:]) == {1}):
            kind, shape = "linear", shape[:2]
        numbers = facts_of(weight) if weight.size and not _is_constant(weight) else None
        inputs = tuple(facts.sums for facts in call.input_facts)
        return _Node(call, kind, shape, numbers, self.ancestor(call), inputs)

    def ancestor(self, call: LayerCall) -> int | None:
        """The call with weights that a call's only input comes from, or `INPUT`; None if unknown, as after a sum."""
        number = call.number
        while True:
            sources = self.sources[number]
            if len(sources) != 1 or sources[0] is None:
                return None
            number = sources[0]
            if number == INPUT or number in self.weighted:
                return number

    def chain_ends(self) -> Callable[[LayerCall], int | None]:
        """A function that returns the call with weights that a call's output goes to, if it is the first to."""
        receiver: dict[int, int] = {}
        for number, sources in self.sources.items():
            if len(sources) == 1 and sources[0] not in (None, INPUT):
                receiver.setdefault(sources[0], number)

        def end(call: LayerCall) -> int | None:
            number: int | None = receiver.get(call.number)
            while number is not None and number not in self.weighted:
                number = receiver.get(number)
            return number

        return end


def _is_constant(array: np.ndarray) -> bool:
    return bool(array.min() == array.max())


def align(a: Graph, b: Graph) -> Match:
    """Pair the calls of two networks; each call has at most one counterpart."""
    match = _in_order(list(a.nodes.values()), list(b.nodes.values()))
    # A pair of different shapes stands only if neither call has a better counterpart out of order.
    weak = {m: n for m, n in match.items() if a.nodes[m].shape != b.nodes[n].shape}
    for number in weak:
        del match[number]
    _pair_the_rest(a.nodes, b.nodes, match)
    taken = set(match.values())
    match.update({m: n for m, n in weak.items() if m not in match and n not in taken})
    _exchange(a.nodes, b.nodes, match)
    match[INPUT] = INPUT
    _pair_between(a, b, match, a.ancestor, b.ancestor)
    _pair_between(a, b, match, a.chain_ends(), b.chain_ends())
    del match[INPUT]
    return match


def _likeness(x: _Node, y: _Node, parents: bool) -> float:
    """How much two calls have in common; 0 if they are of different kinds."""
    if x.kind != y.kind:
        return 0.0
    score = SAME_KIND + SAME_SHAPE * (x.shape == y.shape)
    return score + SAME_NUMBERS * _same(x, y) + SAME_PARENT * parents


def _in_order(a: list[_Node], b: list[_Node]) -> Match:
    """The pairs in the order of execution that have most in common: extra layers on either side are left out."""
    kinds_a, kinds_b = ({node.call.number: (node.kind, node.shape) for node in nodes} for nodes in (a, b))
    parents = [[_kind_before(x, kinds_a) == _kind_before(y, kinds_b) for y in b] for x in a]
    best = np.zeros((len(a) + 1, len(b) + 1))
    likeness = [
        [_likeness(x, y, same) for y, same in zip(b, row, strict=True)] for x, row in zip(a, parents, strict=True)
    ]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            paired = best[i + 1, j + 1] + likeness[i][j] if likeness[i][j] else 0.0
            best[i, j] = max(best[i + 1, j], best[i, j + 1], paired)
    match, i, j = {}, 0, 0
    while i < len(a) and j < len(b):
        if likeness[i][j] and best[i, j] == best[i + 1, j + 1] + likeness[i][j]:
            match[a[i].call.number] = b[j].call.number
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return match


def _kind_before(node: _Node, kinds: Mapping[int, tuple[str, tuple[int, ...]]]) -> object:
    """The kind and shape of the layer before a call; whether it is the first if there is none."""
    return node.parent if node.parent is None or node.parent == INPUT else kinds[node.parent]


def _pair_the_rest(a: Mapping[int, _Node], b: Mapping[int, _Node], match: Match) -> None:
    """Pair calls that are left because their branches run in another order: of one kind and shape."""
    free = [node for number, node in b.items() if number not in match.values()]
    for number, x in a.items():
        candidates = [y for y in free if (y.kind, y.shape) == (x.kind, x.shape)]
        if number in match or not candidates:
            continue
        chosen = max(candidates, key=lambda y: (_follows(x, y, match), _receives(x, y), _likeness(x, y, False)))
        match[number] = chosen.call.number
        free.remove(chosen)


def _follows(x: _Node, y: _Node, match: Match) -> bool:
    """Whether the layers before two calls are a pair."""
    if x.parent is None or y.parent is None:
        return False
    return match.get(x.parent) == y.parent or x.parent == y.parent == INPUT


def _receives(x: _Node, y: _Node) -> bool:
    """Whether two calls have nearly equal inputs: then they stand at the same place, after layers that agree."""
    given, port_given = x.call.input_facts, y.call.input_facts
    return len(given) == len(port_given) and all(map(Facts.near, given, port_given))


def _exchange(a: Mapping[int, _Node], b: Mapping[int, _Node], match: Match) -> None:
    """Exchange the counterparts of two calls of one kind and shape where this suits their places better.

    Their weights decide only between calls with the same input, where the place says nothing.
    """
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for number in match:
        if number in a and match[number] in b and a[number].shape == b[match[number]].shape:
            groups.setdefault((a[number].kind, a[number].shape), []).append(number)
    for _ in range(len(match)):
        changed = False
        for m, n in (pair for group in groups.values() for pair in combinations(group, 2)):
            alike = a[m].siblings == a[n].siblings and b[match[m]].siblings == b[match[n]].siblings
            before, after = (
                [
                    _follows(a[m], b[p], match) + _follows(a[n], b[q], match),
                    _receives(a[m], b[p]) + _receives(a[n], b[q]),
                    alike and _same(a[m], b[p]) + _same(a[n], b[q]),
                ]
                for p, q in ((match[m], match[n]), (match[n], match[m]))
            )
            if after > before:
                match[m], match[n] = match[n], match[m]
                changed = True
        if not changed:
            return


def _same(x: _Node, y: _Node) -> bool:
    """Whether two calls have weights of the same numbers."""
    return x.numbers is not None and x.numbers.same_numbers(y.numbers)


End = Callable[[LayerCall], int | None]


def _pair_between(a: Graph, b: Graph, match: Match, end_a: End, end_b: End) -> None:
    """Pair the calls without weights that are attached to the same pair of calls with weights, if both have as many."""
    attached = _attached([call for call in a.others if call.number not in match], end_a)
    port_attached = _attached([call for call in b.others if call.number not in set(match.values())], end_b)
    for (end, kind), calls in attached.items():
        partners = port_attached.get((match[end], kind), []) if end in match else []
        if len(calls) == len(partners):
            if _are_parallel(calls) and _are_parallel(partners):  # an average and a maximum, in any order
                calls, partners = sorted(calls, key=_function), sorted(partners, key=_function)
            match.update((call.number, partner.number) for call, partner in zip(calls, partners, strict=True))


def _attached(calls: Sequence[LayerCall], end_of: End) -> dict[tuple[int, str], list[LayerCall]]:
    """The calls by the call with weights that they are attached to, and their kind."""
    found: dict[tuple[int, str], list[LayerCall]] = {}
    for call in calls:
        end = end_of(call)
        if end is not None:
            found.setdefault((end, call.kind), []).append(call)
    return found


def _are_parallel(calls: Sequence[LayerCall]) -> bool:
    """Whether calls have the same inputs."""
    return len({tuple(facts.sums for facts in call.input_facts) for call in calls}) == 1


def _function(call: LayerCall) -> str:
    """What a layer without weights computes, in a word."""
    return str(call.settings.get("pooling") or call.settings.get("activation"))
