"""The backends by name. A framework is imported only when its backend is loaded, so any of them may be missing."""

from __future__ import annotations

import gc
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, cast, overload

from lenet_multi.errors import UserError
from lenet_multi.system.machine import available_cores
from lenet_multi.system.memory import address_space_left, in_words, is_lack_of_memory
from lenet_multi.system.process import limit_openmp_spinning, track_environment_changes
from lenet_multi.system.stderr import say

if TYPE_CHECKING:
    from types import ModuleType

    from lenet_multi.backends.interface import Backend, FastBackend

# plain: the loop in this package, which the documentation shows; fast: the loop in `lenet_multi.fast`.
LOOPS = ("plain", "fast")
# The name of a backend's module, which is also that of the framework's package, and the framework's title.
BACKENDS = {
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "mxnet": "MXNet",
    "jax": "JAX",
}
ALIASES = {"pytorch": "torch", "keras": "tensorflow", "gluon": "mxnet", "flax": "jax"}
# The packages that a backend imports besides its framework. Its extra installs them.
OTHER_PACKAGES = {"tensorflow": ("keras",), "jax": ("flax", "optax")}
# The newest Python that a framework supports, if newer ones exist. A test compares it with pyproject.toml's markers and
# with constraints/.
NEWEST_PYTHON = {"tensorflow": (3, 13), "mxnet": (3, 12)}
# With less address space than this, PyTorch and MXNet end the process when they are imported. Measured: PyTorch 2.13 and
# MXNet 1.9 need 0.7 GB, TensorFlow 2.21 1.3 GB.
LEAST_ADDRESS_SPACE = 600 * 10**6
# The environment variable that limits the threads of a framework to so many cores.
THREAD_VARIABLES = {
    "torch": "OMP_NUM_THREADS",
    "tensorflow": "TF_NUM_INTRAOP_THREADS",
    "mxnet": "OMP_NUM_THREADS",
    "jax": "PJRT_NPROC",
}
# The threads of a framework: a number, and how many more for each core. Measured with 1 and 2 cores, JAX's also with 16.
THREADS = {"torch": (2, 1), "tensorflow": (14, 1), "mxnet": (2, 1), "jax": (8, 3)}
# The environment of a process that computes on the CPU only. JAX with its CUDA plugin fails where
# CUDA_VISIBLE_DEVICES hides every GPU, unless it is told not to look for one.
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
MORE_MEMORY = "free some memory, or raise the limit of this process (ulimit -v)"


def canonical_name(name: str) -> str:
    """The canonical name, such as `torch`, for a name or an alias.

    Raises:
        UserError: if the name is unknown; the message lists the known ones.
    """
    canonical = ALIASES.get(name, name)
    if canonical not in BACKENDS:
        known = ", ".join([*BACKENDS, *ALIASES])
        raise UserError(f"unknown backend '{name}': choose one of {known}")
    return canonical


def packages_of(*names: str) -> tuple[str, ...]:
    """The packages that backends import, by their canonical names: each framework, then what is built on it."""
    return tuple(
        package for name in names for package in (name, *OTHER_PACKAGES.get(name, ()))
    )


def installed_backends() -> tuple[str, ...]:
    """The canonical names of the backends whose packages are all installed. Imports no framework."""
    return tuple(
        name for name in BACKENDS if all(map(_is_installed, packages_of(name)))
    )


def default_backend() -> str:
    """The backend where none is chosen: the first that is installed, PyTorch before all others. Imports no framework."""
    return next(iter(installed_backends()), "torch")


def _is_installed(package: str) -> bool:
    spec = find_spec(package)
    # A plain folder with a framework's name is not the framework: its spec has no origin.
    return spec is not None and spec.origin is not None


def why_unsupported(name: str) -> str | None:
    """Why a backend's framework cannot be installed here, as in `supports Python up to 3.12, not 3.13`; None if it can."""
    running = sys.version_info[:2]
    newest = NEWEST_PYTHON.get(name, running)
    if running > newest:
        return f"supports Python up to {_dotted(newest)}, not {_dotted(running)}"
    if name == "mxnet" and sys.platform != "linux" and platform.machine() != "x86_64":
        return f"has no wheels for {platform.system()} on {platform.machine()}"
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def why_missing(name: str) -> str:
    """Why a backend's framework is not installed, in a few words."""
    if unsupported := why_unsupported(name):
        return f"{BACKENDS[name]} {unsupported}"
    return f'not installed: pip install "lenet-multi[{name}]"'


