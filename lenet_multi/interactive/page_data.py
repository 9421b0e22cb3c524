"""What the page's script reads, as JSON: texts, networks with their parameters, and test images."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import BACKENDS
from lenet_multi.data import Dataset
from lenet_multi.interactive.images import image_data
from lenet_multi.interactive.short_text import short
from lenet_multi.interactive.shown_runs import ShownRun, epochs_of
from lenet_multi.runs.prediction import is_light_on_black
from lenet_multi.runs.weights import Parameters
from lenet_multi.training.points import rounded, thinned

MOST_POINTS = 300  # of the curves of a run


def page_data(runs: Sequence[ShownRun], texts: Mapping[str, str]) -> dict[str, Any]:
    """The data of a page.

    Args:
        runs: the networks, the first of which chooses the test images.
        texts: the words of the page.

    Raises:
        UserError: when the data cannot be loaded, or the file of a kept epoch is damaged.
    """
    first = runs[0].trained
    return {
        "texts": dict(texts),
        "colors": _base64(colors()),
        "frameworks": BACKENDS,
        "lightOnBlack": is_light_on_black(first),
        "classes": [short(name) or str(i) for i, name in enumerate(class_names(runs, first.dataset))],
        "runs": [run_data(run, len(runs), texts) for run in runs],
        "images": image_data(first.dataset),
    }


def class_names(runs: Sequence[ShownRun], dataset: Dataset) -> tuple[str, ...]:
    """The names of the classes: as in the first file that has any, else those of the data."""
    return next((run.trained.class_names for run in runs if run.trained.class_names), dataset.class_names)


@cache
def colors() -> np.ndarray:
    """The colors of the page's feature maps, from dark to light: uint8 (256, 3). All readers can tell them apart."""
    from matplotlib import colormaps

    return np.ascontiguousarray(colormaps["cividis"](np.arange(256), bytes=True)[:, :3])


def run_data(run: ShownRun, num_runs: int, texts: Mapping[str, str]) -> dict[str, Any]:
    """What the script reads of a network."""
    trained, points = run.trained, run.trained.run.points if run.trained.run else []
    architecture = trained.architecture
    return {
        "title": run.title,
        "facts": run.facts(texts),
        "description": architecture.to_dict(),
        "testAccuracy": rounded(points[-1].test_acc) if points else None,
        "points": [
            [rounded(value) for value in (point.epoch, point.train_loss, point.train_acc, point.test_acc)]
            for point in thinned(points, MOST_POINTS)
        ],
        "parameters": parameter_text(architecture, trained.parameters),
        "epochs": [
            {"epoch": epoch, "parameters": parameter_text(architecture, parameters)}
            for epoch, parameters in epochs_of(run, num_runs)
        ],
    }


def parameter_text(architecture: Architecture, parameters: Parameters) -> str:
    """All arrays in the order of the description, as float32 in base64, little-endian on every machine."""
    arrays = [parameters[name].ravel() for name in architecture.parameter_shapes]
    return _base64(np.concatenate(arrays).astype("<f4"))


def _base64(array: np.ndarray) -> str:
    return b64encode(array.tobytes()).decode()
