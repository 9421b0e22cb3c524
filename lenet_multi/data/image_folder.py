"""Your own data sets: a folder with a folder of PNG or JPEG files for each class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenet_multi.data.dataset import MAX_CLASSES, Dataset, Split
from lenet_multi.data.idx import DataError
from lenet_multi.data.image_file import SUFFIXES, image_header, read_image
from lenet_multi.system.machine import available_cores
from lenet_multi.system.memory import require_bytes
from lenet_multi.system.stderr import say

TEST_FRACTION = 0.2
MODES = {1: "L", 3: "RGB"}  # Pillow's names of grey and of color, by the number of channels
Size = tuple[int, int]  # height and width


@dataclass(frozen=True)
class FolderOptions:
    """How a folder of images becomes a data set.

    Args:
        image_size: height and width that the images are resized to; None if they have one size.
        test_fraction: the part of each class that is held out for testing, if the folder has no `train` and `test`.
        split_seed: seed of the choice of these images.
        channels: 1 or 3; None for 3 if a file is in color, else 1.
    """

    image_size: Size | None = None
    test_fraction: float | None = None
    split_seed: int = 0
    channels: int | None = None


def has_class_folders(folder: Path) -> bool:
    """Whether a folder has folders in it, so that it may hold a class in each."""
    return any(entry.is_dir() for entry in _visible(folder))


def has_test_folder(folder: Path) -> bool:
    """Whether a folder of images has the folders `train` and `test`, so that none are held out."""
    return all((folder / which).is_dir() for which in ("train", "test"))


def load_image_folder(folder: Path, options: FolderOptions) -> Dataset:
    """Read a folder of class folders, or of the folders `train` and `test` with class folders in both.

    Images are grey if all files are, otherwise in color. The examples are shuffled by the seed.

    Raises:
        DataError: if files cannot be opened, have other sizes without `image_size`, or are damaged. It names all files
            with the first of these problems that occurs.
    """
    if options.channels not in (None, *MODES):
        raise DataError(
            f"the network takes images of {options.channels} channels, expected 1 or 3: pictures have no others"
        )
    has_splits = has_test_folder(folder)
    if has_splits and options.test_fraction is not None:
        raise DataError(f"'{folder}' has the folders train and test: omit --test-fraction")
    parts = [folder / which for which in ("train", "test")] if has_splits else [folder]
    unused = [entry.name for entry in _visible(folder) if has_splits and entry not in parts]
    if unused:
        say(f"note: beside train and test, '{folder}' has {_listed(unused)}: not used")
    class_names = _class_names(parts)
    files = [[sorted(_visible(part / name), key=_name) for name in class_names] for part in parts]
    paths = [path for part in files for of_class in part for path in of_class]
    images = _read_all(folder, paths, options)
    labels = np.array([label for part in files for label, of_class in enumerate(part) for _ in of_class], np.uint8)
    rng = np.random.default_rng(options.split_seed)
    num_train = sum(map(len, files[0]))
    if has_splits:
        train, test = rng.permutation(num_train), num_train + rng.permutation(len(labels) - num_train)
    else:
        train, test = _held_out(folder, labels, class_names, options.test_fraction or TEST_FRACTION, rng)
    say(
        f"{len(class_names)} classes, {len(train):,} training and {len(test):,} test images, "
        f"{'in color' if images.shape[1] == 3 else 'grey'}, {images.shape[2]} x {images.shape[3]} pixels"
    )
    train_split, test_split = (Split(images[index], labels[index]) for index in (train, test))
    return Dataset(str(folder.resolve()), train_split, test_split, tuple(class_names))


def _name(path: Path) -> str:
    """The key to sort by: Windows sorts paths without regard to case."""
    return path.name


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, without the files that systems hide or leave there."""
    try:
        entries = list(folder.iterdir())
    except OSError as problem:
        raise DataError(f"folder '{folder}' cannot be read ({problem.strerror}): check its permissions") from problem
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM_FILES]


SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")


