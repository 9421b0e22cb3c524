"""The description of a network, independent of any framework.

An `Architecture` is an immutable list of layers with an input shape. It determines the output shape of each layer, the
names, shapes and number of the parameters, and the number of multiply-adds. Every backend builds its network from it.
Shapes are channels first, (C, H, W), without the batch dimension.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import Any, cast

from lenet_multi.errors import UserError

ACTIVATIONS = ("sigmoid", "tanh", "relu")
POOLINGS = ("avg", "max")
NUM_CLASSES = 10  # of Fashion-MNIST and MNIST

# A description can come from a file of unknown origin. These limits keep its check quick and its network computable.
MAX_SIZE = 2**31  # MXNet supports only arrays with fewer elements
MAX_SIDE = 2**16  # of a kernel, a stride or a padding; an image with two longer sides has more than MAX_SIZE pixels
MAX_LAYERS = 1000
MAX_OPERATIONS = 10**12  # for one example; LeNet-5 has 4 * 10**5, and a core may take a minute for the most

Shape = tuple[int, ...]


class ArchitectureError(UserError, ValueError):
    """The description is not a valid network; the message names the layer."""


@dataclass(frozen=True)
class Conv:
    """A two-dimensional convolution (cross-correlation) with stride 1, a bias and a square kernel.

    It adds `padding` zeros on each of the four sides. `activation` is one of `ACTIVATIONS`, or None for no activation.
    """

    channels: int
    kernel_size: int
    padding: int = 0
    activation: str | None = None


@dataclass(frozen=True)
class Pool:
    """Average or maximum pooling over square windows; `kind` is one of `POOLINGS`.

    Pixels at the edge that do not fill a window are ignored.
    """

    kind: str
    kernel_size: int
    stride: int


@dataclass(frozen=True)
class Flatten:
    """(C, H, W) to (C * H * W,), channel-major: the channel is the slowest index."""


@dataclass(frozen=True)
class Dense:
    """A fully connected layer with a bias. `activation` is one of `ACTIVATIONS`, or None for no activation."""

    units: int
    activation: str | None = None


Layer = Conv | Pool | Flatten | Dense
_KINDS: dict[str, type[Layer]] = {"conv": Conv, "pool": Pool, "flatten": Flatten, "dense": Dense}


def kind_of(layer: Layer) -> str:
    """The layer's kind: `conv`, `pool`, `flatten` or `dense`."""
    return type(layer).__name__.lower()


