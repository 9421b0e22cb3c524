"""The backends by name. No framework is imported until its backend is asked for; each may be absent."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, cast, overload

from lenet_multi.errors import UserError
from lenet_multi.process import own_settings, share_cores

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend
    from lenet_multi.fast import FastBackend

# plain: the loop that is shown, in this package; fast: the one in `lenet_multi.fast`.
LOOPS = ("plain", "fast")
# A backend's module here and its framework's package, and the framework's name.
BACKENDS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "mxnet": "MXNet"}
ALIASES = {"pytorch": "torch", "keras": "tensorflow", "gluon": "mxnet"}


def canonical_name(name: str) -> str:
    """`torch`, `tensorflow` or `mxnet` for a name or an alias.

    Raises:
        UserError: for any other name; it lists the known ones.
    """
    canonical = ALIASES.get(name, name)
    if canonical not in BACKENDS:
        known = ", ".join([*BACKENDS, *ALIASES])
        raise UserError(f"backend '{name}', expected one of {known}: take one of these")
    return canonical


def installed_backends() -> tuple[str, ...]:
    """The canonical names of the backends whose framework is installed; imports none of them."""
    specs = {name: find_spec(name) for name in BACKENDS}
    # A folder that happens to have a framework's name is no package: it has no origin.
    return tuple(name for name, spec in specs.items() if spec and spec.origin)


def require_installed(name: str) -> str:
    """The canonical name, once it is sure that the framework is installed; imports nothing.

    Raises:
        UserError: unknown backend, or framework not installed; it names the extra.
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
    """Import a backend and with it its framework.

    Args:
        name: `torch`, `tensorflow`, `mxnet` or an alias.
        fast: the backend with the fast loop (`lenet_multi.fast`) instead of the plain one. Its settings bind the
            process, so load it first, and compare speeds between processes alone.

    Raises:
        UserError: unknown backend, no fast loop, or framework not installed or not importable.
    """
    name = require_installed(name)
    module = f"lenet_multi.{'fast' if fast else 'backends'}.{name}"
    if fast and find_spec(module) is None:
        raise UserError(
            f"the {name} backend has no fast loop, expected one that has: leave --fast out"
        )
    is_new = module not in sys.modules
    try:
        with own_settings():
            share_cores()
            backend = cast("Backend", import_module(module))
    except (ImportError, OSError) as problem:
        raise UserError(
            f"{BACKENDS[name]} is installed but cannot be imported ({' '.join(str(problem).split())}): "
            f'reinstall it with pip install "lenet-multi[{name}]"'
        ) from problem
    if is_new:
        # Keep the garbage collector from scanning the framework's objects every few steps.
        gc.collect()
        gc.freeze()
    return backend
