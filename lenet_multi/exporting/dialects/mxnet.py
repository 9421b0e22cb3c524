"""Programs in Gluon."""

from __future__ import annotations

from typing import Any

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.exporting.dialects import Dialect, Line, activation_argument


def lines(architecture: Architecture) -> list[Line]:
    """The arguments of `net.add`."""
    lines = []
    for name, layer in architecture.named_layers.items():
        match layer:
            case Conv(channels, k, padding, activation):
                text = f"nn.Conv2D({channels}, kernel_size={k}"
                text += (f", padding={padding}" if padding else "") + activation_argument(activation) + ")"
            case Pool(kind, k, stride):
                text = f"nn.{kind.title()}Pool2D(pool_size={k}, strides={stride})"
            case Flatten():
                text = "nn.Flatten()"
            case Dense(units, activation):
                text = f"nn.Dense({units}{activation_argument(activation)})"
        lines.append(Line(text, name))
    return lines


def weights(net: Any) -> dict[str, Any]:
    """The parameters by the names of Gluon's attributes, and the positions of their blocks."""
    blocks = ((i, block) for i, block in enumerate(net) if hasattr(block, "weight"))
    return {f"{i}.{what}": getattr(block, what).data().asnumpy() for i, block in blocks for what in ("weight", "bias")}


DIALECT = Dialect(
    lines=lines,
    indent=4,
    weights=weights,
    load_imports="from safetensors.numpy import load_file",
    load_weights="""\
for name, weight in load_file(Path(__file__).with_suffix(".safetensors")).items():
    i, what = name.split(".")
    getattr(net[int(i)], what).set_data(np.array(weight))""",
    lr_decay="""\
        if epoch == lr_decay_epoch:
            trainer.set_learning_rate(lr * 0.1)""",
    images="np.array(X, ctx=device)",
    layers="net",
    array="x.asnumpy()",
    numpy="numpy",
)
