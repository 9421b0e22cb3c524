"""The findings of a comparison about its trained networks: predictions, mistakes, shapes, parity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.checks.fixture import Fixture
from lenet_multi.checks.float64_reference import log_softmax
from lenet_multi.checks.layer_checks import LEAST_LOSS
from lenet_multi.checks.layer_shapes import LayerShapes, measure_layer_shapes
from lenet_multi.checks.parity_checks import PARITY_CHECKS, CheckResult, ParityCheck, run_checks
from lenet_multi.checks.parity_table import as_json
from lenet_multi.data import Dataset
from lenet_multi.runs.weights import Parameters
from lenet_multi.training.points import Point

PARITY_TEST_IMAGES = 2000  # the float64 reference is slow
# Up to this many networks, each one is examined, has its sections in the report, and is compared with every other one.
EXAMINED = 12
# Of more networks, this many: the parity checks of each take seconds, and a reader has to tell their curves apart.
CHOSEN = 8


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """The number of examples of each class (rows) by predicted class (columns): int (classes, classes)."""
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


@dataclass(frozen=True)
class ComparedNetwork:
    """A trained network and what it predicts for the test set.

    Args:
        name: name of the run.
        title: name of the run as readers see it.
        backend: the backend that trained the network and runs it.
        architecture: the network.
        load_parameters: reads its canonical parameters, which need not stay in memory.
        points: the points of its training curves.
        lr: the learning rate that it was trained with.
        predicted: the class of the largest logit for each test image, uint8 (N,).
        confidence: the probability of that class, float64 (N,).
    """

    name: str
    title: str
    backend: str
    architecture: Architecture
    load_parameters: Callable[[], Parameters]
    points: Sequence[Point]
    lr: float
    predicted: np.ndarray
    confidence: np.ndarray

    @property
    def test_acc(self) -> float:
        """The test accuracy after the last epoch."""
        return self.points[-1].test_acc or 0.0

    def misclassified(self, labels: np.ndarray) -> np.ndarray:
        """Indices of the examples that it misclassifies, the most confident mistake first."""
        wrong = np.flatnonzero(self.predicted != labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]


def predictions_and_confidence(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From logits (N, classes), the classes of the largest, uint8 (N,), and their probabilities, float64 (N,)."""
    confidence = np.exp(log_softmax(logits.astype(np.float64)).max(axis=1))
    return logits.argmax(axis=1).astype(np.uint8), confidence  # data have at most 256 classes


def choose_networks(networks: Sequence[ComparedNetwork]) -> list[ComparedNetwork]:
    """The networks to examine: all, or of more than `EXAMINED` the `CHOSEN` with the best test accuracy.

    They keep their order. Of equally good networks, the first are chosen.
    """
    if len(networks) <= EXAMINED:
        return list(networks)
    best = {net.name for net in sorted(networks, key=lambda net: -net.test_acc)[:CHOSEN]}
    return [net for net in networks if net.name in best]


class Disagreement(NamedTuple):
    """Examples for which two networks predict different classes.

    `examples` are indices in the test set, by falling confidence of the less confident network. The counts say how
    often each network is right on them.
    """

    first: str
    second: str
    examples: np.ndarray
    first_right: int
    second_right: int
    both_wrong: int


def disagreements(networks: Sequence[ComparedNetwork], labels: np.ndarray) -> list[Disagreement]:
    """The disagreement of every pair of networks."""
    found = []
    for a, b in combinations(networks, 2):
        differ = np.flatnonzero(a.predicted != b.predicted)
        confidence = np.minimum(a.confidence[differ], b.confidence[differ])
        differ = differ[np.argsort(-confidence, kind="stable")]
        a_right, b_right = (int((net.predicted[differ] == labels[differ]).sum()) for net in (a, b))
        found.append(Disagreement(a.name, b.name, differ, a_right, b_right, len(differ) - a_right - b_right))
    return found


class ShapeTable(NamedTuple):
    """The layer shapes of one architecture, and the networks that have it."""

    networks: list[str]
    shapes: LayerShapes


def shape_tables(networks: Sequence[ComparedNetwork], backends: Sequence[str]) -> list[ShapeTable]:
    """A table for each architecture, with its shapes in all these backends."""
    return [
        ShapeTable(
            [net.name for net in networks if net.architecture == architecture],
            measure_layer_shapes(architecture, backends),
        )
        for architecture in dict.fromkeys(net.architecture for net in networks)
    ]


def check_trained_network(network: ComparedNetwork, dataset: Dataset, backends: Iterable[str]) -> list[CheckResult]:
    """Run the parity checks that depend on the weights, with those of a trained network, in all these backends.

    These are layer outputs, loss, correct predictions (on the first 2,000 test images at most) and exchanged
    parameters. Checks of shapes and initial values do not depend on the weights. Gradients and steps of a trained
    network are small differences of large terms, so their relative rounding errors are large and prove nothing.

    The tolerances of the checks are for outputs of about 1. A trained network's outputs and their rounding errors are
    larger: the tolerances grow with the largest output, and that of the loss with the largest logit over the loss.
    """
    smaller = replace(dataset, test=dataset.test.subset(PARITY_TEST_IMAGES))
    fixture = Fixture(network.architecture, smaller, given_lr=network.lr, given_parameters=network.load_parameters())
    largest = max(float(np.abs(output).max()) for output in fixture.outputs.values())
    logit = float(np.abs(fixture.outputs[fixture.last_layer]).max())
    loss, _ = fixture.loss_and_gradients
    scales = {4: largest, 5: logit / max(loss, LEAST_LOSS), 9: 1.0, 10: largest}
    checks = tuple(
        _scaled(check, scales[check.number], len(smaller.test)) for check in PARITY_CHECKS if check.number in scales
    )
    return list(run_checks(fixture, {name: load_backend(name) for name in backends}, checks))


