"""Two networks whose layers are paired, and the judgement of each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import isqrt

import numpy as np

from lenet_multi.ports.agreement import agree_within, largest_error, scale_of
from lenet_multi.ports.alignment import Graph, Match, align
from lenet_multi.ports.errors import PortError
from lenet_multi.ports.judgement import Judged, JudgingVisitor, Layout
from lenet_multi.ports.layer_kinds import OUTSIDE, WITH_WEIGHTS
from lenet_multi.ports.layouts import first_to_last, last_to_first
from lenet_multi.ports.networks import FunctionNetwork, Network, channels_first, run_network
from lenet_multi.ports.recording import Collector, LayerCall


class PairedNetworks:
    """Two networks with their layers paired.

    Attributes:
        a: the reference.
        b: the port.
        inputs: the inputs of both, channels first.
        calls: the reference's calls, with their arrays.
        port_calls: the port's calls, without.
        outputs: the reference's outputs.
        match: the numbers of the reference's calls to those of the port's.
        unmatched: names of layers with weights that have no counterpart, by `reference` and `port`.
        judged: the pairs in the reference's order, then the outputs; empty before `judge`.

    Raises:
        PortError: when a network fails on the inputs, or no layer has a counterpart.
    """

    def __init__(
        self, a: Network, b: Network, inputs: Sequence[np.ndarray], mapping: Mapping[str, str] | None = None
    ) -> None:
        self.a, self.b, self.inputs = a, b, inputs
        collected, port_collected = Collector(), Collector()
        self.outputs = run_network(a, inputs, collected, "reference")
        self.port_outputs = run_network(b, inputs, port_collected, "port")
        self._left_out: list[str] = []
        self.calls = self._known(collected.calls, "reference")
        self.port_calls = self._known(port_collected.calls, "port")
        self.judged: list[Judged] = []
        self.sources: Mapping[int, Sequence[int | None]] = {}
        self._graph: Graph | None = None  # the reference's
        self.has_mapping = mapping is not None
        self.match = self._mapped(mapping) if mapping is not None else self._aligned()
        names, port_names = ({call.number: call.name for call in calls} for calls in (self.calls, self.port_calls))
        self.mapping = {names[number]: port_names[partner] for number, partner in sorted(self.match.items())}
        self.unmatched = self._unmatched() if mapping is None and self.calls and self.port_calls else {}

    def _known(self, calls: list[LayerCall], role: str) -> list[LayerCall]:
        """The calls before the first layer of a kind that this comparison does not know."""
        unknown = next((n for n, call in enumerate(calls) if call.kind in OUTSIDE), None)
        if unknown is None:
            return calls
        name, kind = calls[unknown].name, type(calls[unknown].layer).__name__
        self._left_out.append(
            f"{name} of the {role} ({kind}, a layer outside convolutional classifiers) and what follows it"
        )
        return calls[:unknown]

    def _aligned(self) -> Match:
        if isinstance(self.a, FunctionNetwork) or isinstance(self.b, FunctionNetwork):
            return {}
        graphs = Graph(self.calls, self.a, self.inputs), Graph(self.port_calls, self.b, self.inputs)
        self._graph, self.sources = graphs[0], graphs[1].sources
        match = align(*graphs)
        if not match and all(graph.nodes for graph in graphs):
            raise PortError(
                "no layer of the port has the kind of a layer of the reference: check that both are the same network, "
                "or pass a mapping of layer names"
            )
        return match

    def _mapped(self, mapping: Mapping[str, str]) -> Match:
        """The pairs that a mapping names."""
        tables = []
        for role, calls, names in (
            ("reference", self.calls, mapping.keys()),
            ("port", self.port_calls, mapping.values()),
        ):
            by_name = {call.name: call.number for call in calls}
            for name in names:
                if name not in by_name:
                    advice = f"choose from {', '.join(by_name)}" if by_name else "a function has no named layers"
                    raise PortError(f"mapping names '{name}', which is not a layer of the {role}: {advice}")
            tables.append(by_name)
        return {tables[0][name]: tables[1][partner] for name, partner in mapping.items()}

    def _unmatched(self) -> dict[str, tuple[str, ...]]:
        taken = set(self.match.values())
        left = {
            "reference": [call for call in self.calls if call.number not in self.match],
            "port": [call for call in self.port_calls if call.number not in taken],
        }
        named = {role: tuple(c.name for c in calls if c.kind in WITH_WEIGHTS) for role, calls in left.items()}
        return {role: names for role, names in named.items() if names}

    def judge(self, tolerance: float) -> None:
        """Run the port twice, by itself and with the reference's arrays, and judge each pair."""
        self.tolerance = tolerance
        by_number, port_calls = ({c.number: c for c in calls} for calls in (self.calls, self.port_calls))
        pairs = {m: Judged(by_number[n], port_calls[m]) for n, m in sorted(self.match.items())}
        outputs, inherits = self.port_outputs, False
        judged: list[Judged] = []
        repeated = self._repeated()
        if pairs:
            layout = Layout(self.to_port, lambda array: channels_first(array, self.b), self.images)
            for one in pairs.values():
                self._compare_ordinary(one, layout)
            try:
                outputs, judged, inherits = self._run_judging(pairs, layout, reshapes=True)
            except PortError:  # the port expects arrays of the shapes that it has by itself
                outputs, judged, inherits = self._run_judging(pairs, layout, reshapes=False)
        rows = self._judged_outputs(outputs)
        self.judged = judged if self.has_mapping else without_harmless(judged, all(row.agrees for row in rows))
        differs = any(not pair.agrees for pair in self.judged)
        kept = {pair.reference.number for pair in self.judged}
        for row in rows:
            if not repeated.get(row.reference.name, set()) & kept:
                row.inherits = inherits and differs and not row.agrees
                row.agrees |= row.inherits
                self.judged.append(row)

    def _run_judging(
        self, pairs: Mapping[int, Judged], layout: Layout, reshapes: bool
    ) -> tuple[list[LayerCall], list[Judged], bool]:
        """The port's outputs, the judged pairs, and whether the outputs inherit an error."""
        assert not isinstance(self.b, FunctionNetwork)
        parameters = self.b.parameters
        fresh = {number: replace(judged) for number, judged in pairs.items()}
        judging = JudgingVisitor(
            fresh, layout, self.tolerance, lambda call: parameters(call.layer, call.kind), self.sources, reshapes
        )
        outputs = run_network(self.b, self.inputs, judging, "port")
        return outputs, list(fresh.values()), judging.is_interrupted

    def _compare_ordinary(self, judged: Judged, layout: Layout) -> None:
        """Note the difference of the outputs in the ordinary runs, and drop the port's output."""
        output, judged.port.inputs, judged.port.output = judged.port.output, None, None
        if output is None or judged.reference.output is None:
            return
        expected = layout(judged.reference.output, output)
        judged.output_shape = output.shape
        judged.total = float("inf") if expected is None else largest_error(expected, output)
        judged.total_agrees = expected is not None and judged.total <= self.tolerance * scale_of(expected)

    @property
    def not_compared(self) -> str | None:
        """What is left out, in a few words, or None."""
        return "; ".join(self._left_out) or None

    def before(self, judged: Judged) -> str:
        """The name of the reference's layer that a pair's input comes from; `X` for the input of the network."""
        number = self._graph.ancestor(judged.reference) if self._graph and judged.reference.layer is not None else None
        earlier = [one.reference for one in self.judged if one.reference.kind != "output"]
        if number is not None:
            earlier = [call for call in self.calls if call.number == number]
        elif judged.reference.kind != "output":
            earlier = earlier[: [call.number for call in earlier].index(judged.reference.number)]
        return earlier[-1].name if earlier else "X"

    def to_port(self, array: np.ndarray) -> np.ndarray:
        """The usual conversion of the reference's arrays to the port's layout."""
        if self.a.channels_last == self.b.channels_last:
            return array
        return last_to_first(array) if self.a.channels_last else first_to_last(array)

    @cached_property
    def images(self) -> list[tuple[int, ...]]:
        """The shapes (C, H, W) of images that a dense layer may receive flattened, the latest first.

        A pooling in a function may have shrunk the last images: then they are assumed to be square.
        """
        shapes: dict[tuple[int, ...], None] = {}
        sizes = set()
        for network, calls in ((self.a, self.calls), (self.b, self.port_calls)):
            for call in reversed(calls):
                for facts in (call.output_facts, *call.input_facts):
                    if facts is not None and len(facts.shape) == 4:
                        shape = facts.shape[1:]
                        shapes[(shape[2], *shape[:2]) if network.channels_last else shape] = None
                if call.kind == "dense":
                    sizes |= {int(np.prod(facts.shape[1:])) for facts in call.input_facts}
        for size in sizes:
            for channels in {shape[0] for shape in shapes}:
                side = isqrt(size // channels)
                if side > 1 and channels * side * side == size:
                    shapes[(channels, side, side)] = None
        return list(shapes)

    def _judged_outputs(self, outputs: Sequence[LayerCall]) -> list[Judged]:
        """The outputs of the networks, judged as layers."""
        kinds = {getattr(network, "gives_dict", False) for network in (self.a, self.b)}
        if len(kinds) > 1:
            raise PortError(
                "one function returns an array, the other a dict: return arrays from both, or dicts from both"
            )
        by_name = {call.name: call for call in outputs}
        if {call.name for call in self.outputs} == by_name.keys():
            pairs = [(call, by_name[call.name]) for call in self.outputs]
        else:
            pairs = list(zip(self.outputs, outputs, strict=False))
        if len(self.outputs) != len(outputs):
            longer, role = max((len(self.outputs), "reference"), (len(outputs), "port"))
            surplus = longer - min(len(self.outputs), len(outputs))
            self._left_out.append(f"{surplus} output{'s' if surplus > 1 else ''} of the {role}")
        plain = {call.name: call for call in self.port_outputs}
        rows = []
        for call, partner in pairs:
            x, y = call.output, partner.output
            assert x is not None
            assert y is not None
            agrees = agree_within(x, y, self.tolerance)
            row = Judged(call, partner, added=largest_error(x, y), agrees=agrees, output_shape=y.shape)
            ordinary = plain.get(partner.name, partner).output
            row.total = largest_error(x, ordinary if ordinary is not None else y)
            row.total_agrees = ordinary is not None and agree_within(x, ordinary, self.tolerance)
            row.x, row.y = (None, None) if agrees else (x, y)
            rows.append(row)
        return rows

    def _repeated(self) -> dict[str, set[int]]:
        """For each output of the reference, the calls that give it where their counterparts give the port's output."""
        ports = {call.number: call for call in self.port_calls}
        outputs = {call.name: call for call in self.port_outputs}
        found: dict[str, set[int]] = {}
        for call in self.calls:
            partner = ports.get(self.match.get(call.number, -1))
            for output in self.outputs:
                other = outputs.get(output.name)
                if partner is not None and other is not None and _shape_of(output) == _shape_of(other):
                    pairs = ((call, output, self.a), (partner, other, self.b))
                    if all(_gives(made, given, network) for made, given, network in pairs):
                        found.setdefault(output.name, set()).add(call.number)
        return found


def _shape_of(call: LayerCall) -> tuple[int, ...]:
    return () if call.output is None else call.output.shape


def _gives(call: LayerCall, output: LayerCall, network: Network) -> bool:
    """Whether a call gives an output of the network."""
    if call.output is None or output.output is None or call.output_facts is None:
        return False
    if not call.output_facts.same_numbers(output.output_facts):
        return False
    return np.array_equal(channels_first(call.output, network), output.output)


def without_harmless(judged: list[Judged], outputs_agree: bool) -> list[Judged]:
    """Drop pairs without weights whose inputs differ although the next layer with weights receives equal inputs.

    A pooling may come before the activation in one network and after it in the other.
    """
    kept: list[Judged] = []
    next_agrees = outputs_agree
    for pair in sorted(judged, key=lambda pair: pair.reference.number, reverse=True):
        if pair.reference.kind in WITH_WEIGHTS:
            next_agrees = pair.inputs_agree
        elif not pair.inputs_agree and next_agrees:
            continue
        kept.insert(0, pair)
    return kept
