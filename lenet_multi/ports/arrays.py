"""Converts the arrays of any framework to NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def find_arrays(value: Any) -> list[Any]:
    """Return the framework's arrays in a value: an array, or nested tuples, lists and dicts of arrays."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [array for item in value for array in find_arrays(item)]
    return [value] if hasattr(value, "asnumpy") or hasattr(value, "__array__") else []


def float64_copies(value: Any) -> list[np.ndarray]:
    """Return float64 copies of the arrays that `find_arrays` finds in a value."""
    return [np.array(as_numpy(array), np.float64) for array in find_arrays(value)]


def as_numpy(array: Any) -> np.ndarray:
    """Convert an array of any framework to NumPy; PyTorch floats become float64."""
    if hasattr(array, "asnumpy"):  # MXNet
        return array.asnumpy()
    if hasattr(array, "detach"):  # PyTorch, whose bfloat16 NumPy does not have
        array = array.detach().cpu()
        return (array.double() if array.is_floating_point() else array).numpy()
    return np.asarray(array)


def dtype_name(value: Any) -> str | None:
    """Return NumPy's name (`float32`) for the type of the first array in a value; None without an array."""
    array = next(iter(find_arrays(value)), None)
    if array is None:
        return None
    # A dtype has a `name` in NumPy and Keras, is a class in MXNet, and prints as `torch.float32` in PyTorch.
    dtype = array.dtype
    return getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).removeprefix("torch.")


def squeeze_spatial(array: np.ndarray) -> np.ndarray:
    """Reshape (N, C, 1, 1) to (N, C); return any other array unchanged."""
    return array[:, :, 0, 0] if array.ndim == 4 and array.shape[2:] == (1, 1) else array
