"""Images and labels in memory: a split, and a data set of a training and a test split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.data.idx import DataError

MAX_CLASSES = 256  # labels are bytes

Arrays = tuple[np.ndarray, np.ndarray]  # images and labels


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Args:
        images: (N, C, H, W), the pixels: uint8 from 0 to 255, which the backends scale to [0, 1], or float32 in
            [0, 1], which they take as they are.
        labels: class indices (N,), integers from 0, usually uint8.

    Raises:
        DataError: if an array has another dtype, shape or range, or there are more images than labels, or fewer.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for what, array in (("images", self.images), ("labels", self.labels)):
            if not isinstance(array, np.ndarray):
                raise DataError(f"{what} of type {type(array).__name__}, expected a NumPy array: use numpy.asarray")
        if self.images.dtype not in (np.uint8, np.float32):
            raise DataError(
                f"images of dtype {self.images.dtype}, expected uint8, the pixels from 0 to 255, or float32, the "
                "pixels from 0 to 1: convert them"
            )
        if self.images.ndim != 4:
            advice = "add the axis of the channels, as in images[:, np.newaxis]" if self.images.ndim == 3 else "reshape"
            raise DataError(f"images of shape {self.images.shape}, expected (N, channels, height, width): {advice}")
        if self.images.dtype == np.float32 and self.images.size:
            lowest, highest = self.images.min(), self.images.max()
            if not (lowest >= 0 and highest <= 1):  # false for NaN too
                raise DataError(
                    f"float32 images from {lowest:g} to {highest:g}, expected pixels from 0 to 1: scale them, or pass "
                    "uint8 pixels from 0 to 255"
                )
        if self.labels.ndim != 1 or not np.issubdtype(self.labels.dtype, np.integer):
            raise DataError(
                f"labels of dtype {self.labels.dtype} and shape {self.labels.shape}, expected integers (N,): one class "
                "index for each image"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels: pass one label for each image")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < MAX_CLASSES:
            raise DataError(
                f"labels from {self.labels.min()} to {self.labels.max()}, expected class indices from 0 to at most "
                f"{MAX_CLASSES - 1}: relabel the data"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def max_pixel(self) -> int:
        """The value of a white pixel: 255 in bytes, 1 in float32."""
        return 255 if self.images.dtype == np.uint8 else 1

    def scaled(self, index: Any = slice(None)) -> np.ndarray:
        """The images with these indices, all by default, with pixels in [0, 1]: float32 (n, C, H, W)."""
        return self.images[index] / np.float32(self.max_pixel)

    def subset(self, num_examples: int) -> Split:
        """The first `num_examples` examples."""
        return Split(self.images[:num_examples], self.labels[:num_examples])


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Args:
        name: `fashion-mnist`, `mnist`, `synthetic`, the path of a folder, or any other name.
        train: the training split.
        test: the test split, with images of the same shape and dtype.
        class_names: the names of the labels, from 0; from 2 to 256.

    Raises:
        DataError: if the splits do not match, or a label has no name.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))
        train, test = self.train.images, self.test.images
        if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
            raise DataError(
                f"dataset '{self.name}': training images of {_text(train)} but test images of {_text(test)}: use one "
                "size and type"
            )
        for what, split in (("training", self.train), ("test", self.test)):
            if not len(split):
                raise DataError(f"dataset '{self.name}' has no {what} images, expected at least one")
            if split.labels.max() >= self.num_classes:
                raise DataError(
                    f"dataset '{self.name}' has {what} labels up to {split.labels.max()}, but {self.num_classes} class "
                    "names: name every class, or relabel the data"
                )
        if not 2 <= self.num_classes <= MAX_CLASSES:
            raise DataError(
                f"dataset '{self.name}' has {self.num_classes} class{'es' * (self.num_classes != 1)}, expected 2 to "
                f"{MAX_CLASSES}: add or merge classes"
            )

    @classmethod
    def from_arrays(
        cls,
        train: Arrays,
        test: Arrays,
        class_names: Sequence[str] | None = None,
        channels_last: bool = False,
        name: str = "arrays",
    ) -> Dataset:
        """A data set from arrays.

        Args:
            train: the training images and labels. Images are uint8 from 0 to 255, or float32 in [0, 1]; their shape is
                (N, H, W) or (N, C, H, W).
            test: the same for testing.
            class_names: the names of the labels, from 0; by default the numbers as text, one for each label.
            channels_last: whether the images are (N, H, W, C).
            name: the name that messages and titles use.

        Raises:
            DataError: if the arrays are not as described.
        """
        train_split, test_split = (
            Split(_channels_first(images, channels_last), np.asarray(labels)) for images, labels in (train, test)
        )
        if class_names is None:
            largest = max(int(split.labels.max(initial=0)) for split in (train_split, test_split))
            class_names = tuple(map(str, range(largest + 1)))
        return cls(name, train_split, test_split, tuple(class_names))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the images and labels: two runs with the same digest saw the same data."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()


def require_fit(architecture: Architecture, dataset: Dataset) -> None:
    """Check that the images of a data set have the network's input shape, and its classes the number of its outputs.

    Raises:
        DataError: if they have not.
    """
    if architecture.input_shape != dataset.image_shape:
        found, expected = (" x ".join(map(str, size)) for size in (dataset.image_shape, architecture.input_shape))
        raise DataError(
            f"dataset '{dataset.name}' has images of {found}, expected {expected} for this network: rescale the images"
        )
    if architecture.num_classes != dataset.num_classes:
        raise DataError(
            f"dataset '{dataset.name}' has {dataset.num_classes} classes, but the network has "
            f"{architecture.num_classes} outputs: choose the data that it was trained on"
        )


def _channels_first(images: np.ndarray, channels_last: bool) -> np.ndarray:
    """Images as (N, C, H, W), in memory too."""
    images = np.asarray(images)
    if images.ndim == 3:
        return images[:, np.newaxis]
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if channels_last and images.ndim == 4 else images


def _text(images: np.ndarray) -> str:
    return f"{' x '.join(map(str, images.shape[1:]))}, {images.dtype}"
