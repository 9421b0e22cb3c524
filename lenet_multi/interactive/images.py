"""The test images that the page offers: some of each class."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np

from lenet_multi.data import Dataset, Split
from lenet_multi.interactive.short_text import short

PER_CLASS = 12
MOST_TEXT = 2_000_000  # characters of base64, four for three bytes


def image_data(dataset: Dataset) -> dict[str, Any]:
    """What the page's script reads of the test images, in the order of the test set."""
    indices = chosen_images(dataset.test)
    pixels = dataset.test.images[indices]
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    return {
        "dataset": short(Path(dataset.name).name),
        "pixels": b64encode(np.ascontiguousarray(pixels).tobytes()).decode(),
        "labels": dataset.test.labels[indices].tolist(),
        "indices": indices.tolist(),
    }


def chosen_images(data: Split) -> np.ndarray:
    """The indices of the first images of each class: as many of each as the page can hold, up to `PER_CLASS`.

    If it cannot hold one of each class, these are of as many classes as it can, and of one at least.
    """
    most = max(1, MOST_TEXT // 4 * 3 // data.images[0].size)
    rank = np.empty(len(data), int)  # of each image in its class
    for label in np.unique(data.labels):
        members = np.flatnonzero(data.labels == label)
        rank[members] = np.arange(len(members))
    for count in range(PER_CLASS, 0, -1):
        chosen = np.flatnonzero(rank < count)
        if len(chosen) <= most:
            return chosen
    return chosen[:most]
