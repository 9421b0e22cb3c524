"""Exports a network: writes its files to a temporary folder, checks them, and puts them in place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import BACKENDS, packages_of, require_installed
from lenet_multi.checks.float64_reference import forward
from lenet_multi.errors import UserError
from lenet_multi.exporting import gluon_format, keras_format, onnx_format, source_format, torch_format
from lenet_multi.exporting.fresh_process import outputs_of, require_equal
from lenet_multi.exporting.network import EXAMPLES
from lenet_multi.exporting.program_check import check_program
from lenet_multi.exporting.program_text import Pictures, Training
from lenet_multi.exporting.requirements import NAME as REQUIREMENTS
from lenet_multi.exporting.requirements import requirements
from lenet_multi.runs.memory import evaluation_memory
from lenet_multi.runs.weights import Parameters
from lenet_multi.system.atomic_files import CreatedFolder, require_absent, write_atomically
from lenet_multi.system.memory import require_bytes
from lenet_multi.system.names import readable
from lenet_multi.system.signals import ignore_sigint


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        ending: of the file's name.
        backend: the framework that writes it; None for one that needs none.
        modules: what loading the file needs.
        write: writes the network to a path.
        loader: the program of `loading/` that runs the file.
    """

    ending: str
    backend: str | None
    modules: tuple[str, ...]
    write: Callable[[Architecture, Parameters, Path], None]
    loader: str


FORMATS = {
    "onnx": Format(".onnx", None, ("numpy", "onnxruntime"), onnx_format.write, "load_onnx.py"),
    "torch": Format(".pt2", "torch", ("numpy", "torch"), torch_format.write, "load_torch.py"),
    "keras": Format(".keras", "tensorflow", ("keras", "numpy", "tensorflow"), keras_format.write, "load_keras.py"),
    "gluon": Format(gluon_format.ENDING, "mxnet", ("mxnet", "numpy"), gluon_format.write, "load_gluon.py"),
}
CLASSES = "classes.txt"
SOURCE, SOURCE_ENDING = "source", ".py"
PROGRAM_MODULES = {"numpy", "PIL", "safetensors", *(module for name in BACKENDS for module in packages_of(name))}


def export_network(
    name: str, architecture: Architecture, parameters: Parameters, out: Path, class_names: Sequence[str] = ()
) -> float:
    """Export a network in one of `FORMATS`.

    Args:
        name: the format's name.
        architecture: the network.
        parameters: canonical ones.
        out: the file to write. `requirements.txt` is written beside it, and the parameters in the format `gluon`.
        class_names: the names of the network's outputs, which are written to `classes.txt`; without any, there is no
            such file.

    Returns:
        The largest difference of the logits from the float64 reference, relative to the largest logit or 1.

    Raises:
        UserError: if the format's packages are missing, a file exists, or the exported file computes something else.
    """
    chosen = FORMATS[name]
    if chosen.backend:
        require_installed(chosen.backend)
    else:
        onnx_format.require_packages()
    names = [REQUIREMENTS, *([CLASSES] if class_names else []), out.name]
    if name == "gluon":
        names.insert(0, gluon_format.parameters_name(out.name))
    _require_path(out, chosen.ending, names)
    # The reference computes in float64.
    require_bytes(2 * evaluation_memory(architecture, EXAMPLES), "the network", "choose fewer channels or units")
    X = _images(architecture)
    expected = forward(architecture, parameters, X)
    logits = list(expected.values())[-1]
    with CreatedFolder(out.parent), TemporaryDirectory() as folder:
        path = Path(folder) / out.name
        chosen.write(architecture, parameters, path)
        found = outputs_of(chosen.loader, path, X)
        difference = require_equal("logits", found["logits"], logits)
        for layer in found.keys() & expected.keys():
            require_equal(f"outputs of {layer}", found[layer], expected[layer])
        _write_texts(path, chosen.modules, class_names)
        _put_in_place(path.parent, names, out.parent)
    return difference


def export_program(
    backend: str,
    architecture: Architecture,
    parameters: Parameters | None,
    training: Training,
    out: Path,
    pictures: Pictures | None = None,
    class_names: Sequence[str] = (),
) -> float:
    """Export a network as a program.

    Args:
        backend: the canonical name of an installed framework.
        architecture: the network.
        parameters: canonical ones; without any, the program starts from initial weights.
        training: the settings of the program's training.
        out: the file to write. `requirements.txt` is written beside it, and the weights if there are any.
        pictures: how the program reads a folder of pictures; None for one that reads IDX files.
        class_names: as for `export_network`.

    Returns:
        As for `export_network`.

    Raises:
        UserError: if a file exists, or the program computes something else than the plain loop.
    """
    require_installed(backend)
    names = [REQUIREMENTS, *([CLASSES] if class_names else []), out.name]
    modules = ["numpy", *packages_of(backend), *(["PIL"] if pictures else [])]
    if parameters is not None:
        names.insert(0, source_format.weights_name(out.name))
        modules.append("safetensors")
    _require_path(out, SOURCE_ENDING, names)
    with CreatedFolder(out.parent), TemporaryDirectory() as folder:
        path = Path(folder) / out.name
        source_format.write(backend, architecture, parameters, training, path, pictures)
        X = _images(architecture)
        difference = check_program(backend, architecture, parameters, training.seed, path, X, pictures)
        _write_texts(path, modules, class_names)
        _put_in_place(path.parent, names, out.parent)
    return difference


def _images(architecture: Architecture) -> np.ndarray:
    return np.random.default_rng(0).random((EXAMPLES, *architecture.input_shape), np.float32)


def _require_path(out: Path, ending: str, names: Iterable[str]) -> None:
    if not out.name.endswith(ending) or out.name == ending:
        raise UserError(f"--out '{out}' is not a name that ends in {ending}: choose one, as in lenet{ending}")
    if ending == SOURCE_ENDING and out.stem in (*sys.stdlib_module_names, *PROGRAM_MODULES):
        raise UserError(f"--out '{out}' has the name of a module, which Python would import instead: choose another")
    require_absent(out.parent, [out.name, *names])


def _write_texts(path: Path, modules: Iterable[str], class_names: Sequence[str]) -> None:
    """Write `requirements.txt` and, if there are names, `classes.txt` beside a file: a name in each line."""
    path.with_name(REQUIREMENTS).write_text(requirements(path.name, modules), encoding="utf-8")
    names = "".join(f"{readable(' '.join(name.split()))}\n" for name in class_names)
    path.with_name(CLASSES).write_text(names, encoding="utf-8")


def _put_in_place(source: Path, names: Iterable[str], target: Path) -> None:
    """Write these files to a folder, the last one last: where it is, the others are."""
    written = []
    with ignore_sigint():
        try:
            for name in names:
                write_atomically(target / name, (source / name).read_bytes())
                written.append(target / name)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
