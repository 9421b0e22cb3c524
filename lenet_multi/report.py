"""What is found out about trained networks, compared with one another, and the page that tells it.

`examine` runs the networks and measures; `page` writes what was found as one HTML file that needs no other.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lenet_multi import shapes
from lenet_multi.architecture import NUM_CLASSES, Architecture
from lenet_multi.backends import load_backend
from lenet_multi.curves import LINE_COLORS, PANELS, draw_overlaid, line_style
from lenet_multi.data import BatchIndices, Dataset
from lenet_multi.drawing import svg
from lenet_multi.ladder import RUNGS, Ground, Result, Rung, climb
from lenet_multi.layout import channels_first_shape
from lenet_multi.parity import as_json, cell
from lenet_multi.recorder import Point
from lenet_multi.referee import log_softmax
from lenet_multi.weights import Parameters

if TYPE_CHECKING:
    from lenet_multi.compare import Comparison

CHUNK = 500  # examples at a time: MXNet and Keras keep every layer's output of them
LADDER_TEST_IMAGES = 2000  # the referee counts in float64 and is slow
PICTURES = 12  # of misclassified examples, for each network
PICTURES_OF_PAIR = 12  # of examples on which two networks disagree
LISTED = 200  # examples named by number on the page


def predict(
    backend_name: str, architecture: Architecture, parameters: Parameters, images: np.ndarray, device: str = "auto"
) -> np.ndarray:
    """The logits that a backend's network gives for images.

    Args:
        backend_name: `torch`, `tensorflow` or `mxnet`.
        architecture: the network.
        parameters: canonical ones (`Architecture.parameter_shapes`).
        images: uint8 (N, C, H, W).
        device: where the backend computes.

    Returns:
        Float32 (N, classes).
    """
    backend = load_backend(backend_name)
    net = backend.LeNet(architecture, device=device)
    backend.set_parameters(net, parameters)
    last = list(architecture.named_layers)[-1]
    chunks = (images[i].astype(np.float32) / 255 for i in BatchIndices(len(images), CHUNK))
    return np.concatenate([backend.layer_outputs(net, X)[last] for X in chunks])


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How many examples of each class (rows) were predicted to be of each class (columns): int (classes, classes)."""
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


class Disagreement(NamedTuple):
    """Where two networks predict different classes.

    `examples` are the numbers of the test examples, the surest first: by the lower of the two probabilities that the
    networks give to their own predictions. The counts say who is right there.
    """

    first: str
    second: str
    examples: np.ndarray
    first_right: int
    second_right: int
    both_wrong: int


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and what it answers on the test set.

    Args:
        name: of the run.
        backend: that it was trained in and is run in.
        architecture: the network.
        parameters: canonical ones.
        points: of its training.
        lr: learning rate of its training.
        logits: (N, classes), for the test set's images.
    """

    name: str
    backend: str
    architecture: Architecture
    parameters: Parameters
    points: Sequence[Point]
    lr: float
    logits: np.ndarray

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class of the largest logit, int (N,)."""
        return self.logits.argmax(axis=1)

    @cached_property
    def certainty(self) -> np.ndarray:
        """The probability that the network gives to its prediction, (N,)."""
        return np.exp(log_softmax(self.logits.astype(np.float64)).max(axis=1))

    def misclassified(self, labels: np.ndarray) -> np.ndarray:
        """The numbers of the examples that it gets wrong, the surest mistake first."""
        wrong = np.flatnonzero(self.predicted != labels)
        return wrong[np.argsort(-self.certainty[wrong], kind="stable")]


def disagreements(networks: Sequence[TrainedNetwork], labels: np.ndarray) -> list[Disagreement]:
    """Every two networks, and the test examples for which they predict different classes."""
    found = []
    for a, b in combinations(networks, 2):
        differ = np.flatnonzero(a.predicted != b.predicted)
        sure = np.minimum(a.certainty[differ], b.certainty[differ])
        differ = differ[np.argsort(-sure, kind="stable")]
        a_right, b_right = (int((net.predicted[differ] == labels[differ]).sum()) for net in (a, b))
        found.append(Disagreement(a.name, b.name, differ, a_right, b_right, len(differ) - a_right - b_right))
    return found


