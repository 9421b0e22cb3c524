"""The layouts in which frameworks hold the same array: channels first or last, with axes of length 1, flattened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np

from lenet_multi.ports.agreement import largest_error, scale_of

Shape = tuple[int, ...]

ROUNDED = 0.1  # of the largest value: more than the errors of a few layers in half precision


def layouts(array: np.ndarray, images: Sequence[Shape] = ()) -> Iterator[np.ndarray]:
    """An array as it is, then in the other layouts that it may have in another framework, as views if possible.

    Args:
        array: with the examples on the first axis.
        images: shapes (C, H, W) of the images that it may be the flattened form of.
    """
    yield array
    if array.ndim >= 3:
        yield np.moveaxis(array, 1, -1)
        yield np.moveaxis(array, -1, 1)
        yield array.reshape(len(array), -1)
        yield np.moveaxis(array, 1, -1).reshape(len(array), -1)
        yield np.moveaxis(array, -1, 1).reshape(len(array), -1)
    if array.ndim == 2:
        for image in images:
            if prod(image) == array.shape[1] and prod(image[1:]) > 1:
                for order in flatten_orders(image):
                    yield array[:, order]
                yield array.reshape(-1, *image)
                yield np.moveaxis(array.reshape(-1, *image), 1, -1)
                yield array.reshape(-1, *image[1:], image[0])
                yield np.moveaxis(array.reshape(-1, *image[1:], image[0]), -1, 1)
        for ones in (1, 2, 3):
            yield array.reshape(*array.shape, *[1] * ones)
            yield array.reshape(len(array), *[1] * ones, array.shape[1])


def like(
    array: np.ndarray, other: np.ndarray, expected: Callable[[np.ndarray], np.ndarray], images: Sequence[Shape] = ()
) -> np.ndarray | None:
    """The array in the layout of another one; None if no layout has the other's shape.

    Args:
        array: an array of the reference.
        other: the port's.
        expected: the usual conversion between the two networks; another layout counts only if the numbers are near.
        images: see `layouts`.
    """
    usual = expected(array)
    fitting = [candidate for candidate in layouts(array, images) if candidate.shape == other.shape]
    if usual.shape == other.shape:
        fitting.insert(0, usual)
    if len(fitting) < 2:
        return next(iter(fitting), None)
    scale = scale_of(other[:1])  # the first example tells
    errors = [largest_error(layout[:1], other[:1]) for layout in fitting]
    for layout, error in zip(fitting, errors, strict=True):
        if error <= 1e-3 * scale:
            return layout
    nearest = int(np.argmin(errors))  # in half precision no layout is that near
    return fitting[nearest if errors[nearest] <= min(ROUNDED * scale, errors[0] / 4) else 0]


def first_to_last(array: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as (N, H, W, C); arrays of fewer axes as they are."""
    return np.moveaxis(array, 1, -1) if array.ndim >= 4 else array


def last_to_first(array: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) as (N, C, H, W); arrays of fewer axes as they are."""
    return np.moveaxis(array, -1, 1) if array.ndim >= 4 else array


def flatten_orders(image: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The permutations of flattened numbers from (C, H, W) to (H, W, C), and from (H, W, C) to (C, H, W)."""
    channels, *size = image
    numbers = np.arange(prod(image))
    to_last = np.moveaxis(numbers.reshape(channels, *size), 0, -1).ravel()
    to_first = np.moveaxis(numbers.reshape(*size, channels), -1, 0).ravel()
    return to_last, to_first
