"""Converts the arrays of any framework to NumPy arrays, finds them in nested values, and puts others in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def is_array(value: Any) -> bool:
    # Asked of the class: an instance may answer any name, as `nnx.Rngs` does.
    return hasattr(type(value), "asnumpy") or hasattr(type(value), "__array__")


def find_arrays(value: Any) -> list[Any]:
    """The framework's arrays in a value: an array, or nested tuples, lists and dicts of arrays."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [array for item in value for array in find_arrays(item)]
    return [value] if is_array(value) else []


def replace_arrays(value: Any, arrays: Iterator[Any]) -> Any:
    """The same value with other arrays, in the order of `find_arrays`."""
    if is_array(value):
        return next(arrays)
    if isinstance(value, list):
        return [replace_arrays(item, arrays) for item in value]
    if isinstance(value, tuple):
        items = [replace_arrays(item, arrays) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, Mapping):
        return {key: replace_arrays(item, arrays) for key, item in value.items()}
    return value


def as_numpy(array: Any) -> np.ndarray:
    """An array of any framework in NumPy; it may share the memory.

    Floats of less than 32 bits become float32, Booleans and small integers int64.
    """
    if hasattr(array, "asnumpy"):  # MXNet
        array = array.asnumpy()
    elif hasattr(array, "detach"):  # PyTorch, whose bfloat16 NumPy does not have
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() and array.element_size() < 4 else array).numpy()
    array = np.asarray(array)
    if array.dtype.kind in "bui":
        return array.astype(np.int64)
    return array.astype(np.float32) if array.dtype.kind == "V" or array.dtype.itemsize < 4 else array


def dtype_name(value: Any) -> str | None:
    """NumPy's name (`float32`) for the type of the first array in a value; None without an array."""
    array = next(iter(find_arrays(value)), None)
    if array is None:
        return None
    # A dtype has a `name` in NumPy and Keras, is a class in MXNet, and prints as `torch.float32` in PyTorch.
    dtype = array.dtype
    return getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).removeprefix("torch.")
