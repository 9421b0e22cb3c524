"""What a layer computes, in NumPy: to see what it would compute with another setting or other parameters.

Images are (N, C, H, W), and parameters are those of the adapters. Only what the hints need: two spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lenet_multi.ports.layer_settings import Settings

Parameters = Mapping[str, np.ndarray]
# PyTorch's names of what is put around an image, and NumPy's.
PADDING_MODES: Mapping[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def compute(kind: str, settings: Settings, parameters: Parameters, x: np.ndarray) -> np.ndarray | None:
    """The output of a layer for an input; None if this module does not know the layer."""
    if kind not in FUNCTIONS:
        return None
    try:
        with np.errstate(all="ignore"):
            return FUNCTIONS[kind](x.astype(np.float64), settings, parameters)
    except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError):  # the settings do not fit the arrays
        return None


def convolve(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray | None:
    weight = parameters["weight"].astype(np.float64)
    if x.ndim != 4 or weight.ndim != 4:
        return None
    groups, outputs = settings["groups"], []
    x = np.pad(x, ((0, 0), (0, 0), *settings["padding"]), PADDING_MODES[settings["padding mode"]])
    windows = _windows(x, weight.shape[2:], settings["stride"], settings["dilation"])
    for part, kernels in zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True):
        outputs.append(np.moveaxis(np.tensordot(part, kernels, ((1, 4, 5), (1, 2, 3))), -1, 1))
    return _plus(np.concatenate(outputs, axis=1), parameters.get("bias"))


def convolve_transposed(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray | None:
    weight = parameters["weight"].astype(np.float64)  # (in, out, height, width)
    if x.ndim != 4 or settings["groups"] != 1 or set(settings["dilation"]) != {1}:
        return None
    (n, channels, height, width), (kh, kw), (sh, sw) = x.shape, weight.shape[2:], settings["stride"]
    spread = np.zeros((n, channels, (height - 1) * sh + 1, (width - 1) * sw + 1))
    spread[:, :, ::sh, ::sw] = x
    full = _windows(_padded(spread, ((kh - 1, kh - 1), (kw - 1, kw - 1)), 0.0), (kh, kw), (1, 1), (1, 1))
    y = np.moveaxis(np.tensordot(full, weight[:, :, ::-1, ::-1], ((1, 4, 5), (0, 2, 3))), -1, 1)
    for axis, (before, after) in enumerate(settings["padding"], 2):
        y = np.take(y, range(before, y.shape[axis] - max(after, 0)), axis=axis)
        y = np.pad(y, [(0, max(-after, 0) if other == axis else 0) for other in range(4)])
    return _plus(y, parameters.get("bias"))


def dense(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray:
    weight = parameters["weight"]
    if x.shape[-1] != weight.shape[1]:  # Gluon's dense layer flattens its input itself
        x = x.reshape(len(x), -1)
    return x @ weight.T + parameters.get("bias", 0.0)


def normalize(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray | None:
    """A norm; with `axis` in the settings over that axis, with `training` by the statistics of the batch."""
    kind, channels = settings["norm"], (1, -1, *[1] * (x.ndim - 2))
    shape: tuple[int, ...] = channels
    if kind == "batch" and settings.get("training"):
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    elif kind == "batch":
        mean, variance = parameters["mean"].reshape(channels), parameters["variance"].reshape(channels)
    elif kind in ("group", "instance"):
        groups = (kind == "group" and settings.get("groups")) or x.shape[1]
        grouped = x.reshape(len(x), groups, -1)
        mean, variance = (
            np.repeat(part, x.shape[1] // grouped.shape[1], 1).reshape(len(x), -1, *[1] * (x.ndim - 2))
            for part in (grouped.mean(-1), grouped.var(-1))
        )
    elif kind == "layer":
        size = parameters["gamma"].shape if "gamma" in parameters else x.shape[-1:]
        axis = settings.get("axis", -1)
        axes = tuple(range(x.ndim - len(size), x.ndim)) if len(size) > 1 else (axis % x.ndim,)
        shape = size if axis == -1 or len(size) > 1 else channels
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    else:
        return None
    gamma, beta = (np.reshape(parameters[name], shape) if name in parameters else value for name, value in _AFFINE)
    return (x - mean) / np.sqrt(variance + settings["epsilon"]) * gamma + beta


_AFFINE = (("gamma", 1.0), ("beta", 0.0))


def pool(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray | None:
    largest = settings["pooling"] == "max"
    if "output size" in settings:
        if set(settings["output size"]) != {1}:
            return None
        return x.max((2, 3), keepdims=True) if largest else x.mean((2, 3), keepdims=True)
    kernel, stride, dilation = settings["kernel"], settings["stride"], settings.get("dilation", (1, 1))
    padding = [tuple(pair) for pair in settings["padding"]]
    counted = _padded(np.ones((1, 1, *x.shape[2:])), padding, float(settings.get("count_include_pad", True)))
    x = _padded(x, padding, -np.inf if largest else 0.0)
    if settings.get("ceil_mode"):
        extra = []
        for (_, after), length, k, s, d in zip(padding, x.shape[2:], kernel, stride, dilation, strict=True):
            span = (k - 1) * d + 1
            windows = -(-(length - span) // s) + 1
            if (windows - 1) * s >= length - after:  # a window may not begin in the padding
                windows -= 1
            extra.append((0, max((windows - 1) * s + span - length, 0)))
        x, counted = _padded(x, extra, -np.inf if largest else 0.0), _padded(counted, extra, 0.0)
    windows = _windows(x, kernel, stride, dilation)
    if largest:
        return windows.max((-2, -1))
    return windows.sum((-2, -1)) / _windows(counted, kernel, stride, dilation).sum((-2, -1))


def upsample(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray | None:
    if settings["factor"] is None or x.ndim != 4:
        return None
    if settings["interpolation"] == "nearest":
        return x.repeat(int(settings["factor"][0]), 2).repeat(int(settings["factor"][1]), 3)
    if settings["interpolation"] != "bilinear":
        return None
    for axis, factor in zip((2, 3), settings["factor"], strict=True):
        length = x.shape[axis]
        size = int(length * factor)
        at = np.arange(size, dtype=np.float64)
        at = at * (length - 1) / max(size - 1, 1) if settings.get("align_corners") else (at + 0.5) / factor - 0.5
        at = at.clip(0, length - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if other == axis else 1 for other in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, np.minimum(low + 1, length - 1), axis) * share
    return x


def activate(x: np.ndarray, settings: Settings, parameters: Parameters) -> np.ndarray | None:
    name = settings["activation"]
    if name == "leaky_relu":
        return leaky_relu(x, settings.get("slope", 0.01))
    if name == "elu":
        return np.where(x > 0, x, settings.get("alpha", 1.0) * np.expm1(x))
    return ACTIVATIONS[name](x) if name in ACTIVATIONS else None


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def leaky_relu(x: np.ndarray, slope: float = 0.01) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """With the error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    z = np.abs(x) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return x * (1 + np.sign(x) * (1 - series * np.exp(-z * z))) / 2


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * sigmoid(x),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "softmax": softmax,
}


FUNCTIONS: Mapping[str, Callable[..., np.ndarray | None]] = {
    "conv": convolve,
    "transposed conv": convolve_transposed,
    "dense": dense,
    "norm": normalize,
    "pool": pool,
    "activation": activate,
    "upsampling": upsample,
}


def _plus(y: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def _padded(x: np.ndarray, padding: Any, value: float) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)


def _windows(x: np.ndarray, kernel: Any, stride: Any, dilation: Any) -> np.ndarray:
    """The windows that a kernel sees: (N, C, rows, columns, height, width)."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, (1, 1, *spans))[:, :, :, :, 0, 0]
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
