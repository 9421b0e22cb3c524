"""A program in the framework's own style: the network in literal form, its data, training and evaluation.

Its weights are in a safetensors file beside it, with the words and the layout of the framework: `0.weight` and `0.bias`
for the first layer in PyTorch and Gluon, `0.kernel` and `0.bias` in Keras and Flax.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy

from lenet_multi.architecture import Architecture
from lenet_multi.exporting.dialects import load_dialect
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
        weights = load_dialect(backend).weights(net)
        arrays = {name: np.array(value, np.float32, order="C") for name, value in weights.items()}
        safetensors.numpy.save_file(arrays, path.with_name(weights_name(path.name)))
