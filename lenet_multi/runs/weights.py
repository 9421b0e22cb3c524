"""Parameters in a file: canonical arrays as safetensors, with a description of their origin as metadata.

Safetensors holds arrays and text only: unlike a pickle, it runs no code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from lenet_multi.architecture import MAX_LAYERS, PRESETS, Architecture, Layer
from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.memory import require_bytes
from lenet_multi.system.regular_files import open_regular

Parameters = dict[str, np.ndarray]


class StoredArray(NamedTuple):
    """An array in a file: what its header tells, so that a file can be refused before its numbers are read."""

    shape: tuple[int, ...]
    dtype: str


Arrays = Mapping[str, np.ndarray] | Mapping[str, StoredArray]

CHECKPOINT = "model.safetensors"  # the file of parameters in the folder of a run

# The header holds names, shapes and metadata. As Python objects, it can take 25 times its size.
MAX_HEADER = 2**24  # bytes
MAX_PARAMETERS = 2 * MAX_LAYERS  # a weight and a bias for each layer

# What to do about parameters that do not fit, in a file with a description of its network, and in one without.
DESCRIBED = "the backend's LeNet has changed since, or the file is damaged"
UNDESCRIBED = "pass the network options that it was trained with"


class WeightsError(UserError):
    """A weights file that cannot be used."""


def weights_file(path: str | Path) -> Path:
    """The file of parameters at a path: the folder of a run stands for the file in it.

    Raises:
        WeightsError: for a folder of several runs.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    runs = sorted(file.parent for file in path.glob(f"*/{CHECKPOINT}"))
    if runs and not (path / CHECKPOINT).exists():
        raise WeightsError(f"{str(path)!r} is a folder of runs: pass one of them, as in {runs[0]}")
    return path / CHECKPOINT


def save_weights(path: str | Path, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write canonical parameters, completely or not at all; each value of `metadata` is stored as JSON text.

    Raises:
        UserError: when the file cannot be written.
        WeightsError: when its header would be too long to be read again.
    """
    text = {key: json.dumps(value) for key, value in metadata.items()}
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in parameters.items()}
    content = safetensors.numpy.save(arrays, metadata=text)
    if (length := header_length(content)) > MAX_HEADER:
        raise WeightsError(
            f"'{path}' would have a header of {length:,} bytes, expected at most {MAX_HEADER:,}: train fewer epochs"
        )
    write_atomically(Path(path), content)


def header_length(start: bytes) -> int:
    """The length that a safetensors file gives for its header, from its first bytes."""
    return int.from_bytes(start[:8], "little")


def load_weights(path: str | Path) -> tuple[Parameters, dict[str, Any]]:
    """The parameters and metadata of a safetensors file; the metadata is empty if another program wrote the file.

    Args:
        path: the file, or the folder of a run.

    Raises:
        WeightsError: when the file is missing, unreadable, truncated or not safetensors, the folder holds several runs,
            or a parameter is not finite.
        UserError: when there is not enough memory for the parameters.
    """
    path = weights_file(path)
    with _opened(path) as file:
        require_bytes(path.stat().st_size, f"weights file '{path}'", "choose another file")
        names = file.keys()
        parameters = {name: file.get_tensor(name) for name in names}
        metadata = _metadata(file)
    require_finite(parameters, path)
    return parameters, metadata


def load_header(path: str | Path) -> tuple[dict[str, StoredArray], dict[str, Any]]:
    """The shapes and metadata of a file as of `load_weights`, which may be larger than the memory."""
    with _opened(weights_file(path)) as file:
        names = file.keys()
        slices = {name: file.get_slice(name) for name in names}
        arrays = {name: StoredArray(tuple(s.get_shape()), _dtype(s.get_dtype())) for name, s in slices.items()}
        return arrays, _metadata(file)


def load_network(path: Path, given: Architecture | None) -> tuple[Architecture, Parameters, dict[str, Any]]:
    """The network that a weights file is for, its parameters, and the metadata.

    A file of other arrays than the network's is refused before they are read.

    Raises:
        WeightsError: as for `architecture_of` and `load_weights`.
        UserError: when there is not enough memory for the parameters.
    """
    architecture = architecture_of(path, *load_header(path), given)
    return architecture, *load_weights(path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file. One of more arrays than a network can have, or with a longer header, is refused."""
    try:
        with open_regular(path) as start:  # safetensors reports every file that it cannot open as missing
            length = header_length(start.read(8))
        if length > MAX_HEADER:
            raise safetensors.SafetensorError(f"a header of {length:,} bytes")
        with safetensors.safe_open(path, framework="numpy") as file:
            if len(file.keys()) > MAX_PARAMETERS:
                raise safetensors.SafetensorError(f"{len(file.keys()):,} arrays")
            yield file
    except FileNotFoundError as problem:
        raise WeightsError(f"weights file '{path}' does not exist: check the path") from problem
    except (OSError, ValueError) as problem:  # a path with a null byte is a ValueError
        reason = getattr(problem, "strerror", None) or problem
        raise WeightsError(
            f"weights file '{path}' cannot be read ({reason}): check the permissions or choose another file"
        ) from problem
    except (safetensors.SafetensorError, TypeError, KeyError, AttributeError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise WeightsError(
            f"weights file '{path}' is truncated or not a safetensors file ({reason}): restore a complete copy, or "
            "train again"
        ) from problem


def _dtype(name: str) -> str:
    """NumPy's name for the type of an array of floats."""
    return {"F16": "float16", "F32": "float32", "F64": "float64"}.get(name, name)


def _metadata(file: Any) -> dict[str, Any]:
    text = file.metadata() or {}
    try:
        metadata = {key: json.loads(text[key]) for key in ("architecture", "run") if key in text}
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or lists in lists in lists
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, dict)}


