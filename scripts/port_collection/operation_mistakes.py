"""Mistakes of activations, branches and dropout; several mistakes at once."""

from dataclasses import replace

from port_collection.planting import Edit, all_of, planted, reinitialise, set_slot, swap_layers
from port_collection.small import (
    Spec,
    act,
    after,
    change,
    drop,
    dropout,
    edit,
    exchange,
    put,
)
from port_collection.small_nets import BOTTLENECK, FUSED, INCEPTION, MOBILE, PLAIN, RESIDUAL, SHUFFLER, normed

ACTIVATION = r"activation|relu|gelu|silu|swish|sigmoid|softmax|operations between|clip|negative"
CALLED = tuple(replace(node, options={**node.options, "call": True}) if node.kind == "act" else node for node in PLAIN)
GELU, LEAKY = change(PLAIN, "relu2", function="gelu"), change(PLAIN, "relu1", function="leaky", slope=0.01)
BIG = change(BOTTLENECK, "relu1", function="relu6")
SOFTMAX = after(PLAIN, "fc3", act("softmax", "softmax"))
DROPOUT = after(PLAIN, "relu3", dropout("drop"))


def without_shortcut(spec: Spec, name: str) -> Spec:
    """The block's body alone."""
    return edit(spec, name, lambda node: node.branches[0])


def with_branches(spec: Spec, name: str, *order: int) -> Spec:
    """The branches in another order."""
    return edit(spec, name, lambda node: (replace(node, branches=tuple(node.branches[i] for i in order)),))


def scaled(name: str, factor: float) -> Edit:
    """Multiply a layer's or norm's scale, so that activations become large enough to be clipped."""
    return set_slot(name, "gamma" if name.startswith(("bn", "norm")) else "weight", lambda value: factor * value)


