"""The layers of a description as lines of a program, in the words of each framework."""

from __future__ import annotations

from typing import NamedTuple

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool


class Line(NamedTuple):
    """A line of a program that adds a layer; `layer` is the layer of the description whose output it gives.

    `layer` is None for a line that only prepares or completes a layer: an activation in PyTorch, zeros in Keras.
    """

    text: str
    layer: str | None


def torch_lines(architecture: Architecture) -> list[Line]:
    """The arguments of `nn.Sequential`."""
    activations = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}
    lines = []
    flattened: tuple[int, ...] = ()
    for name, layer in architecture.named_layers.items():
        # PyTorch needs the input size of each layer: its channels or features.
        shape = architecture.input_shapes[name]
        match layer:
            case Conv(channels, k, padding):
                text = f"nn.Conv2d({shape[0]}, {channels}, kernel_size={k}{_padding(padding)})"
            case Pool(kind, k, stride):
                text = f"nn.{kind.title()}Pool2d(kernel_size={k}, stride={stride})"
            case Flatten():
                text = "nn.Flatten()"
            case Dense(units):
                features = " * ".join(map(str, flattened or shape))
                text = f"nn.Linear({features}, {units})"
        flattened = shape if isinstance(layer, Flatten) else ()
        lines.append(Line(text, name))
        if isinstance(layer, Conv | Dense) and layer.activation:
            lines.append(Line(f"nn.{activations[layer.activation]}()", None))
    return lines


def keras_lines(architecture: Architecture) -> list[Line]:
    """The list of layers for `keras.Sequential`, after its `Input`."""
    lines = []
    poolings = {"avg": "AveragePooling2D", "max": "MaxPooling2D"}
    for name, layer in architecture.named_layers.items():
        match layer:
            case Conv(channels, k, padding, activation):
                # Keras has a name for one padding only.
                same = 0 < 2 * padding == k - 1
                if padding and not same:
                    lines.append(Line(f"layers.ZeroPadding2D({padding})", None))
                text = f"layers.Conv2D({channels}, kernel_size={k}"
                text += (', padding="same"' if same else "") + _activation(activation) + ")"
            case Pool(kind, k, stride):
                text = f"layers.{poolings[kind]}(pool_size={k}, strides={stride})"
            case Flatten():
                text = "layers.Flatten()"
            case Dense(units, activation):
                text = f"layers.Dense({units}{_activation(activation)})"
        lines.append(Line(text, name))
    return lines


def gluon_lines(architecture: Architecture) -> list[Line]:
    """The arguments of `net.add`."""
    lines = []
    for name, layer in architecture.named_layers.items():
        match layer:
            case Conv(channels, k, padding, activation):
                text = f"nn.Conv2D({channels}, kernel_size={k}{_padding(padding)}{_activation(activation)})"
            case Pool(kind, k, stride):
                text = f"nn.{kind.title()}Pool2D(pool_size={k}, strides={stride})"
            case Flatten():
                text = "nn.Flatten()"
            case Dense(units, activation):
                text = f"nn.Dense({units}{_activation(activation)})"
        lines.append(Line(text, name))
    return lines


def _padding(padding: int) -> str:
    return f", padding={padding}" if padding else ""


def _activation(activation: str | None) -> str:
    return f', activation="{activation}"' if activation else ""