def _class_names(parts: Sequence[Path]) -> list[str]:
    """The names of the class folders, in alphabetical order, the same in all parts."""
    names = [{entry.name for entry in _visible(part) if entry.is_dir()} for part in parts]
    missing = [
        f"'{part}' lacks {_listed(lacking)}"
        for part, lacking in ((parts[0], names[-1] - names[0]), (parts[-1], names[0] - names[-1]))
        if lacking
    ]
    if missing:
        raise DataError(f"{' and '.join(missing)}: use the same classes in train and test")
    nested = [entry for part in parts for name in sorted(names[0]) for entry in _visible(part / name) if entry.is_dir()]
    if nested:
        raise DataError(
            f"'{nested[0]}' is a folder in the class folder '{nested[0].parent}': move or remove it; a data set is a "
            "folder with a folder of images for each class, or with the folders train and test that have such folders"
        )
    loose = [str(entry) for part in parts for entry in _visible(part) if not entry.is_dir()]
    if loose:
        raise DataError(f"files outside the class folders: {_listed(loose)}: move or remove them")
    empty = [str(part / name) for part in parts for name in names[0] if not _visible(part / name)]
    if empty:
        raise DataError(f"no images in {_listed(empty)}: add some, or remove the folders")
    if not 2 <= len(names[0]) <= MAX_CLASSES:
        raise DataError(
            f"'{parts[0]}' has {len(names[0])} class folder{'s' * (len(names[0]) != 1)}, expected 2 to {MAX_CLASSES}"
        )
    return sorted(names[0])


def _read_all(folder: Path, paths: Sequence[Path], options: FolderOptions) -> np.ndarray:
    """All images, uint8 (N, C, H, W)."""
    image_size = options.image_size
    headers = _for_each(folder, _header, paths)
    sizes: dict[Size, list[Path]] = {}
    for path, (size, _) in zip(paths, headers, strict=True):
        sizes.setdefault(size, []).append(path)
    if image_size is None and len(sizes) > 1:
        common = max(sizes, key=lambda size: len(sizes[size]))
        others = [f"{path} ({_text(size)})" for size, found in sizes.items() if size != common for path in found]
        if 2 * len(sizes[common]) <= len(paths):
            raise DataError(f"the images in '{folder}' have {len(sizes)} sizes: pass --image-size, such as 32 32")
        raise DataError(
            f"'{folder}' has images of {len(sizes)} sizes: pass --image-size, such as {common[0]} {common[1]}, to "
            f"resize them. Most have {_text(common)} pixels (height x width), but not {_listed(others)}"
        )
    height, width = image_size or next(iter(sizes))
    channels = options.channels or (3 if any(is_color for _, is_color in headers) else 1)
    require_bytes(2 * len(paths) * channels * height * width, f"'{folder}'", "choose a smaller --image-size")
    images = np.empty((len(paths), channels, height, width), np.uint8)
    say(f"reading {len(paths):,} images from '{folder}'")

    def read(number: int) -> None:
        from PIL import Image

        image, _ = read_image(paths[number])
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        pixels = np.asarray(image.convert(MODES[channels]))
        images[number] = pixels.reshape(height, width, channels).transpose(2, 0, 1)

    _for_each(folder, read, range(len(paths)))
    return images


def _header(path: Path) -> tuple[Size, bool]:
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path}: is not a PNG or JPEG file ({', '.join(SUFFIXES)}): remove it")
    return image_header(path)


def _for_each(folder: Path, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call a function for each item in threads; one error names all that failed."""

    def outcome(item: Any) -> Any:
        try:
            return function(item)
        except DataError as problem:
            return problem

    # Pillow warns about metadata and large images. The list of filters belongs to the process, not to a thread.
    with warnings.catch_warnings(), ThreadPoolExecutor(available_cores()) as threads:
        warnings.simplefilter("ignore")
        outcomes = list(threads.map(outcome, items))
    problems = [str(problem) for problem in outcomes if isinstance(problem, DataError)]
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        raise DataError(f"{len(problems)} files of '{folder}' cannot be used: {'; '.join(problems)}")
    return outcomes


def _held_out(
    folder: Path, labels: np.ndarray, class_names: Sequence[str], fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the training and of the test images: in each class a part is held out, at least one image."""
    train, test = [], []
    for label, name in enumerate(class_names):
        order = rng.permutation(np.flatnonzero(labels == label))
        held_out = max(1, round(fraction * len(order)))
        if held_out >= len(order):
            raise DataError(
                f"'{folder / name}' has {len(order)} image{'s' * (len(order) != 1)}, too few to hold out "
                f"{fraction:g} of them for testing: add images, or choose a smaller --test-fraction"
            )
        test.append(order[:held_out])
        train.append(order[held_out:])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names))


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
