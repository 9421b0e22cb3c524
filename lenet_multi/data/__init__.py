"""Data sets: Fashion-MNIST, MNIST, a folder of IDX files, and images drawn by code.

Images stay unsigned bytes in memory, as published. A backend gathers each batch by index and scales it to [0, 1].
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from lenet_multi.architecture import NUM_CLASSES, Architecture
from lenet_multi.data import published, synthetic
from lenet_multi.data.batches import BatchSampler, DataLoader, epoch_order
from lenet_multi.data.idx import (
    FILE_NAMES,
    IMAGES_MAGIC,
    LABELS_MAGIC,
    DataError,
    find_file,
    parse_idx,
    read_payload,
    to_idx,
)
from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.folder_lock import locked_folder
from lenet_multi.system.stderr import say

__all__ = [
    "BatchSampler",
    "DataError",
    "DataLoader",
    "Dataset",
    "Split",
    "cache_folder",
    "data_digest",
    "epoch_order",
    "load_dataset",
    "require_images_fit",
]

DATASETS = ("auto", *published.PUBLISHED, "synthetic")


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Args:
        images: uint8 (N, C, H, W), the pixels from 0 to 255: the backends scale them to [0, 1].
        labels: integers (N,) from 0 to 9, usually uint8.

    Raises:
        DataError: if an array has another dtype, shape or range, or there are more images than labels, or fewer.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for what, array in (("images", self.images), ("labels", self.labels)):
            if not isinstance(array, np.ndarray):
                raise DataError(f"{what} of type {type(array).__name__}, expected a NumPy array: use numpy.asarray")
        if self.images.dtype != np.uint8:
            raise DataError(
                f"images of dtype {self.images.dtype}, expected uint8, the pixels from 0 to 255: do not scale them, "
                "because the backends do"
            )
        if self.images.ndim != 4:
            advice = "add the axis of the channels, as in images[:, np.newaxis]" if self.images.ndim == 3 else "reshape"
            raise DataError(f"images of shape {self.images.shape}, expected (N, channels, height, width): {advice}")
        if self.labels.ndim != 1 or not np.issubdtype(self.labels.dtype, np.integer):
            raise DataError(
                f"labels of dtype {self.labels.dtype} and shape {self.labels.shape}, expected integers (N,): one class "
                "index for each image"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels: pass one label for each image")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < NUM_CLASSES:
            raise DataError(
                f"labels from {self.labels.min()} to {self.labels.max()}, expected 0 to {NUM_CLASSES - 1}: relabel the "
                "data"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, num_examples: int) -> Split:
        """The first `num_examples` examples."""
        return Split(self.images[:num_examples], self.labels[:num_examples])


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    `name` is `fashion-mnist`, `mnist`, `synthetic` or the path of a folder. `class_names` names the labels 0 to 9.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]


def data_digest(dataset: Dataset) -> str:
    """SHA-256 over the images and labels: two runs with the same digest saw the same data."""
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        digest.update(split.images.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """The user's cache folder for this package."""
    return platformdirs.user_cache_path("lenet_multi")


def load_dataset(name: str = "auto", data_dir: str | Path | None = None) -> Dataset:
    """Load a data set into memory. Download or draw it first if necessary.

    Args:
        name: `fashion-mnist` or `mnist`, read from disk or downloaded; `synthetic`, images drawn by code; the path of a
            folder with four IDX files that have Fashion-MNIST's file names; or `auto`: Fashion-MNIST if it is on disk
            or can be downloaded, otherwise `synthetic`, with a warning on standard error.
        data_dir: the first folder to search for the subfolder of a published data set, and the folder to download it
            to. The folder in `$LENET_MULTI_DATA` and the user's cache folder are searched next; without `data_dir` the
            first of them is the folder to download to.

    Raises:
        DataError: if a file is missing or damaged, or does not match the others.
    """
    if not name:
        raise DataError(f"dataset '': choose one of {', '.join(DATASETS)}, or a folder with four IDX files")
    if name == "auto":
        try:
            return load_dataset("fashion-mnist", data_dir)
        except published.DownloadError as problem:
            say(
                f"warning: {problem}.\nwarning: using `synthetic` instead, images drawn by code: "
                "its figures are NOT for Fashion-MNIST."
            )
            return load_dataset("synthetic")
    if name == "synthetic":
        return _load_synthetic()
    if name in published.PUBLISHED:
        roots = [Path(root) for root in (data_dir, os.environ.get("LENET_MULTI_DATA"), cache_folder()) if root]
        folder, payloads = published.payloads(name, roots)
        if data_dir and folder.parent != Path(data_dir):
            say(f"note: '{data_dir}' does not contain {name}: using '{folder}'")
        return _dataset(name, folder, payloads, published.PUBLISHED[name].class_names)
    return _load_folder(name)


