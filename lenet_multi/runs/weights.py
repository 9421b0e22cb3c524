"""Parameters in a file: canonical arrays as safetensors, with a description of their origin as metadata.

Safetensors holds arrays and text only: unlike a pickle, it runs no code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from lenet_multi.architecture import MAX_LAYERS, PRESETS, Architecture, Layer
from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.memory import require_bytes
from lenet_multi.system.regular_files import require_regular_file

Parameters = dict[str, np.ndarray]

CHECKPOINT = "model.safetensors"  # the file of parameters in the folder of a run

# The header holds names, shapes and metadata. As Python objects, it can take 25 times its size. An epoch adds up to 600
# bytes to it: this is enough for 25,000 epochs.
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


def save_weights(path: Path, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
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
    write_atomically(path, content)


def header_length(start: bytes) -> int:
    """The length that a safetensors file gives for its header, from its first bytes."""
    return int.from_bytes(start[:8], "little")


def load_weights(path: str | Path) -> tuple[Parameters, dict[str, Any]]:
    """The parameters and metadata of a safetensors file; the metadata is empty if another program wrote the file.

    Args:
        path: the file, or the folder of a run.

    Raises:
        WeightsError: when the file is missing, unreadable, truncated or not safetensors, or the folder holds several
            runs.
        UserError: when there is not enough memory for the parameters.
    """
    path = weights_file(path)
    try:
        require_bytes(require_regular_file(path), f"weights file '{path}'", "choose another file")
        with path.open("rb") as start:  # safetensors reports every file that it cannot open as missing
            length = header_length(start.read(8))
        if length > MAX_HEADER:
            raise safetensors.SafetensorError(f"a header of {length:,} bytes")
        with safetensors.safe_open(path, framework="numpy") as file:
            names = file.keys()
            if len(names) > MAX_PARAMETERS:
                raise safetensors.SafetensorError(f"{len(names):,} arrays")
            parameters = {name: file.get_tensor(name) for name in names}
            text = file.metadata() or {}
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
    try:
        metadata = {key: json.loads(text[key]) for key in ("architecture", "run") if key in text}
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or lists in lists in lists
        metadata = {}
    return parameters, {key: value for key, value in metadata.items() if isinstance(value, dict)}


def architecture_of(
    path: Path, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any], given: Architecture | None
) -> Architecture:
    """The network that a weights file is for: as the file describes it, else `given`, else LeNet-5.

    Raises:
        WeightsError: when the parameters do not fit it, or `given` differs from the file's description.
    """
    own = Architecture.from_dict(metadata["architecture"]) if "architecture" in metadata else None
    if given and own and given != own:
        pairs = zip(own.named_layers.items(), given.layers, strict=False)
        differences = (_difference(name, expected, layer) for (name, expected), layer in pairs if expected != layer)
        if own.input_shape != given.input_shape:
            difference = f"it takes images of {own.input_shape}, not {given.input_shape}"
        else:
            difference = next(differences, "it has a different number of layers")
        raise WeightsError(
            f"weights file '{path}' is for a different network than the options describe ({difference}): omit the "
            "network options"
        )
    architecture = own or given or PRESETS["lenet5"]
    require_fit(parameters, architecture, path, DESCRIBED if own else UNDESCRIBED)
    return architecture


def _difference(name: str, expected: Layer, layer: Layer) -> str:
    """How a layer of the file differs from the one of the options: `pool1 has kind avg, not max`."""
    if type(expected) is not type(layer):
        return f"{name} is a {type(expected).__name__.lower()} layer, not a {type(layer).__name__.lower()} layer"
    pairs = ((field.name, getattr(expected, field.name), getattr(layer, field.name)) for field in fields(expected))
    return f"{name} has " + ", ".join(f"{what} {old}, not {new}" for what, old, new in pairs if old != new)


def require_fit(
    parameters: Mapping[str, np.ndarray], architecture: Architecture, source: Path, advice: str = UNDESCRIBED
) -> None:
    """Check names, shapes, dtypes and values; the error names the first parameter that does not fit.

    Args:
        parameters: name to array.
        architecture: the network.
        source: the file, for the error.
        advice: the end of the error: what may be wrong, or what to do.

    Raises:
        WeightsError: when the parameters do not fit the architecture.
    """
    for name, shape in architecture.parameter_shapes.items():
        if name not in parameters:
            raise WeightsError(f"weights file '{source}' has no {name} of shape {shape}: {advice}")
        if parameters[name].shape != shape:
            raise WeightsError(
                f"weights file '{source}': {name} has shape {parameters[name].shape}, expected {shape}: {advice}"
            )
        if parameters[name].dtype != np.float32:
            raise WeightsError(
                f"weights file '{source}': {name} is {parameters[name].dtype}, expected float32: convert it"
            )
        if not np.isfinite(parameters[name]).all():
            raise WeightsError(f"weights file '{source}': {name} is not finite everywhere: choose another file")
    for name in parameters:
        if name not in architecture.parameter_shapes:
            raise WeightsError(f"weights file '{source}' has {name}, which the network does not have: {advice}")
