"""The settings of a layer in the same words for every framework: stride, padding, groups, epsilon and so on.

A setting that a layer does not have is left out. Sizes are tuples with a number for each spatial axis; padding has a
pair (before, after) for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Settings = dict[str, Any]
Sizes = tuple[int, ...]

# The frameworks' names of activation functions, and the names used here.
ACTIVATIONS = {
    "swish": "silu",
    "hardswish": "hard_silu",
    "hard_swish": "hard_silu",
    "hardsigmoid": "hard_sigmoid",
    "leakyrelu": "leaky_relu",
    "softrelu": "softplus",
    "hardtanh": "hard_tanh",
    "logsigmoid": "log_sigmoid",
    "softsign": "soft_sign",
}

ABOUT_PADDING = ("count_include_pad", "padding mode")  # settings without an effect where nothing is padded


def activation_name(function: Any) -> str:
    """The name of an activation: of a function, a class, or the text that a framework accepts."""
    name = function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
    name = name.lower()
    return ACTIVATIONS.get(name, name)


def torch_settings(module: Any, kind: str, size: Sequence[int]) -> Settings:
    """The settings of a PyTorch module.

    Args:
        module: the module.
        kind: its kind.
        size: the height and width of its input.
    """
    rank, found = len(size), Settings()
    if kind in ("conv", "transposed conv"):
        kernel, stride, dilation = (_sizes(v, rank) for v in (module.kernel_size, module.stride, module.dilation))
        padding = _pairs(module.padding, rank) if not isinstance(module.padding, str) else None
        if padding is None:
            padding = _same_padding(size, kernel, stride, dilation) if module.padding == "same" else ((0, 0),) * rank
        found = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": module.groups}
        if kind == "transposed conv":
            found["padding"] = tuple(
                (before, after - extra)
                for (before, after), extra in zip(padding, _sizes(module.output_padding, rank), strict=True)
            )
        return found | {"padding mode": module.padding_mode}
    if kind == "pool":
        name = type(module).__name__
        found = {"pooling": "max" if "Max" in name else "average"}
        if "Adaptive" in name:
            return found | {"output size": _sizes(module.output_size, rank)}
        kernel = _sizes(module.kernel_size, rank)
        found |= {"kernel": kernel, "stride": _sizes(module.stride or kernel, rank)}
        found |= {"padding": _pairs(module.padding, rank), "ceil_mode": module.ceil_mode}
        found["dilation"] = _sizes(getattr(module, "dilation", 1), rank)
        if hasattr(module, "count_include_pad"):
            found["count_include_pad"] = module.count_include_pad
        return found
    if kind == "norm":
        share = getattr(module, "momentum", None)
        return _norm_settings(module, getattr(module, "eps", None), getattr(module, "num_groups", None), share)
    if kind == "activation":
        found = {"activation": activation_name(module)}
        if hasattr(module, "negative_slope"):
            found["slope"] = float(module.negative_slope)
        if hasattr(module, "alpha"):
            found["alpha"] = float(module.alpha)
        if getattr(module, "approximate", "none") == "tanh":
            found["activation"] = "gelu_tanh"
        return found
    if kind == "upsampling":
        mode = getattr(module, "mode", "nearest")
        found = {"interpolation": mode, "factor": _sizes(module.scale_factor, rank) if module.scale_factor else None}
        return found | ({"align_corners": bool(module.align_corners)} if mode != "nearest" else {})
    return {}


def keras_settings(layer: Any, kind: str, size: Sequence[int]) -> Settings:
    """The settings of a Keras layer; see `torch_settings`."""
    rank, found = len(size), Settings()
    if kind in ("conv", "transposed conv", "separable conv"):
        kernel, stride, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
        groups = getattr(layer, "groups", 1)
        if hasattr(layer, "depth_multiplier"):
            groups = layer.input_spec.axes[-1 if layer.data_format == "channels_last" else 1]
        if kind == "transposed conv":
            padding = _transposed_padding(size, kernel, stride, layer.padding)
        elif layer.padding == "same":
            padding = _same_padding(size, kernel, stride, dilation)
        else:
            padding = ((0, 0),) * rank
        found = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return found | {"padding mode": "zeros"}
    if kind == "pool":
        name = type(layer).__name__
        found = {"pooling": "max" if "Max" in name else "average"}
        if "Global" in name:
            return found | {"output size": (1,) * rank}
        if hasattr(layer, "output_size"):
            return found | {"output size": _sizes(layer.output_size, rank)}
        kernel, stride = _sizes(layer.pool_size, rank), _sizes(layer.strides or layer.pool_size, rank)
        same = layer.padding == "same"
        found |= {"kernel": kernel, "stride": stride}
        found["padding"] = _same_padding(size, kernel, stride, (1,) * rank) if same else ((0, 0),) * rank
        found["dilation"] = (1,) * rank
        return found | {"ceil_mode": False} | ({"count_include_pad": False} if found["pooling"] == "average" else {})
    if kind == "norm":
        share = 1 - layer.momentum if hasattr(layer, "momentum") else None
        return _norm_settings(layer, getattr(layer, "epsilon", None), getattr(layer, "groups", None), share)
    if kind == "activation":
        name = activation_name(layer.activation if hasattr(layer, "activation") else layer)
        found = {"activation": name}
        if name == "leaky_relu":
            found["slope"] = float(getattr(layer, "negative_slope", 0.2))
        if name == "elu":
            found["alpha"] = float(getattr(layer, "alpha", 1.0))
        if name == "relu" and getattr(layer, "negative_slope", None):
            found = {"activation": "leaky_relu", "slope": float(layer.negative_slope)}
        if name == "relu" and getattr(layer, "max_value", None) is not None:
            found["activation"] = f"relu{layer.max_value:g}"
        return found
    if kind == "upsampling":
        found = {"interpolation": getattr(layer, "interpolation", "nearest"), "factor": _sizes(layer.size, rank)}
        return found | ({"align_corners": False} if found["interpolation"] != "nearest" else {})
    return {}


def gluon_settings(block: Any, kind: str, size: Sequence[int]) -> Settings:
    """The settings of a Gluon block; see `torch_settings`."""
    rank, options, found = len(size), getattr(block, "_kwargs", {}), Settings()
    if kind in ("conv", "transposed conv"):
        padding = _pairs(options["pad"], rank)
        if kind == "transposed conv":
            padding = tuple((b, a - extra) for (b, a), extra in zip(padding, options["adj"], strict=True))
        found = {"kernel": options["kernel"], "stride": options["stride"], "padding": padding}
        return found | {"dilation": options["dilate"], "groups": options["num_group"], "padding mode": "zeros"}
    if kind == "pool":
        found = {"pooling": "average" if options["pool_type"] == "avg" else "max"}
        if options["global_pool"]:
            return found | {"output size": (1,) * rank}
        found |= {"kernel": options["kernel"], "stride": options["stride"], "padding": _pairs(options["pad"], rank)}
        found |= {"dilation": (1,) * rank, "ceil_mode": options["pooling_convention"] == "full"}
        return found | ({"count_include_pad": options["count_include_pad"]} if "count_include_pad" in options else {})
    if kind == "norm":
        share = 1 - options["momentum"] if "momentum" in options else None
        return _norm_settings(block, options.get("eps"), options.get("num_groups"), share)
    if kind == "activation":
        function = getattr(block, "_act_type", None) or type(block).__name__
        found = {"activation": activation_name(function)}
        if hasattr(block, "_alpha"):
            found["alpha" if found["activation"] == "elu" else "slope"] = float(block._alpha)
        return found
    return {}


def flax_settings(layer: Any, kind: str, size: Sequence[int]) -> Settings:
    """The settings of a Flax NNX module, or of a function or a `partial` of one; see `torch_settings`."""
    function, options, found = getattr(layer, "func", layer), getattr(layer, "keywords", {}), Settings()
    if kind in ("conv", "transposed conv"):
        rank = len(layer.kernel_size)
        numbers = (layer.kernel_size, layer.strides, layer.kernel_dilation)
        kernel, stride, dilation = (_sizes(1 if value is None else value, rank) for value in numbers)
        spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
        mode, padding = "zeros", _flax_padding(layer.padding, size[-rank:], spans, stride)
        if layer.padding in ("CIRCULAR", "REFLECT"):
            mode, padding = layer.padding.lower(), tuple(((span - 1) // 2, span // 2) for span in spans)
        elif kind == "transposed conv" and isinstance(layer.padding, str):
            padding = _transposed_padding(size[-rank:], spans, stride, layer.padding.lower())
        elif kind == "transposed conv":  # as many zeros are left of those that the full output takes
            left = zip(spans, padding, strict=True)
            padding = tuple((span - 1 - before, span - 1 - after) for span, (before, after) in left)
        found = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return found | {"groups": getattr(layer, "feature_group_count", 1), "padding mode": mode}
    if kind == "pool":
        kernel = tuple(options["window_shape"])
        stride = tuple(options.get("strides") or (1,) * len(kernel))
        found = {"pooling": function.__name__.removesuffix("_pool").replace("avg", "average")}
        found |= {"kernel": kernel, "stride": stride, "dilation": (1,) * len(kernel), "ceil_mode": False}
        found["padding"] = _flax_padding(options.get("padding", "VALID"), size[-len(kernel) :], kernel, stride)
        is_average = found["pooling"] == "average"
        return found | ({"count_include_pad": options.get("count_include_pad", True)} if is_average else {})
    if kind == "norm":
        share = 1 - layer.momentum if hasattr(layer, "momentum") else None
        return _norm_settings(layer, getattr(layer, "epsilon", None), getattr(layer, "num_groups", None), share)
    if kind == "activation":
        found = {"activation": activation_name(function)}
        if found["activation"] == "gelu" and options.get("approximate", True):
            found["activation"] = "gelu_tanh"
        if found["activation"] == "leaky_relu":
            found["slope"] = float(options.get("negative_slope", 0.01))
        if found["activation"] == "elu":
            found["alpha"] = float(options.get("alpha", 1.0))
        return found
    return {}


def differing_settings(reference: Settings, port: Settings) -> dict[str, tuple[Any, Any]]:
    """The settings that both layers have and that differ, as (reference, port)."""
    padded = any(any(map(any, settings.get("padding", ()))) for settings in (reference, port))
    return {
        name: (value, port[name])
        for name, value in reference.items()
        if name in port and _comparable(value) != _comparable(port[name]) and (padded or name not in ABOUT_PADDING)
    }


def _comparable(value: Any) -> Any:
    return tuple(map(_comparable, value)) if isinstance(value, list | tuple) else value


def _norm_settings(layer: Any, epsilon: Any, groups: Any, share: float | None) -> Settings:
    """The settings of a norm; `momentum` is the share of the new batch, as PyTorch counts it."""
    name = type(layer).__name__.lower()
    kinds = ("batch", "layer", "group", "instance")
    found: Settings = {"norm": next((kind for kind in kinds if kind in name), name)}
    found |= {} if epsilon is None else {"epsilon": float(epsilon)}
    found |= {} if share is None else {"momentum": round(float(share), 9)}
    return found | ({} if groups is None else {"groups": groups})


def _sizes(value: Any, rank: int) -> Sizes:
    """A number for each axis."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * rank


