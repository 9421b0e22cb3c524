"""Check 12: several workers train as one process does, each framework with its own engine."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_multi.checks.fixture import BATCH_SIZE, TRAINING_BATCH_SIZE, Fixture
from lenet_multi.checks.measurement import Backends, ErrorsAndValues, Measurements, measure_each
from lenet_multi.checks.parity_checks import ParityCheck
from lenet_multi.checks.training_checks import NUM_EPOCHS, errors_of_run, step_losses
from lenet_multi.checks.worker_training import DATA
from lenet_multi.data import BatchSampler
from lenet_multi.distributed import WORKER_VARIABLES
from lenet_multi.distributed.environment import LOCAL, environments
from lenet_multi.distributed.processes import free_ports, run_workers
from lenet_multi.system.signals import exit_on_termination

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend


def distributed_checks(counts: tuple[int, ...]) -> tuple[ParityCheck, ...]:
    """A check for each number of workers."""
    return tuple(
        ParityCheck(
            12,
            f"as check 8, with {count} workers",
            5e-4,
            "as check 8: workers add the same gradients in another order",
            partial(training_with_workers, count),
        )
        for count in counts
    )


def training_with_workers(count: int, fixture: Fixture, backends: Backends, tolerance: float) -> Measurements:
    """Check 12. The errors of check 8, for the run of check 8 with several workers."""
    losses, final = fixture.training

    def measure(backend: Backend) -> ErrorsAndValues:
        name = next(name for name, other in backends.items() if other is backend)
        found, parameters = train_with_workers(name, count, fixture)
        return errors_of_run(fixture, found, parameters, losses, final), {"losses": found, "expected": losses}

    # The others train in one process only.
    engines = {name: backend for name, backend in backends.items() if name in WORKER_VARIABLES}
    return measure_each(engines, tolerance, measure)


def train_with_workers(name: str, count: int, fixture: Fixture) -> tuple[list[float], dict[str, np.ndarray]]:
    """Train the run of check 8 with workers on this machine: the loss of each step, and the final parameters.

    Raises:
        RuntimeError: when a worker fails, with the last lines that were printed.
    """
    data, test = fixture.training_data, fixture.dataset.test.subset(BATCH_SIZE)
    num_batches = len(BatchSampler(len(data), TRAINING_BATCH_SIZE))
    plan = {
        "backend": name,
        "architecture": fixture.architecture.to_dict(),
        "device": fixture.device,
        "reports_per_epoch": num_batches,
        "options": {
            "num_epochs": NUM_EPOCHS,
            "lr": fixture.lr,
            "batch_size": TRAINING_BATCH_SIZE,
            "seed": fixture.seed,
        },
    }
    arrays: dict[str, Any] = dict(fixture.start)  # Any: one keyword argument of NumPy 2's savez is a bool
    for split_name, split in zip(DATA, (data, test), strict=True):
        arrays |= {f"{split_name} images": split.images, f"{split_name} labels": split.labels}
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lenet-multi-") as temporary:
        folder = Path(temporary)
        (folder / "plan.json").write_text(json.dumps(plan))
        np.savez(folder / "arrays.npz", **arrays)
        processes = environments(name, [LOCAL] * count, free_ports(count))
        arguments = ["-m", "lenet_multi.checks.worker_training", temporary]
        with exit_on_termination():
            status = run_workers(processes, arguments, told.append, "check again")
        if status:
            printed = told[len(processes) :]  # after the variables of each
            raise RuntimeError("; ".join(printed[-3:]))
        parameters = dict(np.load(folder / "result.npz"))
    means = parameters.pop("losses").tolist()
    return list(step_losses(means, num_batches, TRAINING_BATCH_SIZE, len(data))), parameters
