"""Records the calls of a network's layers while it runs, and can put other arrays in place of inputs and outputs.

The frameworks' adapters (`torch_network.py`, `keras_network.py`, ...) call `CallRecorder.enter` and
`leave` around each layer's call. What happens with the arrays is up to a visitor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lenet_multi.ports.arrays import as_numpy, dtype_name, find_arrays, replace_arrays
from lenet_multi.ports.layer_kinds import CONTAINERS, WITH_WEIGHTS, kind_of
from lenet_multi.ports.layer_settings import Settings

Arrays = Sequence[np.ndarray]


@dataclass
class LayerCall:
    """One call of a layer.

    Attributes:
        number: how many calls are recorded before it; the same in every run of the network.
        name: the framework's name of the layer, with a number from the second call on: `act:2`.
        kind: one of `KINDS`, or the name of the class; `output` for an output of the network.
        layer: the framework's layer; None for an output, and for an activation that is an option of a layer.
        settings: stride, padding and so on.
        dtype: NumPy's name for the type of the output, such as `float32`; None if unknown.
        inputs: the input arrays, as the framework has them; None once they are dropped.
        output: likewise.
        input_facts: for each input its `facts_of`.
        output_facts: the same for the output.
    """

    number: int
    name: str
    kind: str
    layer: Any = None
    settings: Settings = field(default_factory=dict)
    dtype: str | None = None
    inputs: list[np.ndarray] | None = None
    output: np.ndarray | None = None
    input_facts: list[Facts] = field(default_factory=list)
    output_facts: Facts | None = None


# The gradients with respect to the inputs, in the network's layout, and for each layer those with respect to its
# parameters; a norm's `mean` and `variance` are its running statistics after the step.
Step = tuple[list[np.ndarray | None], list[dict[str, np.ndarray]]]


STATISTICS = {"mean": "running mean", "variance": "running variance"}  # of a norm, and their names in reports

# The distance from 1 to the next larger number of each type.
SPACING = {"bfloat16": 2**-7, "float16": 2**-10}


def coarseness(reference: LayerCall, port: LayerCall) -> float:
    """How far a coarse type rounds a layer's output, relative to its largest value; 0 for float32 and float64."""
    return 4 * max(SPACING.get(call.dtype or "", 0.0) for call in (reference, port))


@dataclass(frozen=True)
class Facts:
    """What identifies an array without keeping it: equal arrays of any layout have equal facts.

    Attributes:
        shape: the shape.
        sums: of the bits, added and combined by exclusive or: the order does not matter.
        norm: the root of the sum of squares.
    """

    shape: tuple[int, ...]
    sums: tuple[int, int]
    norm: float = field(compare=False)

    def same_numbers(self, other: Facts | None) -> bool:
        return other is not None and self.sums == other.sums

    def near(self, other: Facts) -> bool:
        """Whether the numbers may be the same but for rounding, in any order."""
        return abs(self.norm - other.norm) <= 1e-4 * self.norm


def facts_of(array: np.ndarray) -> Facts:
    values = array.ravel(order="K")
    words = values.view(np.uint32) if values.itemsize % 4 == 0 else values.view(np.uint8)
    sums = int(words.sum(dtype=np.uint64)), int(np.bitwise_xor.reduce(words))
    return Facts(array.shape, sums, float(np.linalg.norm(values)))


class Visitor(Protocol):
    """Sees every recorded call, and may replace its arrays: a method returns None to leave them as they are."""

    def before(self, call: LayerCall, inputs: Arrays) -> Arrays | None: ...

    def after(self, call: LayerCall, output: np.ndarray) -> np.ndarray | None: ...


class Adapter(Protocol):
    """A network of a framework.

    Attributes:
        channels_last: whether its image layers compute on (N, H, W, C).
    """

    channels_last: bool

    def run(self, inputs: Arrays, recorder: CallRecorder, training: bool = False) -> Any:
        """The network's return value for inputs that are channels first, in inference mode unless `training`."""

    def settings(self, layer: Any, kind: str, size: Sequence[int]) -> Settings: ...

    def parameters(self, layer: Any, kind: str) -> Mapping[str, np.ndarray]:
        """The parameters of a layer by this package's names, in PyTorch's layout: `weight`, `bias`, `gamma`, ..."""

    def training_step(self, inputs: Arrays, factors: np.ndarray, layers: Sequence[LayerCall], seed: int = 0) -> Step:
        """The gradients of the sum of the first output times `factors`, in training mode but without dropout.

        The network's state is restored. `factors` are in the network's own layout. `seed` varies the random numbers
        of a framework that would otherwise draw the same ones in every step.
        """

    def like(self, array: np.ndarray, other: Any) -> Any:
        """The array as the framework's, with the type and on the device of another of its arrays."""


@dataclass
class _Open:
    """A call that has not returned."""

    call: LayerCall | None  # None if it is not recorded
    within: LayerCall | None  # the recorded call that it is a part of
    has_activation: bool = False  # whether its activation is recorded, so that its output is known


