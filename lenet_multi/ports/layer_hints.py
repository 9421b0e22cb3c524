"""Hints about a layer whose inputs agree: each repairs the port's layer, and counts only if its output then agrees.

A hint is a function of a `Case` that yields texts with their repairs. `LAYER_HINTS` lists them in the order in which
they are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lenet_multi.ports.hint_case import Case
from lenet_multi.ports.layouts import flatten_orders

Repair = tuple[str, dict[str, Any]]  # the text, and the arguments of `Case.is_repaired`
LABELS = {"mean": "running mean", "variance": "running variance"}


def setting_hint(case: Case) -> Iterator[Repair]:
    """One setting differs, or several do."""
    differing = case.differing
    # The kind of a norm comes last: with it, all other settings change too.
    for name, (reference, port) in sorted(differing.items(), key=lambda item: item[0] == "norm"):
        changes = case.reference_settings if name in ("norm", "activation") else {name: reference}
        yield f"the outputs agree with the reference's {name}, {reference}: the port's is {port}", {"settings": changes}
    if len(differing) > 1:
        yield (
            f"the outputs agree with the reference's {' and '.join(differing)}",
            {"settings": {name: reference for name, (reference, _) in differing.items()}},
        )


def flatten_hint(case: Case) -> Iterator[Repair]:
    """A dense layer follows a flatten of the other image format, and its weight was not permuted."""
    weight = case.port_parameters.get("weight")
    if case.port.kind != "dense" or weight is None:
        return
    for image in case.images:
        if np.prod(image) != weight.shape[1]:
            continue
        for order, text in zip(
            flatten_orders(image), ("(C, H, W) to (H, W, C)", "(H, W, C) to (C, H, W)"), strict=True
        ):
            yield (
                f"the outputs agree after the flatten permutation: reorder the {len(order)} inputs of the port's dense "
                f"weight from {text}, with (C, H, W) = {image}",
                {"parameters": {"weight": weight[:, order]}},
            )


def kernel_hint(case: Case) -> Iterator[Repair]:
    """The weight has its numbers in another order."""
    weight = case.port_parameters.get("weight")
    if weight is None:
        return
    changes = [("transposing the port's weight: its inputs and outputs are swapped", weight.swapaxes(0, 1))]
    if weight.ndim == 2:
        changes.append(("reshaping", weight.reshape(weight.shape[::-1]).T))
    if weight.ndim == 4:
        out, inner, height, width = weight.shape
        flip = "flipping the port's kernels: one network convolves, the other correlates"
        changes += [
            (flip, weight[:, :, ::-1, ::-1]),
            ("transposing the port's kernels: height and width are swapped", weight.swapaxes(2, 3)),
            ("rotating the port's kernels by 90 degrees", np.rot90(weight, 1, (2, 3))),
            ("rotating the port's kernels by 90 degrees", np.rot90(weight, -1, (2, 3))),
            (f"reversing the port's input channels{': RGB and BGR are swapped' * (inner == 3)}", weight[:, ::-1]),
            ("reshaping", weight.transpose(2, 3, 1, 0).reshape(weight.shape)),
            ("reshaping", weight.reshape(height, width, inner, out).transpose(3, 2, 0, 1)),
        ]
    rows = {kernel.tobytes(): number for number, kernel in enumerate(weight)}
    wanted = [kernel.tobytes() for kernel in case.reference_parameters.get("weight", ())]
    if wanted and rows.keys() >= set(wanted):
        order = [rows[kernel] for kernel in wanted]
        changes.append(
            ("reordering the port's weight: its groups, or output channels, are in a different order", weight[order])
        )
    reshaped = "undoing a reshape of the port's weight: its axes were to be transposed, not reshaped"
    for text, changed in changes:
        if changed.shape == weight.shape and not np.array_equal(changed, weight):
            yield (
                f"the outputs agree after {reshaped if text == 'reshaping' else text}",
                {"parameters": {"weight": changed}},
            )


def norm_hint(case: Case) -> Iterator[Repair]:
    """A norm has its parameters swapped."""
    if case.port.kind != "norm":
        return
    given = case.port_parameters
    for first, second in (("mean", "variance"), ("gamma", "beta")):
        if first in given and second in given:
            labels = f"{LABELS.get(first, first)} and {LABELS.get(second, second)}"
            yield (
                f"the outputs agree after swapping the port's {labels}",
                {"parameters": {first: given[second], second: given[first]}},
            )


def parameter_hint(case: Case) -> Iterator[Repair]:
    """One parameter has other numbers, or all have."""
    shapes = {name: value.shape for name, value in case.port_parameters.items()}
    expected = {
        name: value for name, value in case.reference_parameters.items() if shapes.get(name, value.shape) == value.shape
    }
    if case.port.kind in ("conv", "transposed conv", "dense") and "bias" not in expected and "bias" in shapes:
        expected["bias"] = np.zeros(shapes["bias"], np.float32)
    differing = [
        name
        for name, value in expected.items()
        if name not in shapes or not np.allclose(value, case.port_parameters[name], rtol=1e-6, atol=0)
    ]
    for name in differing:
        label = LABELS.get(name, name)
        if name not in shapes:
            text = f"the port has no {label}"
        elif name not in case.reference_parameters:
            text = f"the reference has no {label}"
        else:
            text = _other_values(case, [name])
        yield f"the outputs agree with the reference's {label}: {text}", {"parameters": {name: expected[name]}}
    if len(differing) > 1:
        labels = ", ".join(LABELS.get(name, name) for name in differing)
        yield (
            f"the outputs agree with the reference's {labels}: {_other_values(case, differing)}",
            {"parameters": {name: expected[name] for name in differing}},
        )


def _other_values(case: Case, names: Sequence[str]) -> str:
    """What is known of the port's values of some parameters: its weight may be that of another layer."""
    if "weight" not in names:
        return "the port's values differ"
    weight = case.port_parameters.get("weight")
    for name, other in case.other_weights():
        if weight is not None and other.shape == weight.shape and np.allclose(other, weight, rtol=1e-6, atol=0):
            return f"the port's are those of the reference's {name}"
    given = case.reference_parameters.get("weight")
    if weight is not None and given is not None:
        for dtype, lost in (("float16", 13), ("bfloat16", 16)):  # bits of a float32 that the type lacks
            is_coarse = not (weight.astype(np.float32).view(np.uint32) & (2**lost - 1)).any()
            if is_coarse and np.allclose(given, weight, rtol=2.0 ** (lost - 23), atol=1e-7):
                return f"the port's weights are rounded to {dtype}"
        if given.size == weight.size and np.array_equal(np.sort(given, axis=None), np.sort(weight, axis=None)):
            return "the port's weights are the same numbers in another order, as after a reshape"
    return "the port's weights differ, and may not have been loaded"


LAYER_HINTS: tuple[Callable[[Case], Iterator[Repair]], ...] = (
    setting_hint,
    flatten_hint,
    kernel_hint,
    norm_hint,
    parameter_hint,
)


def layer_hint(case: Case) -> str | None:
    """The text of the first repair that makes the outputs agree."""
    if not case.is_known():
        if case.port.kind == "norm" and case.settings.get("norm") == "batch":
            case.settings = case.settings | {"training": True}
            if case.is_known():
                return "the port's norm uses the statistics of the batch: is it in training mode?"
        return None
    repairs = [repair for hint in LAYER_HINTS for repair in hint(case)]
    for text, changes in repairs:
        if case.is_repaired(**changes):
            return text
    settings = {name: reference for name, (reference, _) in case.differing.items()}
    for text, changes in repairs if settings else ():
        if "settings" not in changes and case.is_repaired(settings, **changes):
            return f"with the reference's {' and '.join(settings)}, {text}"
    return None