def _pairs(value: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """The same padding before and after, for each axis."""
    return tuple((number, number) for number in _sizes(value, rank))


def _same_padding(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The padding that `same` means for an input: the smaller half comes first."""
    padding = []
    for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
        padding.append((total // 2, total - total // 2))
    return tuple(padding)


def _flax_padding(
    padding: Any, size: Sequence[int], spans: Sequence[int], stride: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The zeros (before, after) on each axis that a padding of Flax gives.

    A padding is a string, a number, or a sequence of numbers or pairs.
    """
    if not isinstance(padding, str):
        items = _sizes(padding, len(spans))
        return tuple(tuple(item) if isinstance(item, Sequence) else (item, item) for item in items)
    if padding == "CAUSAL":
        return tuple((span - 1, 0) for span in spans)
    same = _same_padding(size, spans, stride, (1,) * len(spans))
    pairs = {"SAME": same, "SAME_LOWER": tuple(pair[::-1] for pair in same)}
    return pairs.get(padding.upper(), ((0, 0),) * len(spans))


def _transposed_padding(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: str
) -> tuple[tuple[int, int], ...]:
    """What Keras cuts off the full output of a transposed convolution; negative where it adds zeros."""
    pairs = []
    for length, k, s in zip(size, kernel, stride, strict=True):
        if padding == "same":
            total = max(k - s, 0) if length else 0
            pairs.append((total // 2, k - s - total // 2))
        else:
            pairs.append((0, min(k - s, 0)))
    return tuple(pairs)
