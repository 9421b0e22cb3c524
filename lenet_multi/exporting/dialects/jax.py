"""Programs in Flax NNX."""

from __future__ import annotations

from typing import Any

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.exporting.dialects import Dialect, Line

INIT = "kernel_init=xavier, rngs=rngs"


def lines(architecture: Architecture) -> list[Line]:
    """The arguments of `nnx.Sequential`."""
    lines = []
    flattened: tuple[int, ...] = ()
    for name, layer in architecture.named_layers.items():
        # Flax needs the input size of each layer: its channels or features.
        shape = architecture.input_shapes[name]
        match layer:
            case Conv(channels, k, padding):
                text = f"nnx.Conv({shape[0]}, {channels}, kernel_size=({k}, {k}), padding={padding}, {INIT})"
            case Pool(kind, k, stride):
                text = f"lambda x: nnx.{kind}_pool(x, window_shape=({k}, {k}), strides=({stride}, {stride}))"
            case Flatten():
                text = "lambda x: x.reshape(len(x), -1)"
            case Dense(units):
                # Flatten puts the channels last.
                features = " * ".join(map(str, flattened[1:] + flattened[:1] or shape))
                text = f"nnx.Linear({features}, {units}, {INIT})"
        flattened = shape if isinstance(layer, Flatten) else ()
        lines.append(Line(text, name))
        if isinstance(layer, Conv | Dense) and layer.activation:
            lines.append(Line(f"nnx.{layer.activation}", None))
    return lines


def weights(net: Any) -> dict[str, Any]:
    """The parameters by the names of Flax's attributes, and the positions of their layers."""
    layers = ((i, layer) for i, layer in enumerate(net.layers) if hasattr(layer, "kernel"))
    return {f"{i}.{what}": getattr(layer, what)[...] for i, layer in layers for what in ("kernel", "bias")}


DIALECT = Dialect(
    lines=lines,
    indent=4,
    weights=weights,
    load_imports="from safetensors.flax import load_file",
    load_weights="""\
for name, weight in load_file(Path(__file__).with_suffix(".safetensors")).items():
    i, what = name.split(".")
    getattr(net.layers[int(i)], what)[...] = weight""",
    lr_decay="""\
    # In Optax a learning rate that changes is a function of the number of steps.
    num_batches = -(-num_examples // batch_size)  # the last batch may be smaller
    lr = optax.piecewise_constant_schedule(lr, {lr_decay_epoch * num_batches: 0.1})""",
    images="jnp.asarray(X.transpose(0, 2, 3, 1))",
    layers="net.layers",
    array="np.asarray(x)",
)
