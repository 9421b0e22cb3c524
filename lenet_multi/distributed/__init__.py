"""Data-parallel training: several processes, the workers, each compute a share of every batch.

The modules of the backends here have the same functions in the same order, and `interface` documents them. Each uses its
framework's own engine to add up the gradients of the workers. The batches, their order and the learning rate are those
of one process, so the workers compute the run of one process, up to rounding.

A process is a worker if the environment says so, in the variables that the framework's own tools set. `launch` sets
them too.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import TYPE_CHECKING, cast

from lenet_multi.errors import UserError

if TYPE_CHECKING:
    from lenet_multi.distributed.interface import Engine

# The variables that make a process a worker. Other programs set WORLD_SIZE alone.
WORKER_VARIABLES = {
    "torch": ("WORLD_SIZE", "RANK"),
    "tensorflow": ("TF_CONFIG",),
    "mxnet": ("DMLC_ROLE",),
}

LOST_CONNECTION = "the connection to the other workers failed"  # begins an error


def require_engine(backend_name: str) -> None:
    """Check that a backend, given by its canonical name, can train with several workers.

    Raises:
        UserError: if it cannot.
    """
    if backend_name not in WORKER_VARIABLES:
        raise UserError(
            f"the {backend_name} backend trains in one process only: for several workers, choose one of "
            f"{', '.join(WORKER_VARIABLES)}"
        )


def is_worker(backend_name: str) -> bool:
    """Whether the environment makes this process one of several workers.

    Args:
        backend_name: canonical name. A backend that trains in one process only has no workers.

    Raises:
        UserError: if `TF_CONFIG` is damaged: each worker would train alone.
    """
    if backend_name not in WORKER_VARIABLES:
        return False
    values = [os.environ.get(name, "") for name in WORKER_VARIABLES[backend_name]]
    if backend_name != "tensorflow" or not values[0]:
        return all(values)
    try:
        described = json.loads(values[0])
    except ValueError as problem:
        raise UserError(
            f"TF_CONFIG is not JSON ({problem}): check its quotes, or unset it"
        ) from None
    return isinstance(described, dict) and "cluster" in described


def load_engine(backend_name: str) -> Engine:
    """The module of this package for a backend, which must have been loaded."""
    return cast("Engine", import_module(f"{__name__}.{backend_name}"))
