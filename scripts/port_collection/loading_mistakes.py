"""Mistakes of moving weights: not loaded, loaded into another layer, without a bias, rounded."""

from typing import Any

import numpy as np

from port_collection.planting import (
    planted,
    reinitialise,
    set_slot,
    swap_layers,
    swap_slots,
)
from port_collection.slots import all_slots
from port_collection.small import change, dense, drop, put
from port_collection.small_nets import (
    BOTTLENECK,
    FUSED,
    INCEPTION,
    PLAIN,
    RESIDUAL,
    normed,
)

UNLOADED = r"load|initial|never|copied|(weights|kernels|parameters).{0,40}(differ|other|not (the same|equal|agree))"
SWAPPED = r"swap|exchang|agree.{0,60}with|belong|weights of"


def half(net: Any) -> None:
    """Round all weights to float16."""
    for slots in all_slots(net):
        for slot, value in slots.values.items():
            slots.put(slot, value.astype(np.float16))


MISTAKES = (
    planted(
        "one convolution not loaded",
        "not loaded",
        "torch keras",
        PLAIN,
        None,
        "conv2 relu2",
        UNLOADED,
        reinitialise("conv2"),
    ),
    planted(
        "one convolution not loaded", "not loaded", "keras gluon", FUSED, None, "conv3", UNLOADED, reinitialise("conv3")
    ),
    planted(
        "a dense layer not loaded", "not loaded", "torch gluon", PLAIN, None, "fc2 relu4", UNLOADED, reinitialise("fc2")
    ),
    planted(
        "nothing loaded", "not loaded", "keras torch", BOTTLENECK, None, "conv1 bn1 relu1", UNLOADED, reinitialise()
    ),
    planted("nothing loaded", "not loaded", "gluon keras", PLAIN, None, "conv1 relu1", UNLOADED, reinitialise()),
    planted(
        "a norm not loaded",
        "not loaded",
        "torch gluon",
        BOTTLENECK,
        None,
        "bn3 relu3",
        rf"{UNLOADED}|statistic|running|mean|gamma",
        reinitialise("bn3"),
    ),
    planted(
        "two convolutions swapped",
        "swapped",
        "torch keras",
        RESIDUAL,
        None,
        "a_conv1 a_bn1 a_relu1",
        SWAPPED,
        swap_layers("a_conv1", "a_conv2"),
    ),
    planted(
        "two kernels swapped",
        "swapped",
        "keras torch",
        BOTTLENECK,
        None,
        "bn1 relu1",
        f"{SWAPPED}|gamma|norm",
        swap_layers("bn1", "bn2"),
    ),
    planted(
        "two branches swapped",
        "swapped",
        "torch gluon",
        INCEPTION,
        None,
        "b1_1 b1_1_act b4_2 b4_2_act",
        SWAPPED,
        swap_layers("b1_1", "b4_2"),
    ),
    planted(
        "bias not loaded",
        "bias",
        "torch keras",
        PLAIN,
        None,
        "conv2 relu2",
        "bias",
        set_slot("conv2", "bias", np.zeros_like),
    ),
    planted(
        "dense bias not loaded",
        "bias",
        "gluon keras",
        PLAIN,
        None,
        "fc2 relu4",
        "bias",
        set_slot("fc2", "bias", np.zeros_like),
    ),
    planted("no bias", "bias", "keras torch", PLAIN, change(PLAIN, "conv2", bias=False), "conv2 relu2", "bias"),
    planted("no bias", "bias", "torch gluon", PLAIN, change(PLAIN, "fc3", bias=False), "fc3", "bias"),
    planted(
        "bias of another layer",
        "bias",
        "keras gluon",
        PLAIN,
        None,
        "fc1 relu3",
        "bias",
        swap_slots(("fc1", "bias"), ("fc2", "bias")),
    ),
    planted(
        "bias in another order",
        "bias",
        "torch keras",
        FUSED,
        None,
        "conv2 conv2_act",
        "bias",
        set_slot("conv2", "bias", lambda b: b[::-1]),
    ),
    planted(
        "no bias before a norm",
        "bias",
        "torch keras",
        RESIDUAL,
        change(RESIDUAL, "a_conv1", bias=False),
        "a_conv1 a_bn1 a_relu1",
        "bias",
    ),
    planted(
        "no bias before a group norm",
        "bias",
        "keras torch",
        normed("group"),
        change(normed("group"), "conv2", bias=False),
        "conv2 norm2 relu2",
        "bias",
    ),
    planted(
        "float16 weights", "precision", "torch keras", PLAIN, None, "conv1 relu1", "float16|half|precision|round", half
    ),
    planted(
        "float16 weights",
        "precision",
        "keras gluon",
        BOTTLENECK,
        None,
        "conv1 bn1 relu1",
        "float16|half|precision|round",
        half,
    ),
    planted(
        "Linear for a 1x1 convolution",
        "agree",
        "torch gluon",
        put(drop(BOTTLENECK, "gap"), "fc", *[n for n in BOTTLENECK if n.name == "gap"], dense("fc", 10)),
        None,
        "",
        "",
    ),
)
