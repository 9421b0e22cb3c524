"""What the network playground must compute, in NumPy: the forward pass with mistakes planted into it, and occlusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.checks.float64_reference import Arrays, forward, layer_forward, log_softmax


@dataclass(frozen=True)
class Mistakes:
    """As `Changes` of the page, whose names are in camel case.

    Args:
        off: channels that output zeros, by layer and number from 0.
        pooling: of every pooling layer.
        activation: of every layer that has one.
        channels_last: flatten as Keras does, with dense weights of the channels-first order.
        transposed: the convolution whose kernels have height and width exchanged.
        shifted: the convolution with one more row and column of zeros above and on the left, one less below and right.
        noise: standard deviation of noise on the weights, in units of that of each weight.
    """

    off: tuple[tuple[str, int], ...] = ()
    pooling: str = ""
    activation: str = ""
    channels_last: bool = False
    transposed: str = ""
    shifted: str = ""
    noise: float = 0

    def to_page(self) -> dict[str, object]:
        return {
            "off": [f"{layer}:{channel}" for layer, channel in self.off],
            "pooling": self.pooling,
            "activation": self.activation,
            "channelsLast": self.channels_last,
            "transposed": self.transposed,
            "shifted": self.shifted,
            "noise": self.noise,
        }


def broken_forward(
    architecture: Architecture, parameters: Mapping[str, np.ndarray], X: np.ndarray, mistakes: Mistakes
) -> Arrays:
    """The output of every layer for images (N, C, H, W)."""
    used = noisy(architecture, parameters, mistakes.noise)
    if mistakes.transposed:
        name = f"{mistakes.transposed}.weight"
        used[name] = used[name].transpose(0, 1, 3, 2)
    outputs: Arrays = {}
    x = X.astype(np.float64)
    for name, layer in architecture.named_layers.items():
        if isinstance(layer, Conv | Dense) and layer.activation and mistakes.activation:
            layer = replace(layer, activation=mistakes.activation)
        if isinstance(layer, Pool) and mistakes.pooling:
            layer = replace(layer, kind=mistakes.pooling)
        if isinstance(layer, Conv) and name == mistakes.shifted:
            height, width = (side + 2 * layer.padding for side in x.shape[2:])
            sides = (layer.padding + 1, layer.padding + 1)
            x = np.pad(x, ((0, 0), (0, 0), sides, sides))[:, :, :height, :width]
            layer = replace(layer, padding=0)
        if isinstance(layer, Flatten) and mistakes.channels_last:
            x = x.transpose(0, 2, 3, 1)
        x = layer_forward(name, layer, used, x)
        for channel in (channel for where, channel in mistakes.off if where == name):
            x[:, channel] = 0
        outputs[name] = x
    return outputs


def noisy(architecture: Architecture, parameters: Mapping[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    """The parameters with noise on the weights, as the page draws it."""
    used = dict(parameters)
    random = mulberry32(1)
    for name, shape in architecture.parameter_shapes.items():
        if scale and name.endswith(".weight"):
            deviation = parameters[name].astype(np.float64).std()
            noise = np.array([normal(random) for _ in range(math.prod(shape))]).reshape(shape)
            used[name] = (parameters[name] + scale * deviation * noise).astype(np.float32)
    return used


def mulberry32(seed: int):
    """Tommy Ettinger's generator of numbers from 0 to 1, with 32-bit integers."""
    state = seed
    mask = 2**32 - 1
    while True:
        state = (state + 0x6D2B79F5) & mask
        mixed = (state ^ (state >> 15)) * (state | 1) & mask
        mixed ^= (mixed + ((mixed ^ (mixed >> 7)) * (mixed | 61) & mask)) & mask
        yield (mixed ^ (mixed >> 14)) / 2**32


def normal(random) -> float:
    """A number of the standard normal distribution, by Box and Muller."""
    return math.sqrt(-2 * math.log(1 - next(random))) * math.cos(2 * math.pi * next(random))


def occlusion(architecture: Architecture, parameters, X: np.ndarray, label: int, side: int) -> np.ndarray:
    """How far the probability of a class falls, on average over the squares that cover a pixel: (height, width)."""

    def probability(image: np.ndarray) -> float:
        return np.exp(log_softmax(list(forward(architecture, parameters, image).values())[-1]))[0, label]

    def starts(length: int) -> list[int]:
        return sorted({*range(0, max(0, length - side), step), max(0, length - side)})

    _, height, width = architecture.input_shape
    step = max(1, side // 2)
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    for top in starts(height):
        for left in starts(width):
            covered = X.copy()
            covered[:, :, top : top + side, left : left + side] = 0
            sums[top : top + side, left : left + side] += probability(X) - probability(covered)
            counts[top : top + side, left : left + side] += 1
    assert counts.all()
    return sums / counts
