"""The small networks that mistakes are planted in. Images have 16 by 16 pixels."""

from port_collection.small import (
    Spec,
    act,
    concat,
    conv,
    dense,
    flatten,
    global_pool,
    norm,
    pool,
    residual,
    shuffle,
    transposed,
    upsample,
)

PLAIN: Spec = (
    conv("conv1", 8, pad=1),
    act("relu1"),
    pool("pool1"),
    conv("conv2", 12, pad=1),
    act("relu2"),
    pool("pool2"),
    flatten(),
    dense("fc1", 20),
    act("relu3"),
    dense("fc2", 20),
    act("relu4"),
    dense("fc3", 10),
)
# Activations within the layers, where the framework has that.
FUSED: Spec = (
    conv("conv1", 8, 5, pad=2, act="relu"),
    pool("pool1", "avg"),
    conv("conv2", 16, 3, act="relu"),
    conv("conv3", 16, 3, pad=1, act="relu"),
    pool("pool2", size=3),
    flatten(),
    dense("fc1", 24, act="relu"),
    dense("fc2", 10),
)
BOTTLENECK: Spec = (
    conv("conv1", 8, pad=1, bias=False),
    norm("bn1"),
    act("relu1"),
    conv("conv2", 8, 1, bias=False),
    norm("bn2"),
    act("relu2"),
    conv("conv3", 8, stride=2, pad=1, bias=False),
    norm("bn3"),
    act("relu3"),
    conv("conv4", 16, 1, bias=False),
    norm("bn4"),
    act("relu4"),
    global_pool(),
    dense("fc", 10),
)
MOBILE: Spec = (
    conv("conv1", 8, stride=2, pad=1, bias=False),
    norm("bn1"),
    act("relu1", "relu6"),
    conv("dw1", 8, groups=8, pad=1, bias=False),
    norm("bn2"),
    act("relu2", "relu6"),
    conv("pw1", 12, 1, bias=False),
    norm("bn3"),
    act("relu3", "relu6"),
    conv("dw2", 12, groups=12, stride=2, pad=1, bias=False),
    norm("bn4"),
    act("relu4", "relu6"),
    conv("pw2", 16, 1, bias=False),
    norm("bn5"),
    act("relu5", "relu6"),
    global_pool(),
    dense("fc", 10),
)
RESIDUAL: Spec = (
    conv("conv1", 8, pad=1),
    norm("bn1"),
    act("relu1"),
    pool("pool1", size=3, stride=2, pad=1),
    residual(
        "add1",
        (
            conv("a_conv1", 8, pad=1),
            norm("a_bn1"),
            act("a_relu1"),
            conv("a_conv2", 8, pad=1),
            norm("a_bn2"),
        ),
    ),
    act("relu2"),
    residual(
        "add2",
        (
            conv("b_conv1", 16, stride=2, pad=1),
            norm("b_bn1"),
            act("b_relu1"),
            conv("b_conv2", 16, pad=1),
            norm("b_bn2"),
        ),
        (conv("b_conv3", 16, 1, stride=2), norm("b_bn3")),
    ),
    act("relu3"),
    global_pool(),
    dense("fc", 10),
)
INCEPTION: Spec = (
    conv("conv1", 8, pad=1, act="relu"),
    pool("pool1"),
    concat(
        "join",
        (conv("b1_1", 8, 1, act="relu"),),
        (conv("b2_1", 6, 1, act="relu"), conv("b2_2", 8, 3, pad=1, act="relu")),
        (conv("b3_1", 4, 1, act="relu"), conv("b3_2", 8, 5, pad=2, act="relu")),
        (pool("b4_1", "avg", size=3, stride=1, pad=1), conv("b4_2", 8, 1, act="relu")),
    ),
    conv("conv2", 16, 3, act="relu"),
    global_pool(),
    dense("fc", 10),
)
UPSAMPLER: Spec = (
    conv("conv1", 8, stride=2, pad=1),
    act("relu1"),
    upsample("up1", "bilinear"),
    conv("conv2", 8, pad=1),
    act("relu2"),
    pool("pool1"),
    upsample("up2", "nearest"),
    conv("conv3", 8, pad=1),
    act("relu3"),
    global_pool(),
    dense("fc", 10),
)
TRANSPOSED: Spec = (
    conv("conv1", 8, stride=2, pad=1),
    act("relu1"),
    transposed("up1", 8),
    act("relu2"),
    conv("conv2", 12, pad=1),
    act("relu3"),
    global_pool(),
    dense("fc", 10),
)
SHUFFLER: Spec = (
    conv("conv1", 16, pad=1),
    norm("bn1"),
    act("relu1"),
    conv("conv2", 16, 1, groups=4),
    norm("bn2"),
    act("relu2"),
    shuffle("shuffle", 4),
    conv("conv3", 16, groups=16, pad=1, stride=2),
    norm("bn3"),
    conv("conv4", 16, 1, groups=4),
    norm("bn4"),
    act("relu4"),
    global_pool(),
    dense("fc", 10),
)


def normed(kind: str, groups: int = 4, eps: float = 1e-5) -> Spec:
    """Two convolutions, each with a norm of one kind behind it."""
    shape = {"layer": ((8, 16, 16), (16, 8, 8))}.get(kind, ((8,), (16,)))
    options = {"groups": groups, "eps": eps}
    return (
        conv("conv1", 8, pad=1),
        norm("norm1", kind, shape=shape[0], **options),
        act("relu1"),
        pool("pool1"),
        conv("conv2", 16, pad=1),
        norm("norm2", kind, shape=shape[1], **options),
        act("relu2"),
        global_pool(),
        dense("fc", 10),
    )