def architecture_of(
    path: Path, arrays: Arrays, metadata: Mapping[str, Any], given: Architecture | None
) -> Architecture:
    """The network that a weights file is for: as the file describes it, else `given`, else LeNet-5.

    `given` may be for images of another size and another number of classes.

    Raises:
        WeightsError: when the arrays do not fit it, or `given` differs from the file's description.
    """
    own = Architecture.from_dict(metadata["architecture"]) if "architecture" in metadata else None
    if given and own and given.layers[:-1] != own.layers[:-1]:
        pairs = zip(own.named_layers.items(), given.layers, strict=False)
        differences = (_difference(name, expected, layer) for (name, expected), layer in pairs if expected != layer)
        difference = next(differences, "it has a different number of layers")
        raise WeightsError(
            f"weights file '{path}' is for a different network than the options describe ({difference}): omit the "
            "network options"
        )
    architecture = own or given or PRESETS["lenet5"]
    require_fit(arrays, architecture, path, DESCRIBED if own else UNDESCRIBED)
    return architecture


def _difference(name: str, expected: Layer, layer: Layer) -> str:
    """How a layer of the file differs from the one of the options: `pool1 has kind avg, not max`."""
    if type(expected) is not type(layer):
        return f"{name} is a {type(expected).__name__.lower()} layer, not a {type(layer).__name__.lower()} layer"
    pairs = ((field.name, getattr(expected, field.name), getattr(layer, field.name)) for field in fields(expected))
    return f"{name} has " + ", ".join(f"{what} {old}, not {new}" for what, old, new in pairs if old != new)


def require_fit(arrays: Arrays, architecture: Architecture, source: Path, advice: str = UNDESCRIBED) -> None:
    """Check names, shapes and dtypes; the error names the first array that does not fit.

    Args:
        arrays: name to array, or to what the header of a file tells of it.
        architecture: the network.
        source: the file, for the error.
        advice: the end of the error: what may be wrong, or what to do.

    Raises:
        WeightsError: when the arrays do not fit the architecture.
    """
    for name, shape in architecture.parameter_shapes.items():
        if name not in arrays:
            raise WeightsError(f"weights file '{source}' has no {name} of shape {shape}: {advice}")
        if arrays[name].shape != shape:
            raise WeightsError(
                f"weights file '{source}': {name} has shape {arrays[name].shape}, expected {shape}: {advice}"
            )
        if arrays[name].dtype != "float32":
            raise WeightsError(f"weights file '{source}': {name} is {arrays[name].dtype}, expected float32: convert it")
    for name in arrays:
        if name not in architecture.parameter_shapes:
            raise WeightsError(f"weights file '{source}' has {name}, which the network does not have: {advice}")


def require_finite(parameters: Mapping[str, np.ndarray], source: Path) -> None:
    """Check that no parameter is infinite or NaN.

    Raises:
        WeightsError: when one is.
    """
    for name, value in parameters.items():
        if not np.isfinite(value).all():
            raise WeightsError(f"weights file '{source}': {name} is not finite everywhere: choose another file")
