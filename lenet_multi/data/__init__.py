"""Data sets: Fashion-MNIST, MNIST, a folder of images or of IDX files, and images drawn by code.

Images stay unsigned bytes in memory, as published. A backend gathers each batch by index and scales it to [0, 1].
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs

from lenet_multi.architecture import NUM_CLASSES
from lenet_multi.data import published, synthetic
from lenet_multi.data.batches import BatchSampler, DataLoader, epoch_order
from lenet_multi.data.dataset import Dataset, Split, require_fit
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
from lenet_multi.data.image_folder import FolderOptions, has_class_folders, load_image_folder
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
    "epoch_order",
    "is_image_folder",
    "load_dataset",
    "require_fit",
]

DATASETS = ("auto", *published.PUBLISHED, "synthetic")


def cache_folder() -> Path:
    """The user's cache folder for this package."""
    return platformdirs.user_cache_path("lenet_multi")


def load_dataset(
    name: str = "auto",
    data_dir: str | Path | None = None,
    image_size: tuple[int, int] | None = None,
    test_fraction: float | None = None,
    split_seed: int = 0,
    channels: int | None = None,
) -> Dataset:
    """Load a data set into memory. Download or draw it first if necessary.

    Args:
        name: `fashion-mnist` or `mnist`, read from disk or downloaded; `synthetic`, images drawn by code; the path of a
            folder; or `auto`: Fashion-MNIST if it is on disk or can be downloaded, otherwise `synthetic`, with a
            warning on standard error. A folder holds four IDX files that have Fashion-MNIST's file names, or a folder
            of PNG or JPEG files for each class, or both `train` and `test` with such class folders.
        data_dir: the first folder to search for the subfolder of a published data set, and the folder to download it
            to. The folder in `$LENET_MULTI_DATA` and the user's cache folder are searched next; without `data_dir` the
            first of them is the folder to download to.
        image_size: height and width that the files of a folder of images are resized to; not needed if they have one
            size.
        test_fraction: the part of each class of such a folder that is held out for testing, if it has no `train` and
            `test`; by default 0.2.
        split_seed: seed of the choice of these images.
        channels: 1 for grey images, 3 for color; by default as the files of a folder of images are.

    Raises:
        DataError: if a file is missing or damaged, or does not match the others.
    """
    if not name:
        raise DataError(f"dataset '': choose one of {', '.join(DATASETS)}, or a folder with images")
    options = FolderOptions(image_size, test_fraction, split_seed, channels)
    if is_image_folder(name):
        return load_image_folder(Path(name), options)
    if options != FolderOptions():
        option = "--image-size" if image_size else "--test-fraction" if test_fraction else "--split-seed"
        raise DataError(f"{option} is for folders of PNG or JPEG files, and dataset '{name}' is not one: omit {option}")
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


def is_image_folder(name: str) -> bool:
    """Whether a data set's name is the path of a folder of images in class folders."""
    folder = Path(name)
    return name not in DATASETS and folder.is_dir() and not _has_idx(folder) and has_class_folders(folder)


def _has_idx(folder: Path) -> bool:
    return any(find_file(folder, name) for name in FILE_NAMES.values())


def _load_folder(name: str) -> Dataset:
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(
            f"dataset '{name}' is neither a known data set nor a folder: "
            f"choose one of {', '.join(DATASETS)}, or a folder with images"
        )
    if not _has_idx(folder):
        raise DataError(
            f"dataset folder '{folder}' has neither folders of PNG or JPEG files, one for each class, nor IDX "
            "files: see docs/data.md"
        )
    missing = [name for name in FILE_NAMES.values() if find_file(folder, name) is None]
    if missing:
        raise DataError(f"dataset folder '{folder}' lacks {', '.join(missing)}: add the missing files, plain or .gz")
    payloads = {file: read_payload(find_file(folder, file) or folder) for file in FILE_NAMES.values()}
    return _dataset(str(folder.resolve()), folder, payloads)


def _dataset(
    name: str, folder: Path, payloads: dict[str, bytearray], class_names: tuple[str, ...] | None = None
) -> Dataset:
    """Parse the four payloads and check that they match.

    Without names the classes are numbers: ten, as in MNIST, or as many as the largest label needs.
    """
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
        if class_names and labels.max() >= len(class_names):
            raise DataError(
                f"{folder / labels_file}: label {labels.max()}, expected 0 to {len(class_names) - 1}: relabel the data"
            )
        splits[which] = Split(images[:, np.newaxis], labels)
    sizes = {which: split.images.shape[2:] for which, split in splits.items()}
    if sizes["train"] != sizes["test"]:
        train, test = ("{} x {}".format(*size) for size in sizes.values())
        raise DataError(f"{folder}: training images are {train} but test images {test} pixels: use one size")
    num_classes = max(1 + int(splits["train"].labels.max()), NUM_CLASSES)
    largest = int(splits["test"].labels.max())
    if largest >= num_classes:
        raise DataError(
            f"{folder / FILE_NAMES['test labels']}: label {largest}, expected 0 to {num_classes - 1} as in the "
            "training data: relabel the data"
        )
    return Dataset(name, splits["train"], splits["test"], class_names or tuple(map(str, range(num_classes))))


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