def _scaled(check: ParityCheck, scale: float, num_test: int) -> ParityCheck:
    title = check.title.replace("the test set", f"{num_test:,} test images")
    return replace(check, title=title, tolerance=check.tolerance * max(1.0, scale))


@dataclass(frozen=True)
class Findings:
    """What the networks predict; shapes and parity checks of those that are examined.

    Args:
        dataset: the data.
        networks: the network of every complete run.
        shape_tables: the shapes of the examined networks.
        parity_checks: the checks, by name of the network whose weights they use.
    """

    dataset: Dataset
    networks: list[ComparedNetwork]
    shape_tables: list[ShapeTable] = field(default_factory=list)
    parity_checks: dict[str, list[CheckResult]] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        return self.dataset.test.labels

    @cached_property
    def examined(self) -> list[ComparedNetwork]:
        """The networks that have sections in the report."""
        return choose_networks(self.networks)

    @property
    def choice(self) -> str:
        """Which networks are examined, in words; empty if it is all of them."""
        if len(self.examined) == len(self.networks):
            return ""
        return f"the {len(self.examined)} networks with the best test accuracy, of {len(self.networks):,}"

    @cached_property
    def disagreements(self) -> list[Disagreement]:
        """The disagreement of every pair of examined networks."""
        return disagreements(self.examined, self.labels)

    @property
    def differences(self) -> list[str]:
        """A sentence for each shape that is not the description's, and for each failed check."""
        sentences = [
            f"shapes: {difference} ({', '.join(table.networks)})"
            for table in self.shape_tables
            for difference in table.shapes.differences
        ]
        for name, results in self.parity_checks.items():
            for result in results:
                sentences += [
                    f"weights of {name}: {result.check.title} in {backend} off by {found.error:.3g}, "
                    f"tolerance {found.tolerance:.3g}"
                    for backend, found in result.measurements.items()
                    if not found.passed
                ]
        return sentences

    @property
    def parity_sentence(self) -> str:
        """What it means if all checks pass."""
        frameworks = [BACKENDS[name] for name in dict.fromkeys(net.backend for net in self.networks)]
        named = frameworks[0] if len(frameworks) == 1 else f"{', '.join(frameworks[:-1])} and {frameworks[-1]}"
        compute = "computes" if len(frameworks) == 1 else "compute"
        num_checks = len(next(iter(self.parity_checks.values())))
        num_checked = len(self.parity_checks)
        networks = f"each of {num_checked} networks" if num_checked > 1 else "the network"
        left_out = len(self.networks) - num_checked
        return (
            f"with the trained weights, {named} {compute} the same as the float64 reference: "
            f"{num_checks} checks on {networks} pass" + (f"; {left_out:,} networks are not checked" if left_out else "")
        )

    def as_json(self) -> dict[str, Any]:
        """Every number: the part of `compare.json` that is not about the runs."""
        return {
            "class_names": list(self.dataset.class_names),
            "labels": self.labels.tolist(),
            "predicted": {net.name: net.predicted.tolist() for net in self.networks},
            "confusion": {
                net.name: confusion_matrix(self.labels, net.predicted, self.dataset.num_classes).tolist()
                for net in self.networks
            },
            "misclassified": {net.name: net.misclassified(self.labels).tolist() for net in self.networks},
            "disagreements": [
                {**pair._asdict(), "count": len(pair.examples), "examples": pair.examples.tolist()}
                for pair in self.disagreements
            ],
            "shapes": [
                {
                    "architecture": table.shapes.architecture.to_dict(),
                    "networks": table.networks,
                    "expected": table.shapes.expected,
                    "measured": {
                        backend: {"layout": layout, "shapes": found}
                        for backend, (layout, found) in table.shapes.measured.items()
                    },
                }
                for table in self.shape_tables
            ],
            "parity_checks": {
                name: [as_json(result) for result in results] for name, results in self.parity_checks.items()
            },
            "differences": self.differences,
        }


def examine(networks: Sequence[ComparedNetwork], dataset: Dataset) -> Findings:
    """Measure layer shapes, and run the parity checks with each network's weights in the backends of all networks.

    Of many networks, only those that `choose_networks` returns.
    """
    backends = list(dict.fromkeys(net.backend for net in networks))
    chosen = choose_networks(networks)
    parity_checks = {net.name: check_trained_network(net, dataset, backends) for net in chosen}
    return Findings(dataset, list(networks), shape_tables(chosen, backends), parity_checks)
