"""What a trained network predicts for pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.data import BatchSampler, Split
from lenet_multi.data.network_input import NetworkInput, network_input
from lenet_multi.data.published import FASHION_MNIST, PUBLISHED
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.trained_network import TrainedNetwork
from lenet_multi.runs.weights import Parameters
from lenet_multi.system.names import printable
from lenet_multi.system.stderr import say

CHUNK = 500  # examples at a time: MXNet and Keras keep every layer's output of them
SHOWN = 3  # classes of each picture that are printed


@dataclass(frozen=True)
class Prediction:
    """The probabilities of a picture's classes.

    Args:
        path: the picture's file.
        probabilities: float64 (classes,), which sum to 1.
        class_names: the names of the classes.
        steps: what was done to the picture, in words.
    """

    path: Path
    probabilities: np.ndarray
    class_names: Sequence[str]
    steps: Sequence[str]

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Names and probabilities, the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.class_names[label], float(self.probabilities[label])) for label in order]

    def __str__(self) -> str:
        likeliest = ", ".join(f"{name} {probability:.3f}" for name, probability in self.ranking[:SHOWN])
        return printable(" ".join(f"{self.path}: {likeliest}".splitlines()))

    def as_json(self) -> dict[str, Any]:
        return {"image": str(self.path), "steps": list(self.steps), "probabilities": dict(self.ranking)}


def logits_of(
    backend_name: str, architecture: Architecture, parameters: Parameters, data: Split, device: str = "auto"
) -> np.ndarray:
    """The logits of a backend's network for the images of a split.

    Args:
        backend_name: canonical name.
        architecture: the network.
        parameters: canonical parameters (`Architecture.parameter_shapes`).
        data: the split.
        device: where the backend computes.

    Returns:
        float32 (N, classes).
    """
    backend = load_backend(backend_name)
    require_memory(backend, architecture, device, min(CHUNK, len(data)))
    net = backend.LeNet(architecture, device=device)
    backend.set_parameters(net, parameters)
    last = list(architecture.named_layers)[-1]
    chunks = (data.scaled(i) for i in BatchSampler(len(data), CHUNK))
    return np.concatenate([backend.layer_outputs(net, X)[last] for X in chunks])


def predictions(
    trained: TrainedNetwork, inputs: Sequence[NetworkInput], backend_name: str, device: str = "auto"
) -> list[Prediction]:
    """What a network predicts for pictures, one for each.

    Args:
        trained: the network.
        inputs: the pictures.
        backend_name: canonical name.
        device: where the backend computes.
    """
    images = np.stack([picture.pixels for picture in inputs])
    data = Split(images, np.zeros(len(images), np.uint8))
    logits = logits_of(backend_name, trained.architecture, trained.parameters, data, device).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    names = class_names(trained)
    return [
        Prediction(picture.path, power / power.sum(), names, picture.steps)
        for picture, power in zip(inputs, powers, strict=True)
    ]


def class_names(trained: TrainedNetwork) -> tuple[str, ...]:
    """The names of the network's classes: as in its file, else those of its data set, else numbers."""
    count = trained.architecture.num_classes
    known = {name: published.class_names for name, published in PUBLISHED.items()}
    known |= {"synthetic": FASHION_MNIST.class_names}
    names = trained.class_names or known.get(trained.dataset_name, ())
    return names if len(names) == count else tuple(map(str, range(count)))


def is_light_on_black(trained: TrainedNetwork) -> bool:
    """Whether the network was trained on light things on black, as in MNIST and Fashion-MNIST."""
    return trained.dataset_name in (*PUBLISHED, "synthetic")


def read_inputs(paths: Iterable[Path], trained: TrainedNetwork, without: Sequence[str] = ()) -> list[NetworkInput]:
    """The pictures in files, as the network sees them; what was done to them goes to standard error."""
    shape, light_on_black = trained.architecture.input_shape, is_light_on_black(trained)
    inputs = [network_input(path, shape, light_on_black, without) for path in paths]
    for picture in inputs:
        say(f"{picture.path}: {'; '.join(picture.steps) or 'as it is'}")
    return inputs
