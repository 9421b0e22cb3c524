"""Programs in PyTorch."""

from __future__ import annotations

from typing import Any

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.exporting.dialects import Dialect, Line

ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}


def lines(architecture: Architecture) -> list[Line]:
    """The arguments of `nn.Sequential`."""
    lines = []
    flattened: tuple[int, ...] = ()
    for name, layer in architecture.named_layers.items():
        # PyTorch needs the input size of each layer: its channels or features.
        shape = architecture.input_shapes[name]
        match layer:
            case Conv(channels, k, padding):
                text = f"nn.Conv2d({shape[0]}, {channels}, kernel_size={k}"
                text += (f", padding={padding}" if padding else "") + ")"
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
            lines.append(Line(f"nn.{ACTIVATIONS[layer.activation]}()", None))
    return lines


def weights(net: Any) -> dict[str, Any]:
    """The parameters by the names that `nn.Sequential` gives them."""
    positions = {name: i for i, (name, _) in enumerate(net.named_children())}
    named = ((name.partition("."), value.cpu().numpy()) for name, value in net.state_dict().items())
    return {f"{positions[layer]}.{what}": value for (layer, _, what), value in named}


DIALECT = Dialect(
    lines=lines,
    indent=4,
    weights=weights,
    load_imports="from safetensors.torch import load_file",
    load_weights='net.load_state_dict(load_file(Path(__file__).with_suffix(".safetensors")))',
    lr_decay="""\
        if epoch == lr_decay_epoch:
            optimizer.param_groups[0]["lr"] = lr * 0.1""",
    images="torch.from_numpy(X).to(device)",
    layers="net",
    array="x.detach().cpu().numpy()",
)
