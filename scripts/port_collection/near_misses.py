"""Mistakes that look like others: a tempting hint is wrong here."""

import numpy as np

from port_collection.planting import all_of, planted, reinitialise, set_slot
from port_collection.small import Spec, act, after, before, change, conv, drop, scale
from port_collection.small_nets import BOTTLENECK, INCEPTION, PLAIN, RESIDUAL

RIGHT_BIAS = {"bias": 0.0}
NO_BIAS_STRIDE = change(change(change(PLAIN, "conv2", stride=2), "conv1", pad=1), "pool2", size=1)
BIG = change(PLAIN, "relu1", function="relu6")
SOFTMAX = after(PLAIN, "fc3", act("softmax", "softmax"))
PER_PIXEL = before(change(PLAIN, "pool1", kind="avg", size=3, stride=2, pad=1), "conv2", conv("conv1b", 8, 1))
MOVED = change(change(BOTTLENECK, "conv2", stride=2), "conv3", stride=1)


def bias_free(spec: Spec, *names: str) -> Spec:
    """Some layers without a bias, where the reference has biases of zero."""
    for name in names:
        spec = change(spec, name, bias=False)
    return spec


WITH_BIASES = change(change(change(BOTTLENECK, "conv2", bias=True), "conv3", bias=True), "conv1", bias=True)

