"""The backends by name. A framework is imported only when its backend is loaded, so any of them may be missing."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, cast, overload

from lenet_multi.errors import UserError
from lenet_multi.system.process import limit_openmp_spinning, track_environment_changes

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend, FastBackend

# plain: the loop in this package, which the documentation shows; fast: the loop in `lenet_multi.fast`.
LOOPS = ("plain", "fast")
# The name of a backend's module, which is also that of the framework's package, and the framework's title.
BACKENDS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "mxnet": "MXNet"}
ALIASES = {"pytorch": "torch", "keras": "tensorflow", "gluon": "mxnet"}


def canonical_name(name: str) -> str:
    """The canonical name, `torch`, `tensorflow` or `mxnet`, for a name or an alias.

    Raises:
        UserError: if the name is unknown; the message lists the known ones.
    """
    canonical = ALIASES.get(name, name)
    if canonical not in BACKENDS:
        known = ", ".join([*BACKENDS, *ALIASES])
        raise UserError(f"unknown backend '{name}': choose one of {known}")
    return canonical


def parse_backend_names(text: str) -> tuple[str, ...]:
    """Canonical names, without duplicates, from names separated by commas; `all` stands for every backend.

    Raises:
        UserError: for an unknown name.
    """
    return (
        tuple(BACKENDS)
        if text == "all"
        else tuple(dict.fromkeys(map(canonical_name, text.split(","))))
    )


def installed_backends() -> tuple[str, ...]:
    """The canonical names of the backends whose framework is installed. Imports no framework."""
    specs = {name: find_spec(name) for name in BACKENDS}
    # A plain folder with a framework's name is not the framework: its spec has no origin.
    return tuple(name for name, spec in specs.items() if spec and spec.origin)


def require_installed(name: str) -> str:
    """Check that the backend's framework is installed and return the canonical name. Imports no framework.

    Raises:
        UserError: if the backend is unknown or its framework is not installed; the message says how to install it.
    """
    name = canonical_name(name)
    if name not in installed_backends():
        raise UserError(
            f'the {name} backend needs {BACKENDS[name]}: pip install "lenet-multi[{name}]"'
        )
    return name


@overload
def load_backend(name: str, fast: Literal[False] = False) -> Backend: ...
@overload
def load_backend(name: str, fast: Literal[True]) -> FastBackend: ...
@overload
def load_backend(name: str, fast: bool) -> Backend: ...
def load_backend(name: str, fast: bool = False) -> Backend:
    """Import a backend and its framework.

    Args:
        name: `torch`, `tensorflow`, `mxnet` or an alias.
        fast: load the backend with the fast loop (`lenet_multi.fast`) instead of the plain one. Its settings hold for
            the whole process: load it before the plain one, and compare speeds only between separate processes.

    Raises:
        UserError: if the backend is unknown or has no fast loop, or its framework is not installed or fails to import.
    """
    name = require_installed(name)
    package = "lenet_multi.fast" if fast else "lenet_multi.backends"
    module = f"{package}.{name}"
    if fast and find_spec(module) is None:
        raise UserError(f"the {name} backend has no fast loop: omit --fast")
    is_new = module not in sys.modules
    try:
        with track_environment_changes():
            limit_openmp_spinning()
            backend = cast("Backend", import_module(module))
    except (ImportError, OSError) as problem:
        raise UserError(
            f"{BACKENDS[name]} is installed but cannot be imported ({' '.join(str(problem).split())}): "
            f'reinstall it with pip install "lenet-multi[{name}]"'
        ) from problem
    if is_new:
        # Keep the garbage collector from scanning the framework's objects every few training steps.
        gc.collect()
        gc.freeze()
    return backend
