"""Finds a hint for a difference: a known mistake in moving a network to another framework.

Hints about outputs, weights and padding are tested on the numbers: each one is given only if undoing the mistake makes
the two layers agree.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from lenet_multi.ports.agreement import is_informative
from lenet_multi.ports.difference import Difference
from lenet_multi.ports.flatten_hint import flatten_hint, flatten_orders
from lenet_multi.ports.output_hints import (
    activation_hint,
    axes_hint,
    factor_hint,
    pool_size_hint,
    softmax_hint,
    squeeze_hint,
)
from lenet_multi.ports.padding_hints import border_hint, shift_hint
from lenet_multi.ports.weight_hints import bias_hint, kernel_hint, norm_hint, transposed_dense_hint

# The distance from 1 to the next larger number of each type.
SPACING = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}
MAX_PADDING = 16  # rows or columns to search for zeros around an input


def find_hint(difference: Difference) -> str | None:
    """Return a sentence on the likely cause of a difference, or None if no known mistake explains it."""
    for role, array in (("reference", difference.x), ("port", difference.y)):
        if not np.isfinite(array).all():
            return f"the {role}'s output contains NaN or infinity"
    hints = (
        _outputs_hint,  # first, because other hints are meaningless if the layers are matched wrongly
        norm_hint,  # before the next, because a wrong epsilon can be as small as rounding errors
        _nearly_hint,
        _swapped_hint,
        activation_hint,
        axes_hint,
        squeeze_hint,
        pool_size_hint,
        softmax_hint,
        flatten_hint,
        transposed_dense_hint,
        kernel_hint,
        border_hint,
        shift_hint,
        factor_hint,
        bias_hint,
        _dtype_hint,  # before the next, because inputs of different types differ too
        _input_hint,
    )
    return next((text for text in (hint(difference) for hint in hints) if text), None)


def _outputs_hint(difference: Difference) -> str | None:
    """The layers differ, but the outputs of the networks agree."""
    if not difference.outputs_agree or difference.nearly_agrees:
        return None
    mapping = "another mapping" if difference.has_mapping else "a mapping"
    return f"the networks' outputs agree, so the layers may be matched wrongly: give {mapping}"


def _nearly_hint(difference: Difference) -> str | None:
    """The difference is close to the tolerance."""
    # No other hint applies: arrays that differ by so little agree with many others by chance.
    if not difference.nearly_agrees:
        return None
    return "the difference is less than ten times the tolerance: rounding errors can be this large in a deep network"


def _swapped_hint(difference: Difference) -> str | None:
    """Another layer of the port agrees with the reference's layer."""
    for name, x, y in difference.other_layers:
        if is_informative(x) and difference.agree(x, y):
            return (
                f"the output agrees with the port's {name}: the layers are matched wrongly (give a mapping), or the "
                "weights of two layers are swapped"
            )
    return None


def _dtype_hint(difference: Difference) -> str | None:
    """The types differ, and one of them is too coarse for the tolerance."""
    a, b = difference.reference.dtype, difference.port.dtype
    spacing = max(SPACING.get(dtype or "", 0.0) for dtype in (a, b))
    one = np.ones(1)
    if a is None or b is None or a == b or difference.agree(one, one + spacing):
        return None
    return f"the networks compute in different types, {a} (reference) and {b} (port): compare them in the same type"


def _input_hint(difference: Difference) -> str | None:
    """The fault lies before the layer, in a function that the trace does not show."""
    a, b = difference.reference, difference.port
    operations = "(activation, pooling or flatten in a function)"
    if a.kind == "output":
        last = difference.last_agreeing
        return None if last is None else f"the operations after {last} differ {operations}"
    if a.input is None or b.input is None or _has_same_input(difference):
        return None
    first = difference.last_agreeing or "X"
    return f"the inputs of {a.name} already differ: the operations between {first} and {a.name} differ {operations}"


def _has_same_input(difference: Difference) -> bool:
    """Whether both layers received the same input, except for the flatten order and zeros around images."""
    x, y = difference.reference.input, difference.port.input
    if x is None or y is None:
        return False
    if x.size == y.size:
        x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        orders = [order for shape in difference.image_shapes for order, _ in flatten_orders(shape)]
        return difference.agree(x, y) or any(difference.agree(x, y[:, order]) for order in orders)
    if x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2]:
        return False
    small, large = sorted((x, y), key=np.size)
    height, width = small.shape[2:]
    offsets = [
        range(min(MAX_PADDING, padded - size) + 1)
        for padded, size in zip(large.shape[2:], (height, width), strict=True)
    ]
    return any(
        difference.agree(small, large[:, :, top : top + height, left : left + width]) for top, left in product(*offsets)
    )
