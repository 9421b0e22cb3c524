"""Data-parallel training: several processes, the workers, each compute a share of every batch.

`torch`, `tensorflow` and `mxnet` here have the same functions in the same order, and `interface` documents them. Each
uses its framework's own engine to add up the gradients of the workers. The batches, their order and the learning rate
are those of one process, so the workers compute the run of one process, up to rounding.

A process is a worker if the environment says so, in the variables that the framework's own tools set. `launch` sets
them too.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from lenet_multi.distributed.interface import Engine

# The variable that makes a process a worker: of torchrun, of TensorFlow, and of MXNet.
WORKER_VARIABLE = {
    "torch": "WORLD_SIZE",
    "tensorflow": "TF_CONFIG",
    "mxnet": "DMLC_ROLE",
}


def is_worker(backend_name: str) -> bool:
    """Whether the environment makes this process one of several workers.

    Args:
        backend_name: canonical name.
    """
    return bool(os.environ.get(WORKER_VARIABLE[backend_name]))


def load_engine(backend_name: str) -> Engine:
    """The module of this package for a backend, which must have been loaded."""
    return cast("Engine", import_module(f"{__name__}.{backend_name}"))
