"""Turns judged pairs into a report, with a hint for each that differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lenet_multi.ports.agreement import agree_within
from lenet_multi.ports.gap_hints import gap_hint
from lenet_multi.ports.hint_case import Case
from lenet_multi.ports.judgement import Judged, Padding
from lenet_multi.ports.layer_hints import layer_hint
from lenet_multi.ports.layer_kinds import KINDS, WITH_WEIGHTS
from lenet_multi.ports.layer_settings import Settings
from lenet_multi.ports.networks import Network, channels_first
from lenet_multi.ports.paired_networks import PairedNetworks
from lenet_multi.ports.report import LayerReport, Report

EXPLAINED = 10  # layers that get a hint; a hint takes some time
LARGE = 100_000  # numbers
EARLIER = 12  # outputs before a layer that a function may have used


def report_of(comparison: PairedNetworks) -> Report:
    """The report of a comparison that has been judged."""
    rows: list[LayerReport] = []
    explained = 0
    for judged in comparison.judged:
        hint, settings, output = None, "", judged.reference.output
        if not judged.agrees and explained < EXPLAINED:
            explained += 1
            case = case_of(comparison, judged)
            hint = hint_of(case, comparison.before(judged))
            settings = settings_text(case, hint)
        rows.append(
            LayerReport(
                judged.reference.name,
                judged.port.name,
                _shape(() if output is None else output.shape, comparison.a, judged),
                _shape(judged.output_shape, comparison.b, judged),
                judged.total,
                judged.added,
                judged.agrees,
                settings,
                hint,
                inherits=judged.inherits or not judged.total_agrees,
            )
        )
    constant = all((array == array.flat[0]).all() for array in comparison.inputs)
    note = "all values of X are equal, so agreement proves little: pass random values" if constant else None
    return Report(tuple(rows), comparison.unmatched, comparison.mapping, comparison.not_compared, note)


def _shape(shape: tuple[int, ...], network: Network, judged: Judged) -> tuple[int, ...]:
    """The shape of an output, channels first."""
    if judged.reference.kind == "output" or not network.channels_last or len(shape) < 4:
        return shape
    return (shape[0], shape[-1], *shape[1:-1])


def case_of(comparison: PairedNetworks, judged: Judged) -> Case:
    """What the hints need to know of a pair that differs."""
    a, b, call, partner = comparison.a, comparison.b, judged.reference, judged.port
    assert judged.x is not None
    assert judged.y is not None
    if call.kind == "output":
        x, y = judged.x, judged.y
    else:
        # The reference's array is in the port's layout if the shapes are equal.
        x = channels_first(judged.x, b if judged.x.shape == judged.y.shape else a)
        y = channels_first(judged.y, b)
    case = Case(call, partner, x, y, not judged.inputs_agree or call.kind == "output", comparison.tolerance)
    if case.at_input and x.size > LARGE:  # one example tells as much
        case.x, case.y = x[:1], y[:1]
    case.images = comparison.images
    numbers = [c.number for c in comparison.calls]
    at = numbers.index(call.number) if call.number in numbers else len(numbers)
    case.before = [(name, array[: len(case.x)]) for name, array in _earlier(comparison, at)]
    case.settings, case.reference_settings = dict(partner.settings), dict(call.settings)
    if case.at_input or judged.port_input is None:
        return case
    case.layer_input = channels_first(judged.port_input, b)
    axes = slice(0, 2) if b.channels_last else slice(1, 3)  # of a padding's three, the spatial ones
    if judged.input_padding is not None:
        extra = judged.input_padding[axes]
        case.settings = _padded(case.settings, extra)
        sizes = zip(extra, case.layer_input.shape[2:], strict=True)
        case.layer_input = case.layer_input[:, :, *(slice(before, size - after) for (before, after), size in sizes)]
    if judged.reference_padding is not None:
        case.reference_settings = _padded(case.reference_settings, judged.reference_padding[axes])
    if call.kind in WITH_WEIGHTS and partner.kind in WITH_WEIGHTS:
        case.reference_parameters = dict(a.parameters(call.layer, call.kind))  # type: ignore[union-attr]
        case.port_parameters = dict(b.parameters(partner.layer, partner.kind))  # type: ignore[union-attr]
        for name, value in case.reference_parameters.items():
            # A dense layer may be a convolution of one pixel in the other network.
            if (
                name in case.port_parameters
                and value.size == case.port_parameters[name].size
                and call.kind != partner.kind
            ):
                case.reference_parameters[name] = value.reshape(case.port_parameters[name].shape)
        if "weight" in case.reference_parameters:
            weight = judged.in_port_order(case.reference_parameters["weight"], case.images, case.tolerance)
            case.reference_parameters["weight"] = weight
        case.other_weights = lambda: _other_weights(comparison, call.number, case.port_parameters.get("weight"))
    return case


def _padded(settings: Settings, extra: Padding) -> Settings:
    """The settings, with the zeros of the layer before added to the padding if they have one."""
    if "padding" not in settings:
        return settings
    pairs = zip(settings["padding"], extra, strict=True)
    return settings | {"padding": tuple((p + before, q + after) for (p, q), (before, after) in pairs)}


def _earlier(comparison: PairedNetworks, at: int) -> list[tuple[str, np.ndarray]]:
    """The reference's outputs before a call, channels first, the latest first."""
    calls = comparison.calls[:at][::-1]
    found = [(c.name, channels_first(c.output, comparison.a)) for c in calls[:EARLIER] if c.output is not None]
    return [*found, *(("X", array) for array in comparison.inputs if array.dtype == np.float32)]