def require_installed(name: str) -> str:
    """Check that the backend's framework is installed and return the canonical name. Imports no framework.

    Raises:
        UserError: if the backend is unknown or its framework is not installed; the message says what to do.
    """
    name = canonical_name(name)
    if name in installed_backends():
        return name
    if unsupported := why_unsupported(name):
        raise UserError(
            f"the {name} backend needs {BACKENDS[name]}, which {unsupported}: {_instead(name)}"
        )
    packages = (package for package in packages_of(name) if not _is_installed(package))
    missing = next(packages, name)
    needs = BACKENDS.get(missing, missing.capitalize())
    raise UserError(
        f'the {name} backend needs {needs}: pip install "lenet-multi[{name}]"'
    )


def _instead(name: str) -> str:
    """What to do where a framework is not supported."""
    older = name in NEWEST_PYTHON and sys.version_info[:2] > NEWEST_PYTHON[name]
    return (
        f"create an environment with Python {_dotted(NEWEST_PYTHON[name])}, or "
        if older
        else ""
    ) + ("choose another backend")


def choose_backends(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The backends that a list of names chooses. Imports no framework.

    Args:
        text: names separated by commas, or `all` for every backend whose framework is installed.

    Returns:
        The canonical names, without duplicates, and the names of the backends that `all` leaves out.

    Raises:
        UserError: for an unknown name, a named backend whose framework is not installed, or `all` without a framework.
    """
    if text != "all":
        return tuple(dict.fromkeys(map(require_installed, text.split(",")))), ()
    installed = installed_backends()
    if not installed:
        raise UserError('no framework is installed: pip install "lenet-multi[all]"')
    return installed, tuple(name for name in BACKENDS if name not in installed)


def note_left_out(names: Sequence[str]) -> None:
    """Say which backends `all` leaves out, and why."""
    if names:
        reasons = ", ".join(f"{name} ({why_missing(name)})" for name in names)
        say(f"note: left out: {reasons}")


@overload
def load_backend(name: str, fast: Literal[False] = False) -> Backend: ...
@overload
def load_backend(name: str, fast: Literal[True]) -> FastBackend: ...
@overload
def load_backend(name: str, fast: bool) -> Backend: ...
def load_backend(name: str, fast: bool = False) -> Backend:
    """Import a backend and its framework.

    Args:
        name: of the backend, as in `BACKENDS`, or an alias.
        fast: load the backend with the fast loop (`lenet_multi.fast`) instead of the plain one. Its settings hold for
            the whole process: load it before the plain one, and compare speeds only between separate processes.

    Raises:
        UserError: if the backend is unknown or has no fast loop, or its framework is not installed or fails to import.
    """
    name = require_installed(name)
    left = address_space_left()
    if left is not None and left < LEAST_ADDRESS_SPACE:
        raise UserError(
            f"{BACKENDS[name]} cannot be imported in {in_words(left)} of address space: {MORE_MEMORY}"
        )
    package = "lenet_multi.fast" if fast else "lenet_multi.backends"
    module = f"{package}.{name}"
    if fast and find_spec(module) is None:
        raise UserError(f"the {name} backend has no fast loop: omit --fast")
    is_new = module not in sys.modules
    try:
        with track_environment_changes():
            limit_openmp_spinning()
            backend = cast("Backend", import_module(module))
    except (ImportError, OSError, AttributeError, MemoryError) as problem:
        if isinstance(problem, AttributeError) and "NumPy 2" not in str(problem):
            raise
        raise UserError(_import_failure(name, problem)) from problem
    if is_new:
        # Keep the garbage collector from scanning the framework's objects every few training steps.
        gc.collect()
        gc.freeze()
    return backend


def num_threads(backend: Backend) -> int:
    """How many threads a loaded backend's framework has on this machine, at most."""
    module = cast("ModuleType", backend)
    number, for_each_core = THREADS[module.__name__.rpartition(".")[2]]
    return number + for_each_core * available_cores()


def _import_failure(name: str, problem: Exception) -> str:
    """Why a framework that is installed cannot be imported, and what to do."""
    reason = " ".join(str(problem).split())
    if is_lack_of_memory(problem):
        return f"{BACKENDS[name]} cannot be imported ({reason or 'out of memory'}): {MORE_MEMORY}"
    if unsupported := why_unsupported(name):
        reason += f"; it {unsupported}"
        advice = _instead(name)
    elif isinstance(problem, AttributeError):  # NumPy 2 lacks a name
        advice = 'pip install "numpy<2"'
    elif isinstance(problem, ImportError) and problem.name == "distutils":
        # Python 3.12 removed distutils, which setuptools provides.
        advice = "pip install setuptools"
    else:
        advice = f'reinstall it with pip install "lenet-multi[{name}]"'
    return f"{BACKENDS[name]} is installed but cannot be imported ({reason}): {advice}"
