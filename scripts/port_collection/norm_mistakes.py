"""Mistakes of norms, of preprocessing, and mistakes that inference does not show."""

from port_collection.planting import all_of, planted, set_slot, swap_slots
from port_collection.small import Spec, before, change, scale
from port_collection.small_nets import BOTTLENECK, MOBILE, PLAIN, RESIDUAL, normed

EPSILON, STATISTICS = r"eps", r"statistic|running|moving|mean|variance"
SCALED = r"scal|255|factor|normali|times|preprocess|operations between X"
GROUP, LAYER, INSTANCE = normed("group"), normed("layer"), normed("instance")
AT_NORM = "norm1 relu1"


def keras_epsilon(spec: Spec, name: str = "norm1") -> Spec:
    """Keras's default epsilon."""
    return change(spec, name, eps=1e-3)


MISTAKES = (
    planted(
        "epsilon of a batch norm",
        "epsilon",
        "torch keras",
        BOTTLENECK,
        keras_epsilon(BOTTLENECK, "bn2"),
        "bn2 relu2",
        EPSILON,
    ),
    planted(
        "epsilon of a batch norm",
        "epsilon",
        "keras gluon",
        RESIDUAL,
        keras_epsilon(RESIDUAL, "a_bn1"),
        "a_bn1 a_relu1",
        EPSILON,
    ),
    planted(
        "epsilon of all batch norms",
        "epsilon",
        "gluon torch",
        BOTTLENECK,
        keras_epsilon(keras_epsilon(keras_epsilon(keras_epsilon(BOTTLENECK, "bn1"), "bn2"), "bn3"), "bn4"),
        "bn1 relu1",
        EPSILON,
    ),
    planted("epsilon of a group norm", "epsilon", "torch keras", GROUP, keras_epsilon(GROUP), AT_NORM, EPSILON),
    planted(
        "epsilon of a group norm",
        "epsilon",
        "keras torch",
        GROUP,
        keras_epsilon(GROUP, "norm2"),
        "norm2 relu2",
        EPSILON,
    ),
    planted("epsilon of a layer norm", "epsilon", "torch keras", LAYER, keras_epsilon(LAYER), AT_NORM, EPSILON),
    planted(
        "epsilon of an instance norm", "epsilon", "torch keras", INSTANCE, keras_epsilon(INSTANCE), AT_NORM, EPSILON
    ),
    planted(
        "epsilon of an instance norm", "epsilon", "torch gluon", INSTANCE, keras_epsilon(INSTANCE), AT_NORM, EPSILON
    ),
    planted(
        "groups of a group norm", "norm", "torch keras", GROUP, change(GROUP, "norm2", groups=2), "norm2 relu2", "group"
    ),
    planted("groups of a group norm", "norm", "keras torch", GROUP, change(GROUP, "norm1", groups=8), AT_NORM, "group"),
    planted(
        "mean and variance swapped",
        "norm",
        "torch keras",
        BOTTLENECK,
        None,
        "bn2 relu2",
        "swap|exchang|mean.*varian",
        swap_slots(("bn2", "mean"), ("bn2", "variance")),
        source_edit=set_slot("bn2", "mean", abs),
    ),
    planted(
        "gamma and beta swapped",
        "norm",
        "torch keras",
        BOTTLENECK,
        None,
        "bn3 relu3",
        "swap|exchang|gamma.*beta",
        swap_slots(("bn3", "gamma"), ("bn3", "beta")),
    ),
    planted(
        "gamma and beta swapped",
        "norm",
        "keras gluon",
        MOBILE,
        None,
        "bn1 relu1",
        "swap|exchang|gamma.*beta",
        swap_slots(("bn1", "gamma"), ("bn1", "beta")),
    ),
    planted(
        "gamma not loaded",
        "norm",
        "gluon torch",
        BOTTLENECK,
        None,
        "bn2 relu2",
        "gamma|scale|weight",
        set_slot("bn2", "gamma", lambda g: 0 * g + 1),
    ),
    planted(
        "stale running statistics",
        "norm",
        "torch keras",
        BOTTLENECK,
        None,
        "bn1 relu1",
        STATISTICS,
        all_of(
            *(
                set_slot(name, slot, function)
                for name in ("bn1", "bn2", "bn3", "bn4")
                for slot, function in (("mean", lambda m: 0 * m), ("variance", lambda v: 0 * v + 1))
            )
        ),
    ),
    planted(
        "stale running statistics",
        "norm",
        "keras torch",
        RESIDUAL,
        None,
        "b_bn3",
        STATISTICS,
        all_of(set_slot("b_bn3", "mean", lambda m: 0 * m), set_slot("b_bn3", "variance", lambda v: 0 * v + 1)),
    ),
    planted(
        "norm in training mode",
        "norm",
        "torch keras",
        BOTTLENECK,
        change(BOTTLENECK, "bn2", training=True),
        "bn2 relu2",
        f"training|batch|{STATISTICS}",
    ),
    planted(
        "norm in training mode",
        "norm",
        "keras torch",
        BOTTLENECK,
        change(BOTTLENECK, "bn3", training=True),
        "bn3 relu3",
        f"training|batch|{STATISTICS}",
    ),
    planted("another momentum", "agree", "torch keras", BOTTLENECK, change(BOTTLENECK, "bn2", momentum=0.01), "", ""),
    planted("another momentum", "agree", "gluon torch", RESIDUAL, change(RESIDUAL, "a_bn1", momentum=0.5), "", ""),
    planted(
        "pixels divided by 255",
        "input",
        "torch keras",
        PLAIN,
        before(PLAIN, "conv1", scale("scale", 1 / 255)),
        "conv1 relu1",
        SCALED,
    ),
    planted(
        "pixels not divided by 255",
        "input",
        "keras torch",
        before(PLAIN, "conv1", scale("scale", 1 / 255)),
        PLAIN,
        "scale conv1 relu1",
        SCALED,
    ),
    planted(
        "normalised twice",
        "input",
        "torch gluon",
        before(BOTTLENECK, "conv1", scale("scale", 4.0, -2.0)),
        before(BOTTLENECK, "conv1", scale("scale", 16.0, -10.0)),
        "conv1 bn1 relu1",
        f"{SCALED}|shift|offset",
    ),
    planted(
        "BGR",
        "input",
        "keras gluon",
        PLAIN,
        before(PLAIN, "conv1", scale("bgr", reverse=True)),
        "conv1 relu1",
        "RGB|BGR|channel|operations between X",
    ),
    planted(
        "BGR",
        "input",
        "torch keras",
        PLAIN,
        before(PLAIN, "conv1", scale("bgr", reverse=True)),
        "conv1 relu1",
        "RGB|BGR|channel|operations between X",
    ),
)