MISTAKES = (
    planted(
        "no bias, where it is zero", "agree", "torch keras", PLAIN, bias_free(PLAIN, "conv1", "conv2"), "", "", bias=0.0
    ),
    planted(
        "no bias, where it is zero",
        "agree",
        "keras gluon",
        RESIDUAL,
        bias_free(RESIDUAL, "a_conv1", "b_conv3"),
        "",
        "",
        bias=0.0,
    ),
    planted(
        "zero bias and a moved stride",
        "near miss",
        "torch keras",
        WITH_BIASES,
        bias_free(change(change(WITH_BIASES, "conv2", stride=2), "conv3", stride=1), "conv2", "conv3"),
        "conv2 bn2 relu2",
        "strid",
        bias=0.0,
    ),
    planted(
        "zero bias and a moved stride",
        "near miss",
        "gluon torch",
        WITH_BIASES,
        bias_free(change(change(WITH_BIASES, "conv2", stride=2), "conv3", stride=1), "conv2", "conv3"),
        "conv2 bn2 relu2",
        "strid",
        bias=0.0,
    ),
    planted(
        "zero bias and a forgotten relu",
        "near miss",
        "torch keras",
        PLAIN,
        bias_free(drop(PLAIN, "relu2"), "conv2"),
        "conv2 relu2 pool2",
        "relu|activation|operations between|negative",
        bias=0.0,
    ),
    planted(
        "zero bias and a dilation",
        "near miss",
        "keras gluon",
        PLAIN,
        bias_free(change(PLAIN, "conv2", dilation=2, pad=2), "conv2"),
        "conv2 relu2",
        "dilat",
        bias=0.0,
    ),
    planted(
        "zero bias and a kernel not loaded",
        "near miss",
        "torch gluon",
        PLAIN,
        bias_free(PLAIN, "fc2"),
        "fc2 relu4",
        r"load|initial|copied|weights.{0,40}(differ|other|not)",
        reinitialise("fc2"),
        bias=0.0,
    ),
    planted(
        "a few values clipped, like a border",
        "near miss",
        "torch keras",
        BIG,
        PLAIN,
        "conv1 relu1 pool1",
        "relu|activation|operations between|clip|6|max",
        source_edit=set_slot("conv1", "weight", lambda w: 5 * w),
    ),
    planted(
        "a few values clipped, like a border",
        "near miss",
        "gluon torch",
        PLAIN,
        BIG,
        "conv1 relu1 pool1",
        "relu|activation|operations between|clip|6|max",
        source_edit=set_slot("conv1", "weight", lambda w: 5 * w),
    ),
    planted(
        "softmax in both, and a bias",
        "near miss",
        "torch keras",
        SOFTMAX,
        None,
        "fc2 relu4",
        "bias",
        set_slot("fc2", "bias", np.zeros_like),
    ),
    planted(
        "softmax in both, and the last layer not loaded",
        "near miss",
        "keras gluon",
        SOFTMAX,
        None,
        "fc3 softmax output",
        r"load|initial|copied|weights.{0,40}(differ|other|not)",
        reinitialise("fc3"),
    ),
    planted(
        "1x1 convolution behind a wrong average",
        "near miss",
        "torch gluon",
        PER_PIXEL,
        change(PER_PIXEL, "pool1", include=False),
        "pool1",
        "include|count|pad",
    ),
    planted(
        "1x1 convolution behind a wrong average",
        "near miss",
        "torch keras",
        PER_PIXEL,
        change(PER_PIXEL, "pool1", pad="same"),
        "pool1",
        "include|count|pad|same",
    ),
    planted(
        "behind a flatten, but not its order",
        "near miss",
        "torch keras",
        PLAIN,
        None,
        "fc1 relu3",
        r"load|initial|copied|weights.{0,40}(differ|other|not)",
        reinitialise("fc1"),
    ),
    planted(
        "first kernel, but not BGR",
        "near miss",
        "gluon keras",
        PLAIN,
        None,
        "conv1 relu1",
        r"load|initial|copied|order|permut|weights.{0,40}(differ|other|not)",
        set_slot("conv1", "weight", lambda w: w[::-1]),
    ),
    planted(
        "variance, but not epsilon",
        "near miss",
        "torch keras",
        BOTTLENECK,
        None,
        "bn2 relu2",
        "varian|statistic|running|moving",
        set_slot("bn2", "variance", lambda v: v * 1.01),
    ),
    planted(
        "other epsilon, but another mistake",
        "near miss",
        "keras torch",
        BOTTLENECK,
        change(BOTTLENECK, "bn2", eps=1.001e-5),
        "bn2 relu2",
        "beta|bias|shift",
        set_slot("bn2", "beta", lambda b: b + 0.1),
    ),
    planted(
        "symmetric kernel flipped",
        "agree",
        "torch keras",
        PLAIN,
        None,
        "",
        "",
        set_slot("conv2", "weight", lambda w: w[:, :, ::-1, ::-1]),
        source_edit=set_slot("conv2", "weight", lambda w: (w + w[:, :, ::-1, ::-1]) / 2),
    ),
    planted(
        "kernel rotated by a quarter, but not flipped",
        "near miss",
        "keras torch",
        PLAIN,
        None,
        "conv2 relu2",
        r"rotat|transpos|height|width|weights.{0,40}(differ|other|not)|load",
        set_slot("conv2", "weight", lambda w: np.rot90(w, 1, (2, 3))),
    ),
    planted(
        "squeezed by one pixel, stride instead of padding",
        "near miss",
        "torch gluon",
        INCEPTION,
        change(INCEPTION, "conv2", stride=2),
        "conv2 conv2_act",
        "strid",
    ),
    planted(
        "scaled weights, but not scaled pixels",
        "near miss",
        "torch keras",
        PLAIN,
        None,
        "conv2 relu2",
        r"scal|factor|times|weights.{0,40}(differ|other|not)|load",
        set_slot("conv2", "weight", lambda w: w / 255),
    ),
    planted(
        "shifted pixels, but no bias",
        "near miss",
        "torch gluon",
        PLAIN,
        before(PLAIN, "conv1", scale("shift", 1.0, 0.5)),
        "conv1 relu1",
        "shift|offset|scal|normali|preprocess|operations between X",
    ),
    planted(
        "constant bias on every channel",
        "near miss",
        "keras torch",
        PLAIN,
        None,
        "conv2 relu2",
        "bias",
        all_of(set_slot("conv2", "bias", lambda b: b + 0.25)),
    ),
)