@dataclass(frozen=True)
class Architecture:
    """A network like LeNet: convolutions and poolings, one flatten layer, dense layers; the last outputs the logits.

    Args:
        input_shape: (C, H, W) of one example.
        layers: the layers in order.

    Raises:
        ArchitectureError: if a layer does not fit its input; the message names the layer.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        object.__setattr__(self, "layers", tuple(self.layers))
        if len(self.input_shape) != 3:
            raise ArchitectureError(
                f"input shape of {len(self.input_shape)} numbers: expected (channels, height, width)"
            )
        for name, size in zip(("channels", "height", "width"), self.input_shape, strict=True):
            _require_count("input", name, size, minimum=1)
        _require_size("input", "image", self.input_shape)
        if len(self.layers) > MAX_LAYERS:
            raise ArchitectureError(f"{len(self.layers):,} layers, expected at most {MAX_LAYERS:,}")
        for name, sizes in self.parameter_shapes.items():
            if prod(sizes) >= MAX_SIZE:
                layer_name = name.partition(".")[0]
                raise ArchitectureError(
                    f"layer {layer_name}: {prod(sizes):,} weights, expected fewer than {MAX_SIZE:,}"
                )
        last = self.layers[-1] if self.layers else None
        if not isinstance(last, Dense) or last.activation is not None:
            raise ArchitectureError(
                "the last layer must output the logits: expected a dense layer without activation, "
                f"got {last if last else 'no layer'}"
            )
        if self.operations > MAX_OPERATIONS:
            raise ArchitectureError(
                f"{self.operations:,} operations for one example, expected at most {MAX_OPERATIONS:,}: choose smaller "
                "windows, or fewer channels or units"
            )

    @property
    def name(self) -> str:
        """The name of the preset with these layers, for images of any size and any number of classes, or `custom`."""
        hidden = self.layers[:-1]
        return next((name for name, preset in PRESETS.items() if preset.layers[:-1] == hidden), "custom")

    @property
    def num_classes(self) -> int:
        """The number of logits."""
        return cast(Dense, self.layers[-1]).units

    def for_data(self, input_shape: tuple[int, int, int], num_classes: int) -> Architecture:
        """The same layers for other data: another input shape, and another number of logits.

        Raises:
            ArchitectureError: if the layers do not fit the input shape; the message names the layer.
        """
        return Architecture(input_shape, (*self.layers[:-1], Dense(num_classes)))

    @cached_property
    def named_layers(self) -> dict[str, Layer]:
        """The layers by name, in order: `conv1`, `pool1`, `conv2`, ..., `flatten`, `dense1`, ..."""
        named: dict[str, Layer] = {}
        numbers: Counter[type[Layer]] = Counter()
        for position, layer in enumerate(self.layers):
            if type(layer) not in _KINDS.values():
                raise ArchitectureError(f"layer {position + 1}: {layer!r} is not a Conv, Pool, Flatten or Dense")
            numbers[type(layer)] += 1
            number = numbers[type(layer)]
            named["flatten" if isinstance(layer, Flatten) and number == 1 else f"{kind_of(layer)}{number}"] = layer
        return named

    @cached_property
    def output_shapes(self) -> dict[str, Shape]:
        """The output shape of each layer for one example, by name: (C, H, W), or (units,) from flatten on."""
        shapes: dict[str, Shape] = {}
        shape: Shape = self.input_shape
        for name, layer in self.named_layers.items():
            shape = shapes[name] = _output_shape(name, layer, shape)
        return shapes

    @cached_property
    def input_shapes(self) -> dict[str, Shape]:
        """The input shape of each layer for one example, by name."""
        return dict(zip(self.named_layers, [self.input_shape, *self.output_shapes.values()], strict=False))

    @cached_property
    def parameter_shapes(self) -> dict[str, Shape]:
        """The canonical shape of each parameter, by name, in order.

        Convolutions have a `weight` (out, in, height, width), dense layers a `weight` (out, in), and both a `bias`
        (out,). The first dense layer expects its input flattened channel-major.
        """
        shapes: dict[str, Shape] = {}
        inputs = self.input_shapes
        for name, layer in self.named_layers.items():
            if isinstance(layer, Conv):
                shapes[f"{name}.weight"] = (layer.channels, inputs[name][0], layer.kernel_size, layer.kernel_size)
                shapes[f"{name}.bias"] = (layer.channels,)
            elif isinstance(layer, Dense):
                shapes[f"{name}.weight"] = (layer.units, inputs[name][0])
                shapes[f"{name}.bias"] = (layer.units,)
        return shapes

    @property
    def num_parameters(self) -> int:
        """The number of weights and biases."""
        return sum(prod(shape) for shape in self.parameter_shapes.values())

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of all convolutions and dense layers in the forward pass of one example, without biases."""
        outputs = self.output_shapes
        weights = {name.removesuffix(".weight"): s for name, s in self.parameter_shapes.items() if "weight" in name}
        return sum(prod(shape) * prod(outputs[layer][1:]) for layer, shape in weights.items())

    @property
    def operations(self) -> int:
        """The multiply-adds, and the pixels in all windows of the poolings."""
        pools = ((name, layer) for name, layer in self.named_layers.items() if isinstance(layer, Pool))
        return self.multiply_adds + sum(layer.kernel_size**2 * prod(self.output_shapes[name]) for name, layer in pools)

    def to_dict(self) -> dict[str, Any]:
        """The description as a dictionary that JSON can store."""
        layers = [{"layer": kind_of(layer), **asdict(layer)} for layer in self.layers]
        return {"name": self.name, "input_shape": list(self.input_shape), "layers": layers}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Architecture:
        """The inverse of `to_dict`.

        Raises:
            ArchitectureError: if the dictionary is not a description, or its network is not valid.
        """
        try:
            layers = tuple(
                _KINDS[layer["layer"]](**{key: value for key, value in layer.items() if key != "layer"})
                for layer in described["layers"]
            )
            return cls(tuple(described["input_shape"]), layers)
        except (KeyError, TypeError, AttributeError) as problem:
            raise ArchitectureError(f"not the description of a network ({str(problem)[:200]})") from problem


