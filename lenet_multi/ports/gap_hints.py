"""Hints about arrays that differ before a layer, or at the end: what functions between two layers may have done.

Each hint applies an operation to one array, and counts only if the two then agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations

import numpy as np

from lenet_multi.ports.agreement import is_informative
from lenet_multi.ports.hint_case import Case
from lenet_multi.ports.layer_math import ACTIVATIONS, compute, leaky_relu

AXES: dict[tuple[int, ...], str] = {
    (0, 2, 3, 1): " (NHWC/NCHW)",
    (0, 3, 1, 2): " (NHWC/NCHW)",
    (0, 1, 3, 2): " (height/width)",
}
Function = Callable[[np.ndarray], np.ndarray]
FUNCTIONS: dict[str, Function] = {
    **ACTIVATIONS,
    **{f"leaky relu with slope {slope:g}": partial(leaky_relu, slope=slope) for slope in (0.01, 0.1, 0.2, 0.3)},
}


def axes_hint(case: Case) -> str | None:
    """The axes of one array are in another order."""
    if case.x.ndim != 4 or case.y.ndim != 4:
        return None
    for axes in permutations((1, 2, 3)):
        order = (0, *axes)
        if (
            order != (0, 1, 2, 3)
            and case.x.shape == case.y.transpose(order).shape
            and case.agree(case.x, case.y.transpose(order))
        ):
            return f"agree after transposing the port's axes{AXES.get(order, '')}: port.transpose{order}"
    return None


def ones_hint(case: Case) -> str | None:
    """One array is (N, C), the other (N, C, 1, 1)."""
    if case.x.shape != case.y.shape and case.agree_even_if_few(case.x, case.y):
        return f"agree without axes of length 1: the reference's shape is {case.x.shape}, the port's {case.y.shape}"
    return None


def activation_hint(case: Case) -> str | None:
    """One network applies an activation, or another one."""
    if case.x.shape != case.y.shape:
        return None
    for name, function in FUNCTIONS.items():
        if case.agree(case.x, function(case.y)):
            return f"agree after {_one_more(name, case.x, case.y, case)} of the port's: the port lacks it there"
        if case.agree(case.y, function(case.x)):
            return f"agree after {_one_more(name, case.y, case.x, case)} of the reference's: only the port has it there"
    for before, source in case.before[:2]:
        if source.shape != case.x.shape:
            continue
        names = [next((n for n, f in FUNCTIONS.items() if case.agree(z, f(source))), None) for z in (case.x, case.y)]
        if names[0] and names[1]:
            shown = _article(names[0], case.x), _article(names[1], case.y)
            return f"show {shown[0]} of {before} in the reference, and {shown[1]} in the port"
    return None


def factor_hint(case: Case) -> str | None:
    """The arrays agree after a multiplication, such as a missing scale of the pixels, and an addition."""
    x, y = (array.astype(np.float64) for array in (case.x, case.y))
    if x.shape != y.shape or not is_informative(x) or not is_informative(y):
        return None
    factor = float((x * y).sum() / (y * y).sum())
    if factor and abs(factor - 1) > 1e-3 and case.agree(x, factor * y):
        return f"agree up to a constant factor: the reference is {factor:.6g} times the port"
    axes = (0, *range(2, x.ndim))
    centered, other = x - x.mean(axes, keepdims=True), y - y.mean(axes, keepdims=True)
    with np.errstate(all="ignore"):
        factors = (centered * other).sum(axes, keepdims=True) / (other * other).sum(axes, keepdims=True)
    if x.ndim == 4 and x[0, 0].size > 8 and np.isfinite(factors).all() and case.agree(centered, factors * other):
        return "agree up to a factor and an offset for each channel: check the normalization and the bias"
    return None


def channels_hint(case: Case) -> str | None:
    """The channels come in another order, as after a concatenation or a shuffle."""
    x, y = case.x, case.y
    if x.shape != y.shape or x.ndim < 2 or x.shape[1] < 2:
        return None
    sums = [np.abs(z.reshape(len(z), z.shape[1], -1)).sum((0, 2), dtype=np.float64) for z in (x, y)]
    order = np.empty(x.shape[1], int)
    order[np.argsort(sums[0])] = np.argsort(sums[1])
    if len(np.unique(sums[0].round(9))) > 1 and case.agree(x, y[:, order]):
        if order.tolist() == [2, 1, 0]:
            return "agree after reversing the port's channels: RGB and BGR are swapped"
        return "agree after reordering the port's channels: parts are concatenated, or shuffled, in another order"
    return None


def residual_hint(case: Case) -> str | None:
    """One network adds the output of an earlier layer."""
    if case.x.shape != case.y.shape:
        return None
    for function in (lambda x: x, ACTIVATIONS["relu"]):
        for name, earlier in case.before:
            if earlier.shape != case.x.shape:
                continue
            for _, last in case.before[:3]:
                if last is earlier or last.shape != earlier.shape:
                    continue
                together, alone = function(last + earlier), function(last)
                if case.agree(case.x, together) and case.agree(case.y, alone):
                    return f"agree with and without {name} added: the port lacks the addition"
                if case.agree(case.y, together) and case.agree(case.x, alone):
                    return f"agree with and without {name} added: only the port has the addition"
    return None


def pooling_hint(case: Case) -> str | None:
    """The arrays are two poolings of the same images."""
    for name, source in case.before[:2]:
        for function in ("", "relu", "sigmoid", "tanh"):
            images = ACTIVATIONS[function](source) if function else source
            found = [_pooling(images, z, case) for z in (case.x, case.y)]
            if found[0] and found[1] and found[0] != found[1]:
                return f"are poolings of {name}: {found[0]} in the reference, {found[1]} in the port"
    return None


def _pooling(images: np.ndarray, pooled: np.ndarray, case: Case) -> str | None:
    """The pooling that gives `pooled`, in words."""
    if images.ndim != 4 or pooled.size >= images.size or pooled.size % (len(images) * images.shape[1]):
        return None
    names = {"average": "average", "max": "maximum"}
    for kind, text in names.items():
        is_global = pooled.size == len(images) * images.shape[1]
        if is_global and case.agree(pooled, compute("pool", {"pooling": kind, "output size": (1, 1)}, {}, images)):
            return f"global {text}"
        for size, stride, padding in ((2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 3, 0), (2, 1, 0), (3, 1, 1)):
            settings = {"pooling": kind, "kernel": (size, size), "stride": (stride, stride)}
            settings["padding"] = ((padding, padding), (padding, padding))
            rows, columns = ((length + 2 * padding - size) // stride + 1 for length in images.shape[2:])
            if pooled.size != len(images) * images.shape[1] * rows * columns:
                continue
            y = compute("pool", settings, {}, images)
            flat = None if y is None else y if y.ndim == pooled.ndim else y.reshape(len(y), -1)
            if flat is not None and flat.shape == pooled.shape and case.agree(pooled, flat):
                return f"{text} over {size} x {size}, stride {stride}, padding {padding}"
    return None


def border_hint(case: Case) -> str | None:
    """Only one of two images has a border."""
    x, y = case.x, case.y
    if x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2] or x.shape == y.shape:
        return None
    if any(surplus % 2 for surplus in np.subtract(x.shape[2:], y.shape[2:])):
        return None
    size = [min(pair) for pair in zip(x.shape[2:], y.shape[2:], strict=True)]
    if case.agree(*(_center_crop(images, size) for images in (x, y))):
        return (
            "agree except for a border that only one of them has: check the padding (the reference's shape is "
            f"{x.shape}, the port's {y.shape})"
        )
    return None


def _center_crop(images: np.ndarray, size: list[int]) -> np.ndarray:
    top, left = ((length - crop) // 2 for length, crop in zip(images.shape[2:], size, strict=True))
    return images[:, :, top : top + size[0], left : left + size[1]]


GAP_HINTS: tuple[Callable[[Case], str | None], ...] = (
    axes_hint,
    ones_hint,
    activation_hint,
    factor_hint,
    channels_hint,
    border_hint,
    pooling_hint,
    residual_hint,
)


def gap_hint(case: Case) -> str | None:
    """The text of the first operation that makes the arrays agree."""
    with np.errstate(all="ignore"):
        return next((text for hint in GAP_HINTS if (text := hint(case))), None)


def _one_more(name: str, result: np.ndarray, given: np.ndarray, case: Case) -> str:
    """The activation in words; `a second` if `given` is already its result."""
    earlier = (source for _, source in case.before[:3] if source.shape == given.shape)
    again = any(case.agree(given, FUNCTIONS[name](source)) for source in earlier)
    return f"a second {name}" if again else _article(name, result)


def _article(name: str, result: np.ndarray) -> str:
    """The activation in words; below 6 a relu and a relu6 are the same."""
    name = "relu or relu6" if name == "relu" and result.max() < 6 else name
    return f"a{'n' if name[0] in 'aeiou' else ''} {name}"
