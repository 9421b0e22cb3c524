"""Programs in Keras."""

from __future__ import annotations

from typing import Any

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.exporting.dialects import Dialect, Line, activation_argument

POOLINGS = {"avg": "AveragePooling2D", "max": "MaxPooling2D"}


def lines(architecture: Architecture) -> list[Line]:
    """The list of layers for `keras.Sequential`, after its `Input`."""
    lines = []
    for name, layer in architecture.named_layers.items():
        match layer:
            case Conv(channels, k, padding, activation):
                # Keras has a name for one padding only.
                same = 0 < 2 * padding == k - 1
                if padding and not same:
                    lines.append(Line(f"layers.ZeroPadding2D({padding})", None))
                text = f"layers.Conv2D({channels}, kernel_size={k}"
                text += (', padding="same"' if same else "") + activation_argument(activation) + ")"
            case Pool(kind, k, stride):
                text = f"layers.{POOLINGS[kind]}(pool_size={k}, strides={stride})"
            case Flatten():
                text = "layers.Flatten()"
            case Dense(units, activation):
                text = f"layers.Dense({units}{activation_argument(activation)})"
        lines.append(Line(text, name))
    return lines


def weights(net: Any) -> dict[str, Any]:
    """The kernels and biases, by the positions of their layers after the `Input`."""
    values = ((i, layer.get_weights()) for i, layer in enumerate(net.layers) if layer.weights)
    return {f"{i}.{what}": value for i, pair in values for what, value in zip(("kernel", "bias"), pair, strict=True)}


DIALECT = Dialect(
    lines=lines,
    indent=8,
    weights=weights,
    load_imports="from safetensors.numpy import load_file",
    load_weights="""\
weights = load_file(Path(__file__).with_suffix(".safetensors"))
for i, layer in enumerate(net.layers):
    if layer.weights:
        layer.set_weights([weights[f"{i}.kernel"], weights[f"{i}.bias"]])""",
    lr_decay="""\
        callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, _: lr * 0.1 ** (epoch >= lr_decay_epoch))],""",
    images="X.transpose(0, 2, 3, 1)",
    layers="net.layers",
    array="np.asarray(x)",
)