def _shown(value: Any) -> str:
    """A value in an error message, shortened: Python does not write whole numbers of more than 4,300 digits."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "of more than 20 digits"
    return repr(value) if isinstance(value, int | float) else reprlib.repr(value)


def _require_count(layer: str, what: str, value: Any, minimum: int, maximum: int = 10**18) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ArchitectureError(f"layer {layer}: {what} {_shown(value)}, expected a whole number of at least {minimum}")
    if value > maximum:
        raise ArchitectureError(f"layer {layer}: {what} {_shown(value)}, expected at most {maximum:,}")


def _require_size(layer: str, what: str, shape: Shape) -> None:
    if prod(shape) >= MAX_SIZE:
        raise ArchitectureError(
            f"layer {layer}: its {what} for one example has {prod(shape):,} numbers, expected fewer than {MAX_SIZE:,}"
        )


def _require_activation(layer: str, activation: Any) -> None:
    if activation is not None and activation not in ACTIVATIONS:
        expected = ", ".join(ACTIVATIONS)
        raise ArchitectureError(f"layer {layer}: activation {_shown(activation)}, expected one of {expected}")


def _output_shape(name: str, layer: Layer, shape: Shape) -> Shape:
    """Check the layer against its input shape and return its output shape."""
    flattened = len(shape) == 1
    if flattened and not isinstance(layer, Dense):
        raise ArchitectureError(f"layer {name}: only dense layers can follow flatten")
    if isinstance(layer, Flatten):
        return (prod(shape),)
    if isinstance(layer, Dense):
        _require_count(name, "units", layer.units, minimum=1)
        _require_activation(name, layer.activation)
        if not flattened:
            raise ArchitectureError(f"layer {name}: its input has shape {shape}: put a flatten layer before it")
        return (layer.units,)
    _require_count(name, "kernel size", layer.kernel_size, minimum=1, maximum=MAX_SIDE)
    channels, height, width = shape
    if isinstance(layer, Conv):
        _require_count(name, "channels", layer.channels, minimum=1)
        _require_count(name, "padding", layer.padding, minimum=0, maximum=MAX_SIDE)
        _require_activation(name, layer.activation)
        padding, stride, channels, what = layer.padding, 1, layer.channels, "padded input"
    else:
        _require_count(name, "stride", layer.stride, minimum=1, maximum=MAX_SIDE)
        if layer.kind not in POOLINGS:
            raise ArchitectureError(
                f"layer {name}: pooling {_shown(layer.kind)}, expected one of {', '.join(POOLINGS)}"
            )
        padding, stride, what = 0, layer.stride, "input"
    height, width = height + 2 * padding, width + 2 * padding
    if layer.kernel_size > min(height, width):
        raise ArchitectureError(
            f"layer {name}: a {layer.kernel_size} x {layer.kernel_size} window is larger than its {what} "
            f"of {height} x {width}: choose a smaller window, or more padding in the convolutions"
        )
    _require_size(name, what, (shape[0], height, width))
    output = (channels, (height - layer.kernel_size) // stride + 1, (width - layer.kernel_size) // stride + 1)
    _require_size(name, "output", output)
    return output


def lenet(
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    activation: str = "sigmoid",
    pooling: str = "avg",
    conv_channels: Sequence[int] = (6, 16),
    kernel_sizes: Sequence[int] = (5,),
    paddings: Sequence[int] | None = None,
    dense_units: Sequence[int] = (120, 84),
    num_classes: int = NUM_CLASSES,
) -> Architecture:
    """A LeNet: convolutions, each followed by 2 x 2 pooling with stride 2, then dense layers; the last outputs logits.

    The default is the network of *Dive into Deep Learning*, section "Convolutional Neural Networks (LeNet)".

    Args:
        input_shape: (C, H, W) of one example.
        activation: one of `ACTIVATIONS`, after every convolution and every dense layer except the last.
        pooling: one of `POOLINGS`.
        conv_channels: output channels of each convolution; the length is the number of convolutions.
        kernel_sizes: one for each convolution, or one for all.
        paddings: one for each convolution, or one for all; by default 2 for the first and 0 for the others.
        dense_units: widths of the dense layers before the last.
        num_classes: the width of the last.

    Raises:
        ArchitectureError: if the settings do not give a valid network; the message names the layer or the setting.
    """
    if paddings is None:
        paddings = [2, *[0] * len(conv_channels)][: len(conv_channels)]
    kernel_sizes = _one_for_each(kernel_sizes, len(conv_channels), "kernel size")
    paddings = _one_for_each(paddings, len(conv_channels), "padding")
    layers: list[Layer] = []
    for channels, kernel_size, padding in zip(conv_channels, kernel_sizes, paddings, strict=True):
        layers += [Conv(channels, kernel_size, padding, activation), Pool(pooling, kernel_size=2, stride=2)]
    layers += [Flatten(), *(Dense(units, activation) for units in dense_units), Dense(num_classes)]
    return Architecture(input_shape, tuple(layers))


def _one_for_each(values: Sequence[int], convolutions: int, what: str) -> Sequence[int]:
    if len(values) not in (1, convolutions):
        raise ArchitectureError(
            f"{len(values)} {what}s for {convolutions} convolutions, expected one for each or one for all"
        )
    return values if len(values) == convolutions else [values[0]] * convolutions


PRESET_SETTINGS: dict[str, dict[str, Any]] = {
    "lenet5": {},
    "lenet5-max": {"pooling": "max"},
    "lenet-modern": {
        "activation": "relu",
        "pooling": "max",
        "conv_channels": (16, 32),
        "kernel_sizes": (5, 3),
        "paddings": (2, 1),
        "dense_units": (256, 128),
    },
}
# Options of `lenet_multi.train` for presets that do not train well with the chapter's.
PRESET_TRAINING: dict[str, dict[str, Any]] = {"lenet-modern": {"lr": 0.2, "lr_decay_epoch": 8, "batch_size": 128}}
PRESETS = {name: lenet(**settings) for name, settings in PRESET_SETTINGS.items()}
