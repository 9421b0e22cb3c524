"""Mistakes of moving weights: in the wrong layout, in the wrong order."""

from typing import Any

import numpy as np

from port_collection.planting import (
    Edit,
    all_of,
    in_keras_layout,
    planted,
    set_slot,
)
from port_collection.small import conv, put
from port_collection.small_nets import (
    FUSED,
    MOBILE,
    PLAIN,
    SHUFFLER,
    TRANSPOSED,
)

UNLOADED = r"load|initial|never|copied|(weights|kernels|parameters).{0,40}(differ|other|not (the same|equal|agree))"
FLATTEN = r"flatten"
SQUARE = put(PLAIN, "conv2", conv("conv2", 8, 3, pad=1))
MULTIPLIED = put(MOBILE, "dw1", conv("dw1", 8, groups=8, multiplier=2, pad=1, bias=False))
TALL = put(PLAIN, "conv1", conv("conv1", 8, 5, pad=2))


def flipped(weight: np.ndarray) -> np.ndarray:
    return weight[:, :, ::-1, ::-1]


def channels_last_features(channels: int, side: int) -> Any:
    """Undo the permutation of a dense layer behind a flatten: as if the features had been (height, width, channels)."""

    def new(weight: np.ndarray) -> np.ndarray:
        return weight.reshape(-1, side, side, channels).transpose(0, 3, 1, 2).reshape(weight.shape)

    return new


def channels_first_features(channels: int, side: int) -> Any:
    """The opposite: as if the features had been (channels, height, width)."""

    def new(weight: np.ndarray) -> np.ndarray:
        return weight.reshape(-1, channels, side, side).transpose(0, 2, 3, 1).reshape(weight.shape)

    return new


def interleave(weight: np.ndarray) -> np.ndarray:
    """Depthwise kernels of two outputs a channel, as (output, channel) instead of (channel, output)."""
    return weight.reshape(2, -1, *weight.shape[1:]).swapaxes(0, 1).reshape(weight.shape)


def unpermuted(layer: str, channels: int, side: int, to_torch: bool = False) -> Edit:
    return set_slot(layer, "weight", (channels_first_features if to_torch else channels_last_features)(channels, side))


MISTAKES = (
    planted(
        "kernel reshaped",
        "layout",
        "torch keras",
        PLAIN,
        None,
        "conv2 relu2",
        "reshape|transpos|layout|permut",
        in_keras_layout("conv2", lambda w: w.reshape(3, 3, 8, 12)),
    ),
    planted(
        "first kernel reshaped",
        "layout",
        "gluon keras",
        TALL,
        None,
        "conv1 relu1",
        "reshape|transpos|layout|permut",
        in_keras_layout("conv1", lambda w: w.reshape(5, 5, 3, 8)),
    ),
    planted(
        "dense kernel reshaped",
        "layout",
        "torch keras",
        PLAIN,
        None,
        "fc3",
        "reshape|transpos|layout|permut",
        in_keras_layout("fc3", lambda w: w.reshape(20, 10)),
    ),
    planted(
        "kernel flipped",
        "layout",
        "torch keras",
        PLAIN,
        None,
        "conv2 relu2",
        "flip|rotat|mirror|convolution.*corr",
        set_slot("conv2", "weight", flipped),
    ),
    planted(
        "kernel flipped",
        "layout",
        "keras torch",
        FUSED,
        None,
        "conv1",
        "flip|rotat|mirror",
        set_slot("conv1", "weight", flipped),
    ),
    planted(
        "height and width swapped",
        "layout",
        "torch keras",
        PLAIN,
        None,
        "conv2 relu2",
        "height|width|transpos|swap|h.{0,5}w",
        in_keras_layout("conv2", lambda w: w.transpose(3, 2, 1, 0)),
    ),
    planted(
        "height and width swapped",
        "layout",
        "keras gluon",
        TALL,
        None,
        "conv1 relu1",
        "height|width|transpos|swap|h.{0,5}w",
        set_slot("conv1", "weight", lambda w: w.swapaxes(2, 3)),
    ),
    planted(
        "square dense kernel not transposed",
        "layout",
        "torch keras",
        PLAIN,
        None,
        "fc2 relu4",
        "transpos|swap|in.{0,5}out",
        in_keras_layout("fc2", lambda w: w),
    ),
    planted(
        "square dense kernel transposed",
        "layout",
        "keras gluon",
        PLAIN,
        None,
        "fc2 relu4",
        "transpos|swap|in.{0,5}out",
        set_slot("fc2", "weight", np.transpose),
    ),
    planted(
        "in and out swapped in a square convolution",
        "layout",
        "torch keras",
        SQUARE,
        None,
        "conv2 relu2",
        "transpos|swap|in.{0,5}out",
        in_keras_layout("conv2", lambda w: w.transpose(2, 3, 0, 1)),
    ),
    planted(
        "in and out swapped in a transposed convolution",
        "layout",
        "torch keras",
        TRANSPOSED,
        None,
        "up1 relu2",
        "transpos|swap|in.{0,5}out",
        set_slot("up1", "weight", lambda w: w.swapaxes(0, 1)),
    ),
    planted(
        "first kernel for BGR",
        "layout",
        "torch keras",
        PLAIN,
        None,
        "conv1 relu1",
        "RGB|BGR|channel",
        set_slot("conv1", "weight", lambda w: w[:, ::-1]),
    ),
    planted(
        "first kernel for BGR",
        "layout",
        "gluon torch",
        MOBILE,
        None,
        "conv1 bn1 relu1",
        "RGB|BGR|channel",
        set_slot("conv1", "weight", lambda w: w[:, ::-1]),
    ),
    planted(
        "depthwise kernels in another order",
        "layout",
        "torch keras",
        MULTIPLIED,
        None,
        "dw1 bn2 relu2",
        "order|permut|depthwise|multiplier|channel",
        set_slot("dw1", "weight", interleave),
    ),
    planted(
        "groups in another order",
        "layout",
        "torch gluon",
        SHUFFLER,
        None,
        "conv2 bn2 relu2",
        "group|order|permut",
        set_slot("conv2", "weight", lambda w: w.reshape(4, 4, 4, 1, 1)[::-1].reshape(w.shape)),
    ),
    planted("flatten order", "flatten", "torch keras", PLAIN, None, "fc1 relu3", FLATTEN, unpermuted("fc1", 12, 4)),
    planted(
        "flatten order",
        "flatten",
        "keras torch",
        PLAIN,
        None,
        "fc1 relu3",
        FLATTEN,
        unpermuted("fc1", 12, 4, to_torch=True),
    ),
    planted(
        "flatten order", "flatten", "keras gluon", FUSED, None, "fc1", FLATTEN, unpermuted("fc1", 16, 2, to_torch=True)
    ),
    planted(
        "classes in another order",
        "layout",
        "keras torch",
        PLAIN,
        None,
        "fc3",
        f"order|permut|{UNLOADED}",
        all_of(set_slot("fc3", "weight", lambda w: np.roll(w, 3, 0)), set_slot("fc3", "bias", lambda b: np.roll(b, 3))),
    ),
    planted("flatten order", "flatten", "gluon keras", FUSED, None, "fc1", FLATTEN, unpermuted("fc1", 16, 2)),
)