def require_images_fit(architecture: Architecture, dataset: Dataset) -> None:
    """Check that the images of a data set have the network's input shape.

    Raises:
        DataError: if they have another shape.
    """
    shape = dataset.train.images.shape[1:]
    if architecture.input_shape != shape:
        found, expected = (" x ".join(map(str, size)) for size in (shape, architecture.input_shape))
        raise DataError(
            f"dataset '{dataset.name}' has images of {found}, expected {expected} for this network: rescale the images"
        )


def _load_folder(name: str) -> Dataset:
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(
            f"dataset '{name}' is neither a known data set nor a folder: "
            f"choose one of {', '.join(DATASETS)}, or a folder with four IDX files"
        )
    missing = [name for name in FILE_NAMES.values() if find_file(folder, name) is None]
    if missing:
        raise DataError(f"dataset folder '{folder}' lacks {', '.join(missing)}: add the missing files, plain or .gz")
    payloads = {file: read_payload(find_file(folder, file) or folder) for file in FILE_NAMES.values()}
    return _dataset(str(folder.resolve()), folder, payloads, tuple(map(str, range(NUM_CLASSES))))


def _dataset(name: str, folder: Path, payloads: dict[str, bytearray], class_names: tuple[str, ...]) -> Dataset:
    """Parse the four payloads and check that they match."""
    splits = {}
    for which in ("train", "test"):
        images_file, labels_file = FILE_NAMES[f"{which} images"], FILE_NAMES[f"{which} labels"]
        images = parse_idx(payloads[images_file], IMAGES_MAGIC, folder / images_file)
        labels = parse_idx(payloads[labels_file], LABELS_MAGIC, folder / labels_file)
        if len(images) != len(labels):
            raise DataError(
                f"{folder}: {len(images)} images in {images_file} but {len(labels)} labels in {labels_file}: "
                "use two files of the same data set"
            )
        if len(images) == 0:
            raise DataError(f"{folder / images_file}: contains no images, expected at least one")
        if labels.max() >= NUM_CLASSES:
            raise DataError(
                f"{folder / labels_file}: label {labels.max()}, expected 0 to {NUM_CLASSES - 1}: relabel the data"
            )
        splits[which] = Split(images[:, np.newaxis], labels)
    sizes = {which: split.images.shape[2:] for which, split in splits.items()}
    if sizes["train"] != sizes["test"]:
        train, test = ("{} x {}".format(*size) for size in sizes.values())
        raise DataError(f"{folder}: training images are {train} but test images {test} pixels: use one size")
    return Dataset(name, splits["train"], splits["test"], class_names)


def _load_synthetic() -> Dataset:
    """Read the drawn images from the cache, or draw them and save them there if possible."""
    folder = cache_folder() / f"synthetic-v{synthetic.VERSION}"
    class_names = published.FASHION_MNIST.class_names
    try:
        payloads = {name: read_payload(folder / name) for name in FILE_NAMES.values()}
        return _dataset("synthetic", folder, payloads, class_names)
    except DataError:
        pass
    arrays = synthetic.generate()
    payloads = {name: bytearray(to_idx(array)) for name, array in zip(FILE_NAMES.values(), arrays, strict=True)}
    try:
        with locked_folder(folder, FILE_NAMES.values()):
            for name, payload in payloads.items():
                write_atomically(folder / name, payload)
            _remove_leftovers(folder)
    except UserError as problem:
        say(f"note: the drawn images could not be saved: {problem}")
    return _dataset("synthetic", folder, payloads, class_names)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders that killed processes of earlier versions left beside this one."""
    for leftover in folder.parent.glob(f"{folder.name}-*"):
        with suppress(OSError):
            for name in FILE_NAMES.values():
                (leftover / name).unlink(missing_ok=True)
            leftover.rmdir()