class ShapeTable(NamedTuple):
    """The output shape of every layer for one example, batch dimension first.

    `measured` has for each backend its layout and the shapes, in that layout, that it really gives.
    """

    architecture: Architecture
    networks: list[str]
    measured: dict[str, tuple[str, dict[str, tuple[int, ...]]]]

    @property
    def expected(self) -> dict[str, tuple[int, ...]]:
        """The description's, channels first."""
        return {name: (1, *shape) for name, shape in self.architecture.output_shapes.items()}

    def agrees(self, backend: str, layer: str) -> bool:
        layout, found = self.measured[backend]
        return channels_first_shape(found.get(layer, ()), layout) == self.expected[layer]


def shape_tables(networks: Sequence[TrainedNetwork]) -> list[ShapeTable]:
    """A table for each architecture, with every backend that the networks were trained in."""
    backends = dict.fromkeys(net.backend for net in networks)
    architectures = dict.fromkeys(net.architecture for net in networks)
    return [
        ShapeTable(
            architecture,
            [net.name for net in networks if net.architecture == architecture],
            {backend: shapes.measured_shapes(backend, architecture) for backend in backends},
        )
        for architecture in architectures
    ]


def climb_with(network: TrainedNetwork, dataset: Dataset, backends: Iterable[str]) -> list[Result]:
    """The rungs of the parity ladder that depend on the weights, on a trained network's, in all these backends.

    Layer outputs, loss, correct predictions (on the first 2,000 test images at most) and exchange. Left out are those
    that measure shapes and initial values, for they do not see these weights, and those that hold gradients or steps
    against one another: of a trained network these are the small rests of large terms, whose rounding tells nothing.

    The ladder's tolerances are for outputs of about 1. A trained network's are larger, and so are their rounding
    errors: the tolerances grow with the largest output, and the loss's with the largest logit over the loss.
    """
    smaller = replace(dataset, test=dataset.test.subset(LADDER_TEST_IMAGES))
    ground = Ground(network.architecture, smaller, given_lr=network.lr, given_parameters=network.parameters)
    largest = max(float(np.abs(output).max()) for output in ground.outputs.values())
    logit = float(np.abs(ground.outputs[ground.last_layer]).max())
    loss, _ = ground.loss_and_gradients
    scales = {4: largest, 5: logit / max(loss, 1e-6), 9: 1.0, 10: largest}
    rungs = tuple(_scaled(rung, scales[rung.number], len(smaller.test)) for rung in RUNGS if rung.number in scales)
    return list(climb(ground, {name: load_backend(name) for name in backends}, rungs))


def _scaled(rung: Rung, scale: float, num_test: int) -> Rung:
    title = rung.title.replace("the test set", f"{num_test:,} test images")
    return replace(rung, title=title, tolerance=rung.tolerance * max(1.0, scale))


