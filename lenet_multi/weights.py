"""Parameters in a file: the canonical form as safetensors, with a description of where they come from beside it.

Safetensors holds arrays and text alone: opening a file runs no code, unlike pickle.
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

from lenet_multi.architecture import PRESETS, Architecture, Layer
from lenet_multi.errors import UserError
from lenet_multi.files import write_whole

Parameters = dict[str, np.ndarray]


class WeightsError(UserError):
    """A weights file that cannot be used."""


def save_weights(path: Path, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write canonical parameters, whole or not at all; each value of `metadata` is kept as JSON text."""
    text = {key: json.dumps(value) for key, value in metadata.items()}
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in parameters.items()}
    write_whole(path, safetensors.numpy.save(arrays, metadata=text))


def load_weights(path: Path) -> tuple[Parameters, dict[str, Any]]:
    """The parameters and the metadata of a safetensors file; no metadata of ours is an empty dict.

    Raises:
        WeightsError: when it is not there, not safetensors, or cut short.
    """
    try:
        path.open("rb").close()  # safetensors says of any file it cannot open that it is not there
        with safetensors.safe_open(path, framework="numpy") as file:
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            text = file.metadata() or {}
    except FileNotFoundError as problem:
        raise WeightsError(
            f"weights file '{path}' is not there, expected a safetensors file: correct the path"
        ) from problem
    except OSError as problem:
        raise WeightsError(
            f"weights file '{path}' cannot be read ({problem.strerror or problem}), expected a safetensors file: "
            "change its rights or choose another"
        ) from problem
    except (safetensors.SafetensorError, TypeError, KeyError, AttributeError) as problem:
        reason = " ".join(str(problem).split())
        raise WeightsError(
            f"weights file '{path}' is not safetensors or is cut short ({reason}): take a whole copy, or train anew"
        ) from problem
    try:
        metadata = {key: json.loads(text[key]) for key in ("architecture", "run") if key in text}
    except (json.JSONDecodeError, RecursionError):
        metadata = {}
    return parameters, {key: value for key, value in metadata.items() if isinstance(value, dict)}


def architecture_of(
    path: Path, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any], given: Architecture | None
) -> Architecture:
    """The network that a weights file is for: its own description where it brings one, else `given`, else LeNet-5.

    Raises:
        WeightsError: when the parameters do not fit it, or `given` is another network than the file's.
    """
    own = Architecture.from_dict(metadata["architecture"]) if "architecture" in metadata else None
    require_fit(parameters, given or own or PRESETS["lenet5"], path)
    if given and own and given != own:
        pairs = zip(own.named_layers.items(), given.layers, strict=False)
        differences = (_difference(name, was, now) for (name, was), now in pairs if was != now)
        if own.input_shape != given.input_shape:
            told = f"images of {own.input_shape}, not {given.input_shape}"
        else:
            told = next(differences, "more or fewer layers")
        raise WeightsError(
            f"weights file '{path}' is for another network than the options describe ({told}): "
            "leave the network options out"
        )
    return own or given or PRESETS["lenet5"]


def _difference(name: str, was: Layer, now: Layer) -> str:
    """How a layer differs from the one that was asked for: `pool1 has kind avg, not max`."""
    if type(was) is not type(now):
        return f"{name} is a {type(was).__name__.lower()} layer, not a {type(now).__name__.lower()} layer"
    pairs = ((field.name, getattr(was, field.name), getattr(now, field.name)) for field in fields(was))
    return f"{name} has " + ", ".join(f"{what} {old}, not {new}" for what, old, new in pairs if old != new)


def require_fit(parameters: Mapping[str, np.ndarray], architecture: Architecture, source: Path) -> None:
    """Check names, shapes and type against the architecture; the error names the first parameter that differs.

    Raises:
        WeightsError: when they do not fit.
    """
    advice = "give the network options that it was trained with"
    for name, shape in architecture.parameter_shapes.items():
        if name not in parameters:
            raise WeightsError(f"weights file '{source}' has no {name}, expected one of shape {shape}: {advice}")
        if parameters[name].shape != shape:
            raise WeightsError(
                f"weights file '{source}': {name} has shape {parameters[name].shape}, expected {shape}: {advice}"
            )
        if parameters[name].dtype != np.float32:
            raise WeightsError(
                f"weights file '{source}': {name} is {parameters[name].dtype}, expected float32: convert it"
            )
        if not np.isfinite(parameters[name]).all():
            raise WeightsError(f"weights file '{source}': {name} holds numbers that are not finite: take another file")
    for name in parameters:
        if name not in architecture.parameter_shapes:
            raise WeightsError(f"weights file '{source}' has {name} besides, expected no such parameter: {advice}")
