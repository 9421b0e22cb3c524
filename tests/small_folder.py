"""A small data set in files: images that a network learns in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lenet_multi.data.idx import FILE_NAMES, to_idx


def blobs(num_examples: int, size: int = 28, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, size, size) of noise with a bright square, and labels uint8 (n,) given by its position."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(num_examples).astype(np.uint8) % 10
    images = rng.integers(0, 60, (num_examples, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[9 * row : 9 * row + 8, 7 * column : 7 * column + 6] += 180
    return images, labels


def write_folder(folder: Path, num_train: int = 200, num_test: int = 50, size: int = 28) -> Path:
    """Write a folder with four IDX files."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*blobs(num_train, size), *blobs(num_test, size, seed=1))
    for name, array in zip(FILE_NAMES.values(), arrays, strict=True):
        (folder / name).write_bytes(to_idx(array))
    return folder
