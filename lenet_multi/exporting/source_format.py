"""A program in the framework's own style: the network in literal form, its data, training and evaluation.

Its weights are in a safetensors file beside it, with the names and the layout of the framework: PyTorch's and Gluon's
names of parameters in a `Sequential`, such as `0.weight`, and for Keras `0.kernel` and `0.bias`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from lenet_multi.architecture import Architecture
from lenet_multi.exporting.network import built_network
from lenet_multi.exporting.program_text import Pictures, Training, program_text
from lenet_multi.runs.weights import Parameters


def weights_name(name: str) -> str:
    """The name of the file of weights: `lenet.safetensors` for `lenet.py`."""
    return Path(name).with_suffix(".safetensors").name


def write(
    backend: str,
    architecture: Architecture,
    parameters: Parameters | None,
    training: Training,
    path: Path,
    pictures: Pictures | None = None,
) -> None:
    """Write a program and, if there are parameters, its weights.

    Args:
        backend: the canonical name of the framework.
        architecture: the network.
        parameters: canonical ones; without any, the program starts from initial weights.
        training: the settings of the program's training.
        path: of the program.
        pictures: how it reads a folder of pictures; None for one that reads IDX files.
    """
    text = program_text(backend, architecture, training, path.name, parameters is not None, pictures)
    path.write_text(text, encoding="utf-8")
    if parameters is not None:
        net = built_network(backend, architecture, parameters)
        arrays = {name: np.array(value, np.float32, order="C") for name, value in WEIGHTS[backend](net).items()}
        safetensors.numpy.save_file(arrays, path.with_name(weights_name(path.name)))


def _torch_weights(net: Any) -> dict[str, Any]:
    positions = {name: i for i, (name, _) in enumerate(net.named_children())}
    named = ((name.partition("."), value.numpy()) for name, value in net.state_dict().items())
    return {f"{positions[layer]}.{what}": value for (layer, _, what), value in named}


def _keras_weights(net: Any) -> dict[str, Any]:
    values = ((i, layer.get_weights()) for i, layer in enumerate(net.layers) if layer.weights)
    return {f"{i}.{what}": value for i, pair in values for what, value in zip(("kernel", "bias"), pair, strict=True)}


def _gluon_weights(net: Any) -> dict[str, Any]:
    blocks = ((i, block) for i, block in enumerate(net) if hasattr(block, "weight"))
    return {f"{i}.{what}": getattr(block, what).data().asnumpy() for i, block in blocks for what in ("weight", "bias")}


WEIGHTS = {"torch": _torch_weights, "tensorflow": _keras_weights, "mxnet": _gluon_weights}
