"""What the difference of two layers looks like: the known mistakes of moving a network to another framework.

Each hint is tried on the numbers: it is given only where undoing the mistake makes the two agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import isqrt, prod

import numpy as np

from lenet_multi.port_traces import CONVS, Traced

Agree = Callable[[np.ndarray, np.ndarray], bool]

# How far apart the numbers at 1 lie, in each type.
SPACING = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}


@dataclass(frozen=True)
class Difference:
    """Two layers that differ, after others that agree.

    Attributes:
        reference: the layer that is taken to be right.
        port: the one held against it.
        x: what was compared of the reference.
        y: what was compared of the port.
        last: the reference's name for the layers compared before, or None where these are the first.
        images: the shapes (C, H, W) of what the port's dense layer may flatten, the likeliest first.
        others: the port's other layers of the reference's kind: name, and what would be compared of the two.
        agree: whether two arrays agree.
        nearly: whether `x` and `y` agree within ten times the tolerance.
        outputs_agree: whether what the networks give in the end agrees.
        mapped: whether the layers were matched by a mapping.
    """

    reference: Traced
    port: Traced
    x: np.ndarray
    y: np.ndarray
    last: str | None
    images: Sequence[tuple[int, ...]]
    others: Sequence[tuple[str, np.ndarray, np.ndarray]]
    agree: Agree
    nearly: bool
    outputs_agree: bool
    mapped: bool


def find_hint(difference: Difference) -> str | None:
    """What a difference looks like, or None where it has no known shape."""
    for array, whose in ((difference.x, "reference"), (difference.y, "port")):
        if not np.isfinite(array).all():
            return f"the {whose} gives numbers that are not finite"
    hints = (
        _outputs_hint,  # what layers look like that are not each other's counterparts means nothing
        _norm_hint,  # the one mistake that may be as small as rounding errors are
        _nearly_hint,
        _place_hint,
        _activation_hint,
        _axes_hint,
        _squeeze_hint,
        _rounding_hint,
        _softmax_hint,
        _flatten_hint,
        _transposed_dense_hint,
        _kernel_hint,
        _border_hint,
        _shift_hint,
        _factor_hint,
        _bias_hint,
        _dtype_hint,  # in other types the inputs differ too
        _input_hint,
    )
    return next((told for told in (hint(difference) for hint in hints) if told), None)


def image_shapes(trace: Sequence[Traced], layer: Traced, inputs: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The shapes (C, H, W) of what a layer may be given flattened, told from what it and the layers before it have."""
    if layer.input is None:
        return []
    size = prod(layer.input.shape[1:])
    before = trace[: [other.name for other in trace].index(layer.name)]
    arrays = (layer.input, *(other.output for other in reversed(before)), *inputs)
    seen = [array.shape[1:] for array in arrays if array.ndim == 4]
    shapes = [shape for shape in seen if prod(shape) == size]
    if not shapes and seen and size % seen[0][0] == 0:
        # A function made the last images smaller; they kept their channels, and most are square.
        channels, side = seen[0][0], isqrt(size // seen[0][0])
        shapes = [(channels, side, side)] if channels * side * side == size else []
    return shapes


def flatten_orders(images: tuple[int, ...]) -> Iterator[tuple[np.ndarray, str]]:
    """The orders in which to take an image's flattened numbers that turn one framework's flatten into another's."""
    channels, height, width = images
    numbers = np.arange(channels * height * width)
    yield numbers.reshape(channels, height, width).transpose(1, 2, 0).ravel(), "(C, H, W) to (H, W, C)"
    yield numbers.reshape(height, width, channels).transpose(2, 0, 1).ravel(), "(H, W, C) to (C, H, W)"


def _outputs_hint(found: Difference) -> str | None:
    if not found.outputs_agree or found.nearly:
        return None
    told = "the outputs agree all the same, so the layers may be matched wrongly"
    return f"{told}: give {'another' if found.mapped else 'a'} mapping"


def _nearly_hint(found: Difference) -> str | None:
    # Part of what differs by so little agrees by chance, and what that looks like means nothing.
    told = "differs by less than ten tolerances: in a deep network rounding errors may do that"
    return told if found.nearly else None


def _place_hint(found: Difference) -> str | None:
    for name, x, y in found.others:
        if _is_telling(x) and found.agree(x, y):
            told = "the layers are matched wrongly (give a mapping), or weights are in each other's place"
            return f"agrees with the port's {name}: {told}"
    return None


def _activation_hint(found: Difference) -> str | None:
    a, b = found.reference, found.port
    if a.weighted and b.weighted and a.activated and b.activated and found.agree(a.sums, b.sums):
        return "the weighted sums agree: the activation differs"
    return None


def _axes_hint(found: Difference) -> str | None:
    if found.x.ndim != 4 or found.y.ndim != 4:
        return None
    names: dict[tuple[int, ...], str] = {
        (0, 2, 3, 1): "NHWC/NCHW",
        (0, 3, 1, 2): "NHWC/NCHW",
        (0, 1, 3, 2): "height/width",
    }
    for axes in permutations((1, 2, 3)):
        order = (0, *axes)
        if order != (0, 1, 2, 3) and found.agree(found.x, found.y.transpose(order)):
            return f"the outputs agree after a transpose ({names.get(order, 'axes')}): port.transpose{order}"
    return None


def _squeeze_hint(found: Difference) -> str | None:
    x, y = found.x, found.y
    if x.shape != y.shape and found.agree(without_ones(x), without_ones(y)):
        return f"the outputs agree once the trailing axes of length 1 are taken away: {x.shape} and {y.shape}"
    return None


def without_ones(array: np.ndarray) -> np.ndarray:
    """What a global pooling gives as (N, C, 1, 1), as (N, C)."""
    return array[:, :, 0, 0] if array.ndim == 4 and array.shape[2:] == (1, 1) else array


def _rounding_hint(found: Difference) -> str | None:
    x, y = found.x, found.y
    if found.reference.kind != "pool" or x.ndim != 4 or y.ndim != 4 or x.shape == y.shape:
        return None
    if np.abs(np.subtract(x.shape, y.shape)).max() > 1:
        return None
    overlap = tuple(slice(min(sizes)) for sizes in zip(x.shape, y.shape, strict=True))
    if _is_telling(x[overlap]) and found.agree(x[overlap], y[overlap]):
        return f"the pooling's size is rounded up in one, down in the other (ceil_mode): {x.shape} and {y.shape}"
    return None


def _softmax_hint(found: Difference) -> str | None:
    x, y = found.x, found.y
    if found.reference.kind != "output" or x.shape != y.shape or x.ndim < 2 or x.shape[1] < 2:
        return None
    for one, other, whose in ((x, _softmax(y), "reference"), (_softmax(x), y, "port")):
        if found.agree(one, other):
            return f"one ends in a softmax, the {whose}, and the other does not"
    return None


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _flatten_hint(found: Difference) -> str | None:
    a, b = found.reference, found.port
    if a.kind != "dense" or b.kind != "dense" or "weight" not in b.parameters:
        return None
    weight = b.parameters["weight"]
    for images in found.images:
        for order, told in flatten_orders(images):
            if weight.shape[1] == len(order) and found.agree(a.sums, _weighted_sum(b, weight[:, order])):
                return (
                    f"agrees after the flatten permutation: reorder the {len(order)} inputs of the port's dense weight "
                    f"from {told}, with C, H, W = {', '.join(map(str, images))}"
                )
    return None


def _transposed_dense_hint(found: Difference) -> str | None:
    a, b = found.reference, found.port
    if a.kind != "dense" or b.kind != "dense" or "weight" not in b.parameters:
        return None
    weight = b.parameters["weight"]
    if weight.shape[0] == weight.shape[1] and found.agree(a.sums, _weighted_sum(b, weight.T)):
        return "agrees after transposing the port's dense weight: inputs and outputs are swapped"
    return None


def _weighted_sum(layer: Traced, weight: np.ndarray) -> np.ndarray:
    """What a dense layer would give with another weight; Gluon's flattens its input itself."""
    assert layer.input is not None
    last = layer.input.shape[-1] == weight.shape[1]
    inputs = layer.input if last else layer.input.reshape(len(layer.input), -1)
    return inputs @ weight.T + layer.parameters.get("bias", 0)


def _kernel_hint(found: Difference) -> str | None:
    a, b = found.reference, found.port
    if a.kind not in CONVS or b.kind not in CONVS or not {"weight"} <= a.parameters.keys() & b.parameters.keys():
        return None
    wanted, weight = a.parameters["weight"], b.parameters["weight"]
    if found.agree(wanted, weight):
        return None
    space = tuple(range(2, weight.ndim))
    changes = [(np.flip(weight, space), "a kernel flip: one convolves, the other correlates")]
    if weight.ndim == 4:
        told = "transposing the port's kernels: height and width are swapped"
        changes.append((weight.transpose(0, 1, 3, 2), told))
    changes.append((weight.swapaxes(0, 1), "transposing the port's kernels: inputs and outputs are swapped"))
    channels = 0 if b.input is None else b.input.shape[1]
    if channels and weight.shape[1] == 1 and len(weight) % channels == 0:  # depthwise
        told = "reordering the port's depthwise kernels: all those of one input channel come before the next channel's"
        for groups in (channels, len(weight) // channels):
            grouped = weight.reshape(groups, -1, *weight.shape[1:])
            changes.append((grouped.swapaxes(0, 1).reshape(weight.shape), told))
    return next((f"the weights agree after {told}" for other, told in changes if found.agree(wanted, other)), None)


def _norm_hint(found: Difference) -> str | None:
    a, b = found.reference, found.port
    if a.kind != "norm" or b.kind != "norm":
        return None
    usual = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
    differing = []
    for name in [name for name in usual if name in a.parameters or name in b.parameters]:
        wanted, given = (np.atleast_1d(layer.parameters.get(name, usual[name])) for layer in (a, b))
        if not found.agree(*np.broadcast_arrays(wanted, given)):
            differing.append({"mean": "running mean", "variance": "running variance"}.get(name, name))
    if differing:
        return f"not the same in both: {', '.join(differing)}"
    if a.epsilon is None or b.epsilon is None or a.epsilon == b.epsilon or b.input is None:
        return None
    channels = (1, -1, *[1] * (b.output.ndim - 2))
    if "variance" in b.parameters:
        variance, shape = b.parameters["variance"].reshape(channels), channels
    else:
        variance, shape = b.input.var(axis=-1, keepdims=True), (-1,)
    beta = np.reshape(b.parameters.get("beta", 0.0), shape if "beta" in b.parameters else ())
    mended = beta + (b.sums - beta) * np.sqrt((variance + b.epsilon) / (variance + a.epsilon))
    if found.agree(a.sums, mended):
        return f"agrees with the reference's epsilon, {a.epsilon:g} (port: {b.epsilon:g})"
    return None


def _border_hint(found: Difference) -> str | None:
    """Agreement in the middle of the images alone, of one size or of two that differ by a border."""
    x, y = found.x, found.y
    if x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2] or _has_other_weights(found):
        return None
    height, width = (min(pair) for pair in zip(x.shape[2:], y.shape[2:], strict=True))
    if x.shape != y.shape:
        if any(difference % 2 for difference in np.subtract(x.shape[2:], y.shape[2:])):
            return None
        if _agree_in_the_middle(found, height, width):
            return f"the outputs agree but for a border that one of them has not: padding ({x.shape} and {y.shape})"
    for border in range(1, (min(height, width) + 1) // 2):
        if _agree_in_the_middle(found, height - 2 * border, width - 2 * border):
            return f"differs at the border only, {border} deep: padding"
    return None


def _has_other_weights(found: Difference) -> bool:
    """Whether both are convolutions, with weights of one shape that differ: then no padding mends them."""
    layers = (found.reference, found.port)
    a, b = (layer.parameters.get("weight") if layer.kind in CONVS else None for layer in layers)
    return a is not None and b is not None and a.shape == b.shape and not found.agree(a, b)


def _agree_in_the_middle(found: Difference, height: int, width: int) -> bool:
    x, y = (_middle(images, height, width) for images in (found.x, found.y))
    return _is_telling(x) and found.agree(x, y)


def _middle(images: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], (height, width), strict=True))
    return images[:, :, top : top + height, left : left + width]