class CallRecorder:
    """Numbers and names the calls of a network's layers, in the order in which they begin.

    A layer of the framework is recorded as one layer, whatever it consists of; but the activation at the end of a
    convolution, dense layer or norm is a call of its own. An instance of any other class is recorded if it has no
    layers in it.

    Args:
        adapter: the network.
        package: the module that holds the framework's layers.
        visitor: sees the calls.
    """

    def __init__(self, adapter: Adapter, package: Any, visitor: Visitor) -> None:
        self._adapter, self._package, self._visitor = adapter, package, visitor
        self._stack: list[_Open] = []
        self._names: dict[str, int] = {}
        self._count = 0

    def enter(self, layer: Any, name: str, value: Any, has_sublayers: bool = False, kind: str | None = None) -> Any:
        """Note that a layer is called, and return its inputs, or those that take their place."""
        kind = kind or self.kind_of(layer, has_sublayers)
        outer = self._stack[-1] if self._stack else _Open(None, None)
        within = outer.call or outer.within
        if within is None:
            call = self._call(layer, name, kind, value) if kind else None
            self._stack.append(_Open(call, None))
        elif kind == "activation" and outer.call and outer.call.kind in WITH_WEIGHTS and not outer.has_activation:
            value = self._after(outer.call, value)  # the layer's output is what its activation receives
            outer.has_activation = True
            call = self._call(layer, f"{outer.call.name}.{name.rpartition('.')[2]}", kind, value)
            call.settings = call.settings if layer is not None else {"activation": name}
            self._stack.append(_Open(call, within))
        else:
            call = None
            self._stack.append(_Open(None, within))
        return value if call is None else self._before(call, value)

    def leave(self, value: Any) -> Any:
        """Note that the layer entered last returns, and return its output, or the one that takes its place."""
        closed = self._stack.pop()
        return value if closed.call is None or closed.has_activation else self._after(closed.call, value)

    def kind_of(self, layer: Any, has_sublayers: bool) -> str | None:
        """The kind of a layer, None if the layers in it are recorded instead."""
        classes = type(layer).__mro__
        own = next((c for c in classes if getattr(self._package, c.__name__, None) is c), None)
        if own is not None and own.__name__ not in CONTAINERS:
            return kind_of(own, True)
        return None if has_sublayers or type(layer).__name__ in CONTAINERS else kind_of(type(layer), False)

    def _call(self, layer: Any, name: str, kind: str, value: Any) -> LayerCall:
        self._names[name] = self._names.get(name, 0) + 1
        name = name if self._names[name] == 1 else f"{name}:{self._names[name]}"
        shape = next((tuple(array.shape) for array in find_arrays(value)), ())
        size = shape[1:-1] if self._adapter.channels_last else shape[2:]
        try:
            settings = {} if layer is None else self._adapter.settings(layer, kind, size)
        except (AttributeError, KeyError, TypeError):  # a user's class that only has the name of its kind
            settings = {}
        self._count += 1
        return LayerCall(self._count - 1, name, kind, layer, settings)

    def _before(self, call: LayerCall, value: Any) -> Any:
        arrays = find_arrays(value)
        given = self._visitor.before(call, [as_numpy(array) for array in arrays])
        return value if given is None else replace_arrays(value, self._converted(given, arrays))

    def _after(self, call: LayerCall, value: Any) -> Any:
        arrays = find_arrays(value)
        if not arrays:
            return value
        call.dtype = dtype_name(value)
        given = self._visitor.after(call, as_numpy(arrays[0]))
        return value if given is None else replace_arrays(value, self._converted([given], arrays))

    def _converted(self, given: Arrays, arrays: Sequence[Any]) -> Iterator[Any]:
        """The given arrays as the framework's, then the others."""
        for number, array in enumerate(arrays):
            yield self._adapter.like(given[number], array) if number < len(given) else array


class Collector:
    """A visitor that collects the calls with their arrays."""

    def __init__(self) -> None:
        self.calls: list[LayerCall] = []
        self._kept: dict[Facts, np.ndarray] = {}

    def before(self, call: LayerCall, inputs: Arrays) -> None:
        self.calls.append(call)
        call.input_facts = [facts_of(array) for array in inputs]
        call.inputs = [self._keep(array, facts) for array, facts in zip(inputs, call.input_facts, strict=True)]

    def after(self, call: LayerCall, output: np.ndarray) -> None:
        call.output_facts = facts_of(output)
        call.output = self._keep(output, call.output_facts)

    def _keep(self, array: np.ndarray, facts: Facts) -> np.ndarray:
        """A copy; the network may change its arrays. Equal arrays share one: most inputs are earlier outputs."""
        kept = self._kept.get(facts)
        if kept is None or not np.array_equal(kept, array, equal_nan=True):
            kept = self._kept[facts] = array.copy()
        return kept
