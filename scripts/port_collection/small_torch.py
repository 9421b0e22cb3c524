"""Builds the small networks in PyTorch."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from port_collection.small import Node, Spec, walk

FUNCTIONS: dict[str, Any] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: F.softmax(x, 1),
}
MODULES: dict[str, Any] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "gelu": nn.GELU,
    "gelu tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(1),
}


class Small(nn.Module):
    """A network from a description. Its layers are attributes; what has no layer is called in `forward`."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        for node in walk(spec):
            if (module := layer(node)) is not None:
                self.add_module(node.name, module)
            if (function := node.get("act")) is not None:
                self.add_module(f"{node.name}_act", MODULES[function]())

    def forward(self, x: Any) -> Any:
        return self.chain(self.spec, x)

    def chain(self, spec: Spec, x: Any) -> Any:
        for node in spec:
            if hasattr(self, node.name):
                x = getattr(self, node.name)(x)
                if node.kind == "global pool":
                    x = torch.flatten(x, 1)
                if node.get("act") is not None:
                    x = getattr(self, f"{node.name}_act")(x)
            elif node.kind == "residual":
                body, shortcut = (self.chain(branch, x) for branch in node.branches)
                x = body + shortcut
            elif node.kind == "concat":
                x = torch.cat([self.chain(branch, x) for branch in node.branches], 1)
            else:
                x = operation(node, x)
        return x


def operation(node: Node, x: Any) -> Any:
    """What a network calls in `forward`."""
    match node.kind:
        case "act":
            return FUNCTIONS[node.get("function")](x)
        case "flatten":
            return torch.flatten(x, 1)
        case "dropout":
            return F.dropout(x)  # as it is often written: it is active in inference too
        case "norm":
            return F.instance_norm(x, eps=node.get("eps", 1e-5))
        case "scale":
            x = x.flip(1) if node.get("reverse") else x
            return x * node.get("factor") + node.get("offset")
        case "shuffle":
            n, c, h, w = x.shape
            return x.reshape(n, node.get("groups"), -1, h, w).transpose(1, 2).reshape(n, c, h, w)
    raise ValueError(node.kind)


def layer(node: Node) -> Any:
    """The module of a node; None for an operation."""
    get = node.get
    match node.kind:
        case "conv":
            return nn.LazyConv2d(
                get("channels") * get("multiplier", 1),
                get("kernel_size"),
                stride=get("stride", 1),
                padding=get("pad", 0),
                dilation=get("dilation", 1),
                groups=get("groups", 1),
                bias=get("bias", True),
                padding_mode=get("padding_mode", "zeros"),
            )
        case "transposed":
            return nn.LazyConvTranspose2d(get("channels"), 3, stride=2, padding=1, output_padding=1)
        case "dense":
            return nn.LazyLinear(get("units"), bias=get("bias", True))
        case "norm":
            return norm_layer(node)
        case "act" if not get("call"):
            if get("function") == "leaky":
                return nn.LeakyReLU(get("slope"))
            return MODULES[get("function")]()
        case "pool":
            options = {"stride": get("stride", get("size")), "padding": get("pad", 0), "ceil_mode": get("ceil", False)}
            if get("kind") == "max":
                return nn.MaxPool2d(get("size"), **options)
            return nn.AvgPool2d(get("size"), count_include_pad=get("include", True), **options)
        case "global pool":
            return (nn.AdaptiveAvgPool2d if get("kind") == "avg" else nn.AdaptiveMaxPool2d)(1)
        case "dropout" if not get("training"):
            return nn.Dropout(0.5)
        case "upsample":
            align_corners = None if get("mode") == "nearest" else get("align_corners", False)
            return nn.Upsample(scale_factor=2, mode=get("mode"), align_corners=align_corners)
    return None


def norm_layer(node: Node) -> Any:
    eps, shape = node.get("eps", 1e-5), node.get("shape")
    match node.get("kind"):
        case "batch":
            return nn.LazyBatchNorm2d(eps, node.get("momentum", 0.1), track_running_stats=not node.get("training"))
        case "group":
            return nn.GroupNorm(node.get("groups"), shape[0], eps)
        case "instance":
            return nn.InstanceNorm2d(shape[0], eps, affine=True)
    return nn.LayerNorm(shape, eps)


def build(spec: Spec, size: int) -> Any:
    """A network for images of this height and width, with initial parameters."""
    net = Small(spec).eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    return net
