"""What must be the same on all workers of a run."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version

from lenet_multi.backends.interface import Backend, Network
from lenet_multi.data import Dataset
from lenet_multi.runs.checkpoint import Run


def shared_by_workers(run: Run, dataset: Dataset, backend: Backend, net: Network) -> dict[str, str]:
    """What must agree between workers before they train: a name for messages, and a text to compare."""
    parameters = hashlib.sha256()
    for value in backend.get_parameters(net).values():
        parameters.update(value.tobytes())
    names = ("epochs", "batch_size", "lr", "lr_decay_epoch", "seed")
    options = ", ".join(f"{name} {getattr(run.settings, name)}" for name in names)
    return {
        "the version of lenet_multi": _own_version(),
        f"the version of {backend.FRAMEWORK}": backend.VERSION,
        "the options": f"{options}, {run.epochs_done} epochs done",
        "the network": str(run.architecture),
        "the data": dataset.digest,
        "the initial parameters": parameters.hexdigest(),
    }


def _own_version() -> str:
    try:
        return version("lenet-multi")
    except PackageNotFoundError:  # it runs from a folder, without an installation
        return "not installed"
