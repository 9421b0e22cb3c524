"""Builds the small networks in Keras, channels last."""

from typing import Any

import keras
from keras import activations, layers, ops

from port_collection.frameworks import keras_network
from port_collection.small import Node, Spec

FUNCTIONS: dict[str, Any] = {
    "relu": activations.relu,
    "relu6": activations.relu6,
    "gelu": activations.gelu,
    "gelu tanh": lambda x: activations.gelu(x, approximate=True),
    "silu": activations.silu,
    "hardswish": activations.hard_silu,
    "sigmoid": activations.sigmoid,
    "hardsigmoid": activations.hard_sigmoid,
    "tanh": activations.tanh,
    "softmax": activations.softmax,
}


class MonteCarloDropout(layers.Dropout):
    """Dropout that is active in inference too."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(inputs, training=True)


class BatchStatistics(layers.BatchNormalization):
    """A norm that never uses its running statistics."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=True, mask=mask)


def build(spec: Spec, size: int) -> Any:
    """A model for images of this height and width, with initial parameters."""

    def make() -> Any:
        inputs = keras.Input((size, size, 3))
        return keras.Model(inputs, chain(spec, inputs))

    return keras_network(make)


def chain(spec: Spec, x: Any) -> Any:
    for node in spec:
        x = apply(node, x)
    return x


def apply(node: Node, x: Any) -> Any:
    """Apply a layer or an operation."""
    get = node.get
    match node.kind:
        case "conv":
            return convolution(node, x)
        case "transposed":
            if get("pad") == "same":
                return layers.Conv2DTranspose(get("channels"), 3, strides=2, padding="same", name=node.name)(x)
            x = layers.Conv2DTranspose(get("channels"), 3, strides=2, name=node.name)(x)
            return layers.Cropping2D(((1, 0), (1, 0)))(x)
        case "dense":
            return layers.Dense(get("units"), activation=get("act"), use_bias=get("bias", True), name=node.name)(x)
        case "norm":
            return normalize(node, x)
        case "act":
            return activate(node, x)
        case "pool":
            return pooled(node, x)
        case "global pool":
            kind = layers.GlobalAveragePooling2D if get("kind") == "avg" else layers.GlobalMaxPooling2D
            return kind(name=node.name)(x)
        case "flatten":
            return layers.Flatten(name=node.name)(x)
        case "dropout":
            return (MonteCarloDropout if get("training") else layers.Dropout)(0.5, name=node.name)(x)
        case "upsample":
            return layers.UpSampling2D(2, interpolation=get("mode"), name=node.name)(x)
        case "scale":
            x = x[..., ::-1] if get("reverse") else x
            if (get("factor"), get("offset")) == (1.0, 0.0):
                return x
            return layers.Rescaling(get("factor"), get("offset"), name=node.name)(x)
        case "shuffle":
            _, h, w, c = x.shape
            x = ops.reshape(x, (-1, h, w, get("groups"), c // get("groups")))
            return ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, h, w, c))
        case "residual":
            return layers.Add(name=node.name)([chain(branch, x) for branch in node.branches])
        case "concat":
            return layers.Concatenate(name=node.name)([chain(branch, x) for branch in node.branches])
    raise ValueError(node.kind)


def convolution(node: Node, x: Any) -> Any:
    """A convolution; PyTorch's padding is Keras's `same` only with stride 1."""
    get = node.get
    pad, stride, size, dilation = get("pad", 0), get("stride", 1), get("kernel_size"), get("dilation", 1)
    if pad == "both":
        x, pad = layers.ZeroPadding2D(size // 2, name=f"{node.name}_pad")(x), "same"
    elif pad != "same":
        if pad and (stride > 1 or 2 * pad != dilation * (size - 1)):
            x, pad = layers.ZeroPadding2D(pad, name=f"{node.name}_pad")(x), 0
        pad = "same" if pad else "valid"
    options = {
        "strides": stride,
        "padding": pad,
        "dilation_rate": dilation,
        "use_bias": get("bias", True),
        "activation": get("act"),
        "name": node.name,
    }
    if get("groups", 1) == get("channels") > 1:
        return layers.DepthwiseConv2D(size, depth_multiplier=get("multiplier", 1), **options)(x)
    return layers.Conv2D(get("channels"), size, groups=get("groups", 1), **options)(x)


def normalize(node: Node, x: Any) -> Any:
    get, eps = node.get, node.get("eps", 1e-5)
    match get("kind"):
        case "batch":
            kind = BatchStatistics if get("training") else layers.BatchNormalization
            return kind(-1, 1 - get("momentum", 0.1), eps, name=node.name)(x)
        case "group":
            return layers.GroupNormalization(get("groups"), epsilon=eps, name=node.name)(x)
        case "instance":
            return layers.GroupNormalization(-1, epsilon=eps, name=node.name)(x)
    return layers.LayerNormalization((1, 2, 3), epsilon=eps, name=node.name)(x)


def activate(node: Node, x: Any) -> Any:
    function = node.get("function")
    if node.get("call"):
        return FUNCTIONS[function](x)
    if function == "leaky":
        return layers.LeakyReLU(negative_slope=node.get("slope"), name=node.name)(x)
    if function == "relu6":
        return layers.ReLU(max_value=6, name=node.name)(x)
    if function == "softmax":
        return layers.Softmax(name=node.name)(x)
    return layers.Activation(FUNCTIONS[function], name=node.name)(x)


def pooled(node: Node, x: Any) -> Any:
    """A pooling; a maximum may be padded with zeros only behind a ReLU."""
    get = node.get
    pad = get("pad", 0)
    if pad and pad != "same":
        x = layers.ZeroPadding2D(pad, name=f"{node.name}_pad")(x)
    kind = layers.MaxPooling2D if get("kind") == "max" else layers.AveragePooling2D
    padding = "same" if pad == "same" else "valid"
    return kind(get("size"), get("stride", get("size")), padding, name=node.name)(x)
