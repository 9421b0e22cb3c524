"""The outputs of a network's layers, and the layers that have feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.architecture import PRESETS, Architecture, Conv, Pool
from lenet_multi.backends.layouts import canonical_output
from lenet_multi.errors import UserError
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.weights import require_finite, require_fit

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend, Network


def activations(
    backend: Backend,
    network: Network | Mapping[str, np.ndarray],
    images: np.ndarray,
    architecture: Architecture = PRESETS["lenet5"],
    device: str = "auto",
) -> dict[str, np.ndarray]:
    """The output of each layer, after its activation, with the channels first in every framework.

    Args:
        backend: from `load_backend`.
        network: a network from the backend's `LeNet`, or canonical parameters: name to float32 array.
        images: (N, C, H, W), either uint8, scaled to [0, 1] as in training, or float32, used unchanged.
        architecture: of the network or the parameters.
        device: for a network that is built from parameters: `auto`, `cpu`, `gpu` or `gpu:1`.

    Returns:
        Layer name to float32 array: (N, C, H, W) for convolutions and poolings, (N, units) from flatten on. The order
        of flatten is channels, rows, columns; the last layer holds the logits.

    Raises:
        UserError: when images, parameters and network do not fit together, or an output is not finite.
    """
    if images.ndim != 4 or images.shape[1:] != architecture.input_shape or len(images) == 0:
        expected = ", ".join(map(str, architecture.input_shape))
        raise UserError(f"images of shape {images.shape}, expected (N, {expected}) with N at least 1")
    if images.dtype not in (np.uint8, np.float32):
        raise UserError(f"images of dtype {images.dtype}, expected uint8, or float32 from 0 to 1")
    X = np.array(images, np.float32, order="C")
    if images.dtype == np.uint8:
        X /= 255
    if isinstance(network, Mapping):
        require_fit(network, architecture, Path("parameters"))
        require_finite(network, Path("parameters"))
        require_memory(backend, architecture, device, len(X))
        net = backend.LeNet(architecture, device=device)
        backend.set_parameters(net, network)
    else:
        net = network
    given = backend.layer_outputs(net, X)
    if list(given) != list(architecture.named_layers):
        wanted = ", ".join(architecture.named_layers)
        raise UserError(f"the network has the layers {', '.join(given)}, but its architecture {wanted}: give its own")
    outputs = {}
    for name, shape in architecture.output_shapes.items():
        output = canonical_output(architecture, name, given[name], backend.LAYOUT)
        if output.shape != (len(X), *shape):
            raise UserError(
                f"layer {name} has output shape {output.shape}, expected {(len(X), *shape)}: give the network's own "
                "architecture"
            )
        if not np.isfinite(output).all():
            raise UserError(f"the output of layer {name} is not finite: choose other weights")
        outputs[name] = np.ascontiguousarray(output, np.float32)
    return outputs


def layers_with_maps(architecture: Architecture) -> list[str]:
    """The convolutions and poolings, in order."""
    return [name for name, layer in architecture.named_layers.items() if isinstance(layer, Conv | Pool)]


def default_layers(architecture: Architecture) -> list[str]:
    """The first two convolutions; in a network without any, the first two poolings."""
    names = layers_with_maps(architecture)
    convolutions = [name for name in names if isinstance(architecture.named_layers[name], Conv)]
    return (convolutions or names)[:2]


def select_layers(architecture: Architecture, names: Sequence[str] | None) -> list[str]:
    """The named layers, or the default ones.

    Raises:
        UserError: when a layer does not exist or has no maps; it lists those that have.
    """
    known = layers_with_maps(architecture)
    if not known:
        raise UserError("the network has no convolution and no pooling, and so no maps to draw")
    for name in names or ():
        if name not in known:
            raise UserError(f"--layers '{name}' is not a convolution or pooling: choose one of {', '.join(known)}")
    return list(dict.fromkeys(names)) if names else default_layers(architecture)