MISTAKES = (
    planted(
        "relu forgotten", "activation", "torch keras", PLAIN, drop(PLAIN, "relu2"), "conv2 relu2 pool2", ACTIVATION
    ),
    planted(
        "relu forgotten",
        "activation",
        "keras torch",
        FUSED,
        change(FUSED, "conv3", act=None),
        "conv3 pool2",
        ACTIVATION,
    ),
    planted("called relu forgotten", "activation", "torch keras", CALLED, drop(CALLED, "relu3"), "fc1 fc2", ACTIVATION),
    planted(
        "called relu forgotten", "activation", "keras gluon", CALLED, drop(CALLED, "relu1"), "conv1 pool1", ACTIVATION
    ),
    planted(
        "relu after the sum forgotten",
        "activation",
        "torch gluon",
        RESIDUAL,
        drop(RESIDUAL, "relu2"),
        "add1 relu2 b_conv1 b_conv3",
        f"{ACTIVATION}",
    ),
    planted(
        "relu for relu6",
        "activation",
        "torch keras",
        BIG,
        change(BIG, "relu1", function="relu"),
        "bn1 relu1 conv2",
        f"{ACTIVATION}|6",
        source_edit=scaled("bn1", 6),
    ),
    planted(
        "relu6 for relu",
        "activation",
        "gluon torch",
        BOTTLENECK,
        BIG,
        "bn1 relu1 conv2",
        f"{ACTIVATION}|6",
        source_edit=scaled("bn1", 6),
    ),
    planted("relu for gelu", "activation", "torch keras", GELU, PLAIN, "conv2 relu2 pool2", ACTIVATION),
    planted(
        "silu for relu",
        "activation",
        "keras torch",
        PLAIN,
        change(PLAIN, "relu1", function="silu"),
        "conv1 relu1 pool1",
        ACTIVATION,
    ),
    planted(
        "gelu by tanh",
        "activation",
        "torch keras",
        GELU,
        change(GELU, "relu2", function="gelu tanh"),
        "conv2 relu2 pool2",
        f"{ACTIVATION}|tanh|erf|approx",
    ),
    planted(
        "gelu by tanh",
        "activation",
        "gluon torch",
        GELU,
        change(GELU, "relu2", function="gelu tanh"),
        "conv2 relu2 pool2",
        f"{ACTIVATION}|tanh|erf|approx",
    ),
    planted(
        "slope of a leaky relu",
        "activation",
        "torch keras",
        LEAKY,
        change(LEAKY, "relu1", slope=0.3),
        "conv1 relu1 pool1",
        f"slope|leak|alpha|{ACTIVATION}",
    ),
    planted(
        "slope of a leaky relu",
        "activation",
        "keras gluon",
        LEAKY,
        change(LEAKY, "relu1", slope=0.25),
        "conv1 relu1 pool1",
        f"slope|leak|alpha|{ACTIVATION}",
    ),
    planted(
        "hard sigmoid for sigmoid",
        "activation",
        "torch keras",
        change(PLAIN, "relu3", function="sigmoid"),
        change(PLAIN, "relu3", function="hardsigmoid"),
        "fc1 relu3 fc2",
        ACTIVATION,
    ),
    planted("softmax missing", "output", "keras torch", SOFTMAX, PLAIN, "fc3 softmax output", "softmax"),
    planted("softmax missing", "output", "torch keras", SOFTMAX, PLAIN, "fc3 softmax output", "softmax"),
    planted("softmax too many", "output", "gluon keras", PLAIN, SOFTMAX, "fc3 output", "softmax"),
    planted(
        "softmax twice",
        "output",
        "torch keras",
        SOFTMAX,
        after(SOFTMAX, "softmax", act("again", "softmax")),
        "softmax output fc3",
        "twice|two|second|again|already|more|extra",
    ),
    planted(
        "sigmoid for softmax",
        "output",
        "torch keras",
        SOFTMAX,
        change(SOFTMAX, "softmax", function="sigmoid"),
        "fc3 softmax output",
        "sigmoid|softmax|activation",
    ),
    planted(
        "sigmoid for softmax",
        "output",
        "keras gluon",
        SOFTMAX,
        change(SOFTMAX, "softmax", function="sigmoid"),
        "fc3 softmax output",
        "sigmoid|softmax|activation",
    ),
    planted(
        "residual sum forgotten",
        "branches",
        "torch keras",
        RESIDUAL,
        without_shortcut(RESIDUAL, "add1"),
        "add1 relu2 b_conv1 b_conv3",
        "add|sum|residual|shortcut|skip|operations between",
    ),
    planted(
        "residual sum forgotten",
        "branches",
        "keras torch",
        RESIDUAL,
        without_shortcut(RESIDUAL, "add1"),
        "add1 relu2 b_conv1 b_conv3",
        "add|sum|residual|shortcut|skip|operations between",
    ),
    planted(
        "branches in another order",
        "branches",
        "torch keras",
        INCEPTION,
        with_branches(INCEPTION, "join", 0, 2, 1, 3),
        "join conv2",
        "order|concat|branch|permut|operations between",
    ),
    planted(
        "branches in another order",
        "branches",
        "gluon torch",
        INCEPTION,
        with_branches(INCEPTION, "join", 3, 0, 1, 2),
        "join conv2",
        "order|concat|branch|permut|operations between",
    ),
    planted(
        "shuffle forgotten",
        "branches",
        "torch keras",
        SHUFFLER,
        drop(SHUFFLER, "shuffle"),
        "relu2 conv3",
        "shuffle|order|permut|channel|operations between",
    ),
    planted(
        "shuffle with other groups",
        "branches",
        "gluon torch",
        SHUFFLER,
        change(SHUFFLER, "shuffle", groups=2),
        "relu2 conv3",
        "shuffle|order|permut|channel|operations between",
    ),
    planted(
        "dropout left on",
        "dropout",
        "torch keras",
        DROPOUT,
        change(DROPOUT, "drop", training=True),
        "drop relu3 fc2",
        "drop|random|training|determin|operations between|zero",
    ),
    planted(
        "dropout left on",
        "dropout",
        "keras torch",
        DROPOUT,
        change(DROPOUT, "drop", training=True),
        "drop relu3 fc1 fc2",
        "drop|random|training|determin|operations between|zero",
    ),
    planted(
        "dropout left on",
        "dropout",
        "torch gluon",
        DROPOUT,
        change(DROPOUT, "drop", training=True),
        "drop relu3 fc2",
        "drop|random|training|determin|operations between|zero",
    ),
    planted(
        "activation before the norm",
        "order",
        "torch keras",
        BOTTLENECK,
        exchange(BOTTLENECK, "bn2", "relu2"),
        "conv2 bn2 relu2 conv3",
        f"order|before|{ACTIVATION}",
    ),
    planted(
        "activation before the norm",
        "order",
        "keras torch",
        normed("group"),
        exchange(normed("group"), "norm1", "relu1"),
        "conv1 norm1 relu1 pool1",
        f"order|before|{ACTIVATION}",
    ),
    planted(
        "one more activation",
        "order",
        "torch gluon",
        BOTTLENECK,
        after(BOTTLENECK, "bn3", act("again", "tanh")),
        "bn3 relu3 conv4",
        f"{ACTIVATION}|tanh|extra",
    ),
    planted(
        "padding, and a convolution not loaded",
        "two at once",
        "torch keras",
        MOBILE,
        change(MOBILE, "conv1", pad="same"),
        "conv1 bn1 relu1",
        "pad|same|border",
        reinitialise("pw2"),
        second=("pw2 bn5 relu5", r"load|initial|weights|kernel"),
    ),
    planted(
        "epsilon, and the order of the flatten",
        "two at once",
        "torch keras",
        put(PLAIN, "relu1", *[n for n in normed("batch") if n.name in ("norm1", "relu1")]),
        change(put(PLAIN, "relu1", *[n for n in normed("batch") if n.name in ("norm1", "relu1")]), "norm1", eps=1e-3),
        "norm1 relu1",
        "eps",
        set_slot("fc1", "weight", lambda w: w.reshape(-1, 4, 4, 12).transpose(0, 3, 1, 2).reshape(w.shape)),
        second=("fc1 relu3", "flatten"),
    ),
    planted(
        "stride, and two convolutions swapped",
        "two at once",
        "keras gluon",
        RESIDUAL,
        change(change(RESIDUAL, "b_conv1", stride=1), "b_conv3", stride=1),
        "a_conv1 a_bn1 a_relu1",
        r"swap|exchang|agree.{0,60}with|belong|weights of",
        swap_layers("a_conv1", "a_conv2"),
        second=("b_conv1 b_conv3 b_bn1 b_bn3 b_relu1", "strid"),
    ),
    planted(
        "pooling, and a bias",
        "two at once",
        "gluon torch",
        PLAIN,
        change(PLAIN, "pool1", kind="avg"),
        "pool1",
        "average|avg|max",
        all_of(set_slot("fc2", "bias", lambda b: 0 * b)),
        second=("fc2 relu4", "bias"),
    ),
)