def _is_telling(array: np.ndarray) -> bool:
    """Whether there is enough in an array for agreement to be no accident."""
    return array.size > 8 and bool((array != array.flat[0]).any())


def _shift_hint(found: Difference) -> str | None:
    """Convolutions that begin at another row or column: what "same" padding means with a stride."""
    a, b = found.reference, found.port
    if a.kind != "conv" or b.kind != "conv" or a.input is None or b.input is None:
        return None
    if not found.agree(a.input, b.input):
        return None
    begins, port_begins = _padding(a, found.agree), _padding(b, found.agree)
    if begins is None or port_begins is None or begins == port_begins:
        return None
    of_port = f"the port {port_begins[0]} and {port_begins[1]}"
    told = f"the reference pads {begins[0]} above and {begins[1]} to the left, {of_port}"
    if found.x.shape != found.y.shape:
        return told
    return f"{told}: with a stride, Keras's 'same' padding adds less there than below and to the right"


def _padding(layer: Traced, agree: Agree) -> tuple[int, int] | None:
    """How far above and to the left of its input a convolution begins, told from its first image and channel."""
    weight = layer.parameters.get("weight")
    if layer.input is None or layer.sums.ndim != 4 or weight is None or weight.shape[1] != layer.input.shape[1]:
        return None
    output = layer.sums[0, 0] - layer.parameters.get("bias", np.zeros(1))[0]
    _, _, height, width = weight.shape
    padded = np.pad(layer.input[0], ((0, 0), (height - 1, height - 1), (width - 1, width - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[1:])[0]
    everywhere = np.einsum("hwcij,cij->hw", windows, weight[0])
    for stride, top, left in product(range(1, 5), range(height), range(width)):
        sums = everywhere[height - 1 - top :: stride, width - 1 - left :: stride]
        sums = sums[: output.shape[0], : output.shape[1]]
        if _is_telling(output) and agree(output, sums):
            return top, left
    return None


def _factor_hint(found: Difference) -> str | None:
    x, y = found.x, found.y
    if x.shape != y.shape or not _is_telling(x) or not (y * y).sum() > 0:
        return None
    factor = float((x * y).sum() / (y * y).sum())
    if factor != 0 and found.agree(x, factor * y):
        return f"differs by a constant factor: the reference is {factor:.6g} times the port"
    return None


def _bias_hint(found: Difference) -> str | None:
    a, b = found.reference.parameters, found.port.parameters
    if "weight" not in a or "weight" not in b or not found.agree(a["weight"], b["weight"]):
        return None
    if ("bias" in a) != ("bias" in b):
        return f"the weights agree, but the {'port' if 'bias' in a else 'reference'} has no bias"
    if "bias" in a and not found.agree(a["bias"], b["bias"]):
        return "the weights agree, the biases differ"
    return None


def _dtype_hint(found: Difference) -> str | None:
    """Other types, one of them too coarse for the tolerance."""
    a, b = found.reference.dtype, found.port.dtype
    spacing = max(SPACING.get(dtype or "", 0.0) for dtype in (a, b))
    one = np.ones(1)
    if a is None or b is None or a == b or found.agree(one, one + spacing):
        return None
    return f"the networks compute in different types, the reference in {a}, the port in {b}: compare them in one type"


def _input_hint(found: Difference) -> str | None:
    a, b = found.reference, found.port
    between = "(activation, pooling, flatten in a function) differs"
    if a.kind == "output":
        return None if found.last is None else f"what follows {found.last} {between}"
    if a.input is None or b.input is None or _has_same_input(found):
        return None
    return f"the inputs differ already: what lies between {found.last or 'X'} and {a.name} {between}"


def _has_same_input(found: Difference) -> bool:
    """Whether both layers were given the same, but for the order of a flatten and for zeros around images."""
    x, y = found.reference.input, found.port.input
    if x is None or y is None:
        return False
    if x.size == y.size:
        x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        orders = [order for images in found.images for order, _ in flatten_orders(images)]
        return found.agree(x, y) or any(found.agree(x, y[:, order]) for order in orders)
    if x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2]:
        return False
    small, large = sorted((x, y), key=np.size)
    height, width = small.shape[2:]
    most = 16  # rows or columns of padding; beyond that it is another size
    offsets = [range(min(most, have - want) + 1) for have, want in zip(large.shape[2:], (height, width), strict=True)]
    return any(
        found.agree(small, large[:, :, top : top + height, left : left + width]) for top, left in product(*offsets)
    )