@dataclass(frozen=True)
class Findings:
    """What `examine` found: the ladders by the name of the network whose weights they stand on."""

    dataset: Dataset
    networks: list[TrainedNetwork]
    shapes: list[ShapeTable] = field(default_factory=list)
    ladders: dict[str, list[Result]] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        return self.dataset.test.labels

    @cached_property
    def disagreements(self) -> list[Disagreement]:
        return disagreements(self.networks, self.labels)

    @property
    def differences(self) -> list[str]:
        """Sentences: shapes that are not the description's, rungs that fail."""
        told = [
            f"shapes: {layer} differs in {backend} ({', '.join(table.networks)})"
            for table in self.shapes
            for backend in table.measured
            for layer in table.expected
            if not table.agrees(backend, layer)
        ]
        for name, results in self.ladders.items():
            for result in results:
                told += [
                    f"weights of {name}: {result.rung.title} in {backend} off by {found.error:.3g}, "
                    f"tolerance {found.tolerance:.3g}"
                    for backend, found in result.rows.items()
                    if not found.passed
                ]
        return told

    def as_json(self) -> dict[str, Any]:
        """Every number: what `compare.json` holds beside the runs."""
        return {
            "class_names": list(self.dataset.class_names),
            "labels": self.labels.tolist(),
            "predicted": {net.name: net.predicted.tolist() for net in self.networks},
            "confusion": {net.name: confusion_matrix(self.labels, net.predicted).tolist() for net in self.networks},
            "misclassified": {net.name: net.misclassified(self.labels).tolist() for net in self.networks},
            "disagreements": [
                {**pair._asdict(), "count": len(pair.examples), "examples": pair.examples.tolist()}
                for pair in self.disagreements
            ],
            "shapes": [
                {
                    "architecture": table.architecture.to_dict(),
                    "networks": table.networks,
                    "expected": table.expected,
                    "measured": {
                        backend: {"layout": layout, "shapes": found}
                        for backend, (layout, found) in table.measured.items()
                    },
                }
                for table in self.shapes
            ],
            "ladders": {name: [as_json(result) for result in results] for name, results in self.ladders.items()},
            "differences": self.differences,
        }


def examine(networks: Sequence[TrainedNetwork], dataset: Dataset) -> Findings:
    """Measure the shapes, and climb the ladder on each network's weights in all the networks' backends."""
    backends = list(dict.fromkeys(net.backend for net in networks))
    ladders = {net.name: climb_with(net, dataset, backends) for net in networks}
    return Findings(dataset, list(networks), shape_tables(networks), ladders)


def page(comparison: Comparison) -> str:
    """The report as one HTML file: styles, curves and pictures are in it, and it asks for nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lenet_multi", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    findings = comparison.findings
    networks, labels = findings.networks, findings.labels
    classes = findings.dataset.class_names
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        findings=findings,
        cell=cell,
        panels=[(PANELS[panel], _inline_panel(networks, panel)) for panel in PANELS],
        legend=[(net.name, _swatch(number)) for number, net in enumerate(networks)],
        confusions=[(net, confusion_matrix(labels, net.predicted)) for net in networks],
        classes=classes,
        labels=labels,
        pictures=PICTURES,
        pictures_of_pair=PICTURES_OF_PAIR,
        listed=LISTED,
        by_name={net.name: net for net in networks},
        picture=lambda number: data_uri(findings.dataset.test.images[number]),
    )


def data_uri(image: np.ndarray) -> str:
    """An image uint8 (C, H, W), of one channel or three, as a PNG inside an address."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    imsave(buffer, pixels, cmap="gray", vmin=0, vmax=255, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _inline_panel(networks: Sequence[TrainedNetwork], panel: str) -> str:
    """A panel of the curves as an SVG element: on the page's own ground, in the color of its text."""
    from matplotlib import rc_context

    ink = "#010203"  # a color that nothing else has, to be replaced
    parts = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {**dict.fromkeys(parts, ink), "figure.facecolor": "none", "axes.facecolor": "none"}
    with rc_context(settings):
        figure = draw_overlaid({net.name: net.points for net in networks}, [panel])
        drawn = svg(figure, dict.fromkeys(("Creator", "Format", "Type"))).decode()  # without matplotlib's links
    element = drawn[drawn.index("<svg ") :].replace(ink, "currentColor")
    # In HTML the name spaces go without saying.
    for namespace in (' xmlns:xlink="http://www.w3.org/1999/xlink"', ' xmlns="http://www.w3.org/2000/svg"'):
        element = element.replace(namespace, "", 1)
    # The page has these colors brighter where its ground is dark.
    for number, color in enumerate(LINE_COLORS, start=1):
        element = element.replace(color, f"var(--line-{number})")
    return element


def _swatch(number: int) -> dict[str, str]:
    """How the legend draws the line with this number: the page's color for it, and the dashes of an SVG line."""
    dashes = {"-": "none", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}
    color = f"var(--line-{number % len(LINE_COLORS) + 1})"
    return {"color": color, "dashes": dashes[line_style(number)["linestyle"]]}
