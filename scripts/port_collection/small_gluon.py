"""Builds the small networks in Gluon, with `mx.nd`."""

from typing import Any

import mxnet
from mxnet import nd
from mxnet.gluon import nn

from port_collection.frameworks import numpy_arrays
from port_collection.small import Node, Spec, walk

FUNCTIONS: dict[str, Any] = {
    "relu": nd.relu,
    "relu6": lambda x: nd.clip(x, 0, 6),
    "gelu": lambda x: nd.LeakyReLU(x, act_type="gelu"),
    "gelu tanh": lambda x: 0.5 * x * (1 + nd.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
    "silu": lambda x: x * nd.sigmoid(x),
    "sigmoid": nd.sigmoid,
    "tanh": nd.tanh,
    "softmax": lambda x: nd.softmax(x, axis=1),
}
ACTIVATIONS = ("relu", "sigmoid", "tanh")  # those that a Gluon layer applies itself


class Small(nn.Block):
    """A network from a description. Its layers are children; what has no layer is called in `forward`."""

    def __init__(self, spec: Spec):
        super().__init__(prefix="")
        self.spec = spec
        for node in walk(spec):
            if (block := layer(node)) is not None:
                setattr(self, node.name, block)

    def forward(self, x: Any) -> Any:
        return self.chain(self.spec, x)

    def chain(self, spec: Spec, x: Any) -> Any:
        for node in spec:
            if isinstance(getattr(self, node.name, None), nn.Block):
                x = getattr(self, node.name)(x)
            elif node.kind == "residual":
                body, shortcut = (self.chain(branch, x) for branch in node.branches)
                x = body + shortcut
            elif node.kind == "concat":
                x = nd.concat(*(self.chain(branch, x) for branch in node.branches), dim=1)
            else:
                x = operation(node, x)
        return x


def operation(node: Node, x: Any) -> Any:
    """What a network calls in `forward`."""
    get = node.get
    match node.kind:
        case "act":
            if get("function") == "leaky":
                return nd.LeakyReLU(x, act_type="leaky", slope=get("slope"))
            return FUNCTIONS[get("function")](x)
        case "dropout":
            return nd.Dropout(x, p=0.5, mode="always")
        case "upsample":
            if get("mode") == "nearest":
                return nd.UpSampling(x, scale=2, sample_type="nearest")
            size = {"height": 2 * x.shape[2], "width": 2 * x.shape[3]}
            return nd.contrib.BilinearResize2D(x, align_corners=get("align_corners", False), **size)
        case "scale":
            x = nd.reverse(x, axis=1) if get("reverse") else x
            return x * get("factor") + get("offset")
        case "shuffle":
            n, c, h, w = x.shape
            return x.reshape((n, get("groups"), -1, h * w)).swapaxes(1, 2).reshape((n, c, h, w))
    raise ValueError(node.kind)


def layer(node: Node) -> Any:
    """The block of a node; None for an operation."""
    get, named = node.get, {"prefix": f"{node.name}_"}
    match node.kind:
        case "conv":
            return nn.Conv2D(
                get("channels") * get("multiplier", 1),
                get("kernel_size"),
                strides=get("stride", 1),
                padding=get("pad", 0),
                dilation=get("dilation", 1),
                groups=get("groups", 1),
                use_bias=get("bias", True),
                activation=get("act"),
                **named,
            )
        case "transposed":
            return nn.Conv2DTranspose(get("channels"), 3, strides=2, padding=1, output_padding=1, **named)
        case "dense":
            return nn.Dense(get("units"), use_bias=get("bias", True), activation=get("act"), **named)
        case "norm" if not get("training"):
            eps = get("eps", 1e-5)
            match get("kind"):
                case "batch":
                    return nn.BatchNorm(epsilon=eps, momentum=1 - get("momentum", 0.1), **named)
                case "group":
                    return nn.GroupNorm(get("groups"), epsilon=eps, **named)
            return nn.InstanceNorm(epsilon=eps, **named)
        case "act" if get("function") in ACTIVATIONS and not get("call"):
            return nn.Activation(get("function"), **named)
        case "pool":
            options = {
                "pool_size": get("size"),
                "strides": get("stride", get("size")),
                "padding": get("pad", 0),
                "ceil_mode": get("ceil", False),
            }
            if get("kind") == "max":
                return nn.MaxPool2D(**options, **named)
            return nn.AvgPool2D(count_include_pad=get("include", True), **options, **named)
        case "global pool":
            return (nn.GlobalAvgPool2D if get("kind") == "avg" else nn.GlobalMaxPool2D)(**named)
        case "flatten":
            return nn.Flatten(**named)
        case "dropout" if not get("training"):
            return nn.Dropout(0.5, **named)
    return None


def build(spec: Spec, size: int) -> Any:
    """A network for images of this height and width, with initial parameters."""
    with numpy_arrays(False):
        net = Small(spec)
        net.initialize()
        net(mxnet.nd.zeros((1, 3, size, size)))
    return net
