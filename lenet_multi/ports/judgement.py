"""Judges each layer of a port by itself: it receives the reference's inputs, and passes on the reference's outputs.

So a layer shows only the error that it adds, and one wrong layer does not hide another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lenet_multi.ports.agreement import agree_within, correlation, largest_error
from lenet_multi.ports.layer_kinds import WITH_WEIGHTS
from lenet_multi.ports.layer_math import Parameters, compute
from lenet_multi.ports.layouts import flatten_orders, layouts, like
from lenet_multi.ports.recording import LayerCall, coarseness

MAX_PADDING = 16  # rows or columns to search for zeros around an input
NOISE_FACTOR = 8.0  # the frameworks add numbers in different orders: more rounding than one perturbed input shows


Padding = tuple[tuple[int, int], ...]


@dataclass
class Judged:
    """A pair of calls, and what the port's adds.

    Attributes:
        reference: the reference's call.
        port: the port's call.
        inputs_agree: whether the inputs agree, but for zeros around images.
        input_padding: the zeros around the port's input that the reference's lacks, a pair for each of three axes.
        reference_padding: the zeros around the reference's input that the port's lacks.
        inherits: whether the inputs differ because an earlier layer could not pass on the reference's output.
        added: the largest difference of the outputs for the same input; None if the layer could not receive it.
        agrees: whether neither the operations before the layer nor the layer add an error.
        x: the reference's array to explain, an input or output, in the port's layout if it has one of its shape.
        y: the port's array to explain; None if both agree.
        port_input: the array that the port's layer received; None if both agree, but for dense layers.
        total: the largest difference of the outputs in an ordinary run, with all earlier errors.
        total_agrees: whether this is within the tolerance.
        output_shape: of the port's output in an ordinary run.
    """

    reference: LayerCall
    port: LayerCall
    inputs_agree: bool = True
    input_padding: Padding | None = None
    reference_padding: Padding | None = None
    inherits: bool = False
    added: float | None = None
    agrees: bool = True
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    port_input: np.ndarray | None = None
    total: float = 0.0
    total_agrees: bool = True
    output_shape: tuple[int, ...] = ()

    def in_port_order(self, weight: np.ndarray, images: Sequence[tuple[int, ...]], tolerance: float) -> np.ndarray:
        """The reference's dense weight, or its gradient, for inputs that are flattened as the port's are."""
        order = self._flatten_order(images, tolerance)
        return weight if order is None or weight.ndim != 2 or weight.shape[1] != len(order) else weight[:, order]

    def _flatten_order(self, images: Sequence[tuple[int, ...]], tolerance: float) -> np.ndarray | None:
        """The positions of the port's inputs of a dense layer in the reference's; None if they are the same."""
        if not self.reference.inputs or self.port_input is None:
            return None
        ranks = {self.port_input.ndim, self.reference.inputs[0].ndim}
        if self.port.kind != "dense" or not ranks <= {2, 4}:
            return None
        x, y = (array.reshape(len(array), -1) for array in (self.reference.inputs[0], self.port_input))
        if x.shape != y.shape or agree_within(x, y, tolerance):
            return None
        orders = [order for image in images for order in flatten_orders(image) if len(order) == x.shape[1]]
        for order in orders:
            if agree_within(x[:, order], y, tolerance):
                return order
        # The inputs differ, because the port computes in half precision or has a mistake before this layer. They are
        # still alike in one order, and not in the others.
        likeness = correlation(x, y)
        best = max(orders, key=lambda order: correlation(x[:, order], y), default=None)
        return best if best is not None and correlation(x[:, best], y) > (1 + likeness) / 2 else None


@dataclass
class Layout:
    """How arrays of the reference are laid out in the port.

    Args:
        expected: the usual conversion of an array of the reference.
        first: converts an array of the port to channels first.
        images: shapes (C, H, W) of images that may be flattened.
    """

    expected: Callable[[np.ndarray], np.ndarray]
    first: Callable[[np.ndarray], np.ndarray]
    images: Sequence[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, array: np.ndarray, other: np.ndarray) -> np.ndarray | None:
        return like(array, other, self.expected, self.images)


class JudgingVisitor:
    """Gives each layer of the port the reference's input, and passes on the reference's output.

    Args:
        pairs: by the numbers of the port's calls.
        layout: finds the reference's arrays in the port's layout.
        tolerance: see `compare_networks`.
        parameters_of: returns the parameters of a call of the port.
        sources: for each call of the port the calls that its inputs come from, None where a function is between them.
        reshapes: whether it may pass on arrays of another shape than the port's, which the port's functions may refuse.

    Attributes:
        is_interrupted: whether the last layer passed on an output of its own, so that later inputs differ.
    """

    def __init__(
        self,
        pairs: Mapping[int, Judged],
        layout: Layout,
        tolerance: float,
        parameters_of: Callable[[LayerCall], Parameters],
        sources: Mapping[int, Sequence[int | None]],
        reshapes: bool,
    ) -> None:
        self._pairs, self._layout, self._tolerance = pairs, layout, tolerance
        self._parameters_of, self._sources, self._reshapes = parameters_of, sources, reshapes
        self.is_interrupted = False
        self._own: set[int] = set()  # the calls whose outputs are not the reference's

    def before(self, call: LayerCall, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray] | None:
        judged = self._pairs.get(call.number)
        inherits = self._inherits(call)
        if judged is None and inherits:
            self._own.add(call.number)
        if judged is None or not judged.reference.inputs:
            return None
        given, source = inputs[0], judged.reference.inputs[0]
        judged.port_input = given.copy()
        # A separable convolution is two layers elsewhere; the order of several inputs means nothing.
        kinds = {judged.reference.kind, judged.port.kind}
        if len(judged.reference.inputs) != 1 or len(inputs) != 1 or ("separable conv" in kinds and len(kinds) > 1):
            return None
        expected = self._layout(source, given)
        if expected is not None and call.kind == "dense":
            expected = self._flattened(judged, expected, given)
        if expected is not None and agree_within(expected, given, self._tolerance):
            return None
        if expected is not None and agree_within(expected, given, coarseness(judged.reference, judged.port)):
            return [expected]  # it is only rounded: the layers will show that
        usual = self._layout.expected(source)
        judged.input_padding = self._padding_between(usual, given)
        judged.reference_padding = self._padding_between(given, usual)
        # In any other layer the zeros would be numbers like all others.
        takes_zeros = call.kind in ("conv", "separable conv", "pool")
        if takes_zeros and (judged.input_padding or judged.reference_padding):
            return None
        judged.inputs_agree = False
        judged.inherits = judged.agrees = inherits
        judged.x, judged.y = source if expected is None else expected, given.copy()
        # Without weights the layer may be in another order, which does no harm: see `without_harmless`.
        if call.kind not in WITH_WEIGHTS:
            return None
        passed = usual if expected is None and self._may_reshape(usual, given) else expected
        judged.port_input = passed
        return None if passed is None else [passed]

    def after(self, call: LayerCall, output: np.ndarray) -> np.ndarray | None:
        judged = self._pairs.get(call.number)
        if judged is None or judged.reference.output is None:
            return None
        if not judged.inputs_agree and (call.kind not in WITH_WEIGHTS or judged.port_input is None):
            self._pass_on(call, None)  # it could not receive the reference's input
            return None
        expected = self._layout(judged.reference.output, output)
        usual = self._layout.expected(judged.reference.output)
        passed = usual if expected is None and self._may_reshape(usual, output) else expected
        self._pass_on(call, passed)
        judged.added = float("inf") if expected is None else largest_error(expected, output)
        if expected is not None and self._agrees(judged, expected, output):
            if judged.inputs_agree and call.kind != "dense":  # `_flatten_order` needs it
                judged.port_input = None
            return passed
        if judged.inputs_agree:
            judged.x, judged.y = judged.reference.output if expected is None else expected, output.copy()
        judged.agrees = False
        return passed

    def _inherits(self, call: LayerCall) -> bool:
        """Whether an input of a call may come from a layer that passed on an output of its own."""
        sources = self._sources.get(call.number, [None])
        return any(self.is_interrupted if source is None else source in self._own for source in sources)

    def _pass_on(self, call: LayerCall, passed: np.ndarray | None) -> None:
        self.is_interrupted = passed is None
        if passed is None:
            self._own.add(call.number)

    def _may_reshape(self, usual: np.ndarray, given: np.ndarray) -> bool:
        """Whether the reference's images may take the place of others, of another height and width."""
        shapes = [self._layout.first(array[:1]).shape for array in (usual, given)]
        return self._reshapes and usual.ndim == given.ndim == 4 and shapes[0][1] == shapes[1][1]

    def _flattened(self, judged: Judged, usual: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The reference's input of a dense layer in the flatten order that suits the port's weight.

        The numbers tell it, unless the inputs differ: then the port's output does.
        """
        output = judged.reference.output
        if agree_within(usual, given, 1e-2) or output is None or not judged.reference.inputs:
            return usual
        for x in layouts(judged.reference.inputs[0], self._layout.images):
            if x.shape == given.shape:
                y = compute("dense", {}, self._parameters_of(judged.port), x)
                if y is not None and y.size == output.size and agree_within(output, y.reshape(output.shape), 1e-4):
                    return x
        return usual

    def _agrees(self, judged: Judged, expected: np.ndarray, output: np.ndarray) -> bool:
        same_type = judged.reference.dtype == judged.port.dtype  # both may be coarse
        coarse = coarseness(judged.reference, judged.port) if same_type else 0.0
        if agree_within(expected, output, max(self._tolerance, coarse)):
            return True
        return judged.added is not None and judged.added <= NOISE_FACTOR * self._noise(judged.port, judged.port_input)

    def _noise(self, call: LayerCall, x: np.ndarray | None) -> float:
        """The largest change of the output when the input changes in its last place."""
        if x is None or call.kind not in WITH_WEIGHTS:
            return 0.0
        x = self._layout.first(x)
        change = 1 + np.random.default_rng(0).choice((-1.0, 1.0), x.shape) * 2.0**-24
        outputs = [compute(call.kind, call.settings, self._parameters_of(call), each) for each in (x, x * change)]
        first, second = outputs
        return 0.0 if first is None or second is None or not np.isfinite(first).all() else largest_error(first, second)

    def _padding_between(self, x: np.ndarray, y: np.ndarray) -> Padding | None:
        """The zeros around y that x lacks; None if y is not x with zeros around it."""
        extra = [b - a for a, b in zip(x.shape, y.shape, strict=False)]
        if x.ndim != 4 or y.ndim != 4 or extra[0] or not any(extra) or min(extra) < 0 or max(extra) > 2 * MAX_PADDING:
            return None
        # Zeros that belong to the images may come before the first other number too.
        filled = [np.flatnonzero(y.any(tuple(other for other in range(4) if other != axis))) for axis in (1, 2, 3)]
        most = [min(int(rows[0]) if len(rows) else 0, more) for rows, more in zip(filled, extra[1:], strict=True)]
        for back in np.ndindex(*(number + 1 for number in most)):
            begin = [number - less for number, less in zip(most, back, strict=True)]
            inner = y[:, *(slice(at, at + size) for at, size in zip(begin, x.shape[1:], strict=True))]
            if np.count_nonzero(inner) == np.count_nonzero(y) and agree_within(x, inner, self._tolerance):
                return tuple((at, more - at) for at, more in zip(begin, extra[1:], strict=True))
        return None