def _other_weights(
    comparison: PairedNetworks, number: int, weight: np.ndarray | None
) -> Sequence[tuple[str, np.ndarray]]:
    """The weights of the reference's other layers, one after the other."""
    found = []
    for call in comparison.calls:
        if weight is not None and call.number != number and call.kind in WITH_WEIGHTS:
            other = comparison.a.parameters(call.layer, call.kind).get("weight")  # type: ignore[union-attr]
            if other is not None and other.shape == weight.shape:
                found.append((call.name, other))
    return found


def settings_text(case: Case, hint: str | None) -> str:
    """`stride: (2, 2) | (1, 1)` for each setting that differs, reference first, and that the hint does not name."""
    return "; ".join(f"{name}: {a} | {b}" for name, (a, b) in case.differing.items() if name not in (hint or ""))


def hint_of(case: Case, before: str) -> str | None:
    """A sentence on the likely cause of a difference, or None if no known mistake explains it.

    Args:
        case: the difference.
        before: the name of the last layer before.
    """
    for role, array in (("reference", case.x), ("port", case.y)):
        if not np.isfinite(array).all():
            return f"the {role}'s output contains NaN or infinity"
    if text := _dtype_hint(case) or (None if case.at_input else layer_hint(case)) or _nearly_hint(case):
        return text
    what = f"inputs of {case.reference.name}" if case.at_input and case.reference.kind != "output" else "outputs"
    # A layer that no framework has is like a function.
    if (case.at_input or case.port.kind not in KINDS) and (text := gap_hint(case)):
        return f"the {what} {text}"
    if not case.at_input:
        return None
    if case.reference.kind == "output":
        return f"the operations after {before} differ" if before != "X" else None
    return (
        f"the {what} already differ: the operations between {before} and {case.reference.name} differ (activation, "
        "pooling or flatten in a function)"
    )


def _nearly_hint(case: Case) -> str | None:
    """The difference is close to the tolerance, and nothing else is known to differ."""
    known = case.at_input or (case.is_known() and not case.differing)
    if known and case.x.shape == case.y.shape and agree_within(case.x, case.y, 10 * case.tolerance):
        return "the difference is less than ten times the tolerance: rounding errors can be this large"
    return None


def _dtype_hint(case: Case) -> str | None:
    """The types differ, and one of them is too coarse for the tolerance."""
    a, b = case.reference.dtype, case.port.dtype
    if a is None or b is None or a == b or not case.coarseness or case.x.shape != case.y.shape:
        return None
    if not agree_within(case.x, case.y, case.coarseness):
        return None
    return f"the networks compute in different types, {a} (reference) and {b} (port): compare both in float32"
