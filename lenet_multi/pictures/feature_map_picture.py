"""The picture of a trained network's feature maps for examples of its test set, with what it shows in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.backends import load_backend
from lenet_multi.data.network_input import NetworkInput
from lenet_multi.errors import UserError
from lenet_multi.pictures.example_selection import MAX_EXAMPLES, select_examples
from lenet_multi.pictures.feature_map_figure import describe_difference, draw_activations
from lenet_multi.pictures.feature_maps import activations, select_layers
from lenet_multi.runs.prediction import class_names
from lenet_multi.runs.trained_network import TrainedNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FeatureMapPicture:
    """A figure, and its content as sentences: classes, predictions, differences between two frameworks."""

    figure: Figure
    title: str
    sentences: list[str]
    description: str


def feature_map_picture(
    trained: TrainedNetwork,
    backend_names: Sequence[str],
    layer_names: Sequence[str] | None,
    classes: Sequence[str],
    indices: Sequence[int],
    per_class: int,
    device: str,
    pictures: Sequence[NetworkInput] = (),
) -> FeatureMapPicture:
    """Run the network on examples of its test set and on pictures, and draw the feature maps.

    Args:
        trained: the network.
        backend_names: one, or two to compare; canonical.
        layer_names: convolutions or poolings; by default the first two convolutions.
        classes: names or numbers of classes, whose first examples are drawn.
        indices: further examples of the test set.
        per_class: examples of each class.
        device: where the backends compute.
        pictures: pictures that the network can take. With them alone, no data is loaded.

    Raises:
        UserError: when a layer, a class or an example does not exist, or the data cannot be loaded.
    """
    layers = select_layers(trained.architecture, layer_names)
    architecture, names = trained.architecture, class_names(trained)
    rows: list[np.ndarray] = [picture.pixels / np.float32(255) for picture in pictures]
    titles = [f"{picture.path}" for picture in pictures]
    if classes or indices or not pictures:
        names, test = trained.dataset.class_names, trained.dataset.test
        examples = select_examples(trained.dataset, classes, indices, per_class)
        rows = [*test.scaled(examples), *rows]
        titles = [*(f"test image {index}: {names[test.labels[index]]}" for index in examples), *titles]
    if len(rows) > MAX_EXAMPLES:
        raise UserError(f"{len(rows)} images, but a picture holds at most {MAX_EXAMPLES}: draw several pictures")
    images = np.stack(rows)
    outputs, versions = {}, []
    for name in backend_names:
        backend = load_backend(name)
        outputs[backend.FRAMEWORK] = activations(backend, trained.parameters, images, architecture, device)
        versions.append(f"{backend.FRAMEWORK} {backend.VERSION}")
    captions = [[title, *_predicted(names, row, outputs)] for row, title in enumerate(titles)]
    differences = []
    if len(outputs) == 2:
        first, second = outputs.values()
        differences = [f"{layer}: {describe_difference(first[layer], second[layer])}" for layer in layers]
    on = f" on {trained.dataset.name}" if len(rows) > len(pictures) else ""
    title = f"{architecture.name}{on}, in {' and '.join(versions)}"
    figure = draw_activations(images, outputs, layers, ["\n".join(lines) for lines in captions], title)
    sentences = [*(", ".join(lines) for lines in captions), *differences]
    return FeatureMapPicture(figure, title, sentences, f"Feature maps of {', '.join(layers)}. {'; '.join(sentences)}.")


def _predicted(names: Sequence[str], row: int, outputs: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """The predictions for an image, a line for each framework."""
    lines = []
    for framework, arrays in outputs.items():
        logits = list(arrays.values())[-1][row]
        by = f" by {framework}" if len(outputs) > 1 else ""
        lines.append(f"predicted{by}: {names[logits.argmax()]}")
    return lines
