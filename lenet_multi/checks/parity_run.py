"""Runs the parity checks on all backends and collects the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import choose_backends, load_backend, packages_of
from lenet_multi.checks.distributed_checks import distributed_checks
from lenet_multi.checks.fixture import BATCH_SIZE, Fixture, examples_for
from lenet_multi.checks.parity_checks import PARITY_CHECKS, CheckResult, ParityCheck, run_checks
from lenet_multi.checks.parity_table import as_json, failures, result_row, table_row
from lenet_multi.data import Dataset
from lenet_multi.distributed import require_engine
from lenet_multi.errors import UserError
from lenet_multi.fast import loop_of
from lenet_multi.runs.memory import require_memory
from lenet_multi.system.child_processes import ON_POSIX
from lenet_multi.system.machine import describe_machine
from lenet_multi.system.process import seconds_since_process_start

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend


@dataclass
class ParityRun:
    """The checks on some backends; `results` grows as the checks run.

    Args:
        backends: by canonical name.
        left_out: names of the backends that are not installed, if all were to be checked.
        fixture: the network, data and parameters of the checks.
        checks: the checks, in order.
    """

    backends: dict[str, Backend]
    left_out: Sequence[str]
    fixture: Fixture
    checks: tuple[ParityCheck, ...] = PARITY_CHECKS
    results: list[CheckResult] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def names(self) -> list[str]:
        """The columns of the table."""
        return [*self.backends, *self.left_out]

    @cached_property
    def loops(self) -> dict[str, str]:
        """The loop that each backend runs for this network."""
        return {name: loop_of(backend, self.fixture.network(backend)) for name, backend in self.backends.items()}

    @property
    def failures(self) -> list[str]:
        """A sentence for each backend and check that fails."""
        return [sentence for result in self.results for sentence in failures(result)]

    def lines(self) -> Iterator[str]:
        """Run the checks and yield the lines of the table as results become available."""
        fixture = self.fixture
        loops = " and ".join(dict.fromkeys(self.loops.values()))
        yield (
            f"{fixture.architecture.name} on {fixture.dataset.name}, {loops} loop, seed {fixture.seed}, "
            f"lr {fixture.lr:g}: error against the float64 reference"
        )
        versions = {name: backend.VERSION for name, backend in self.backends.items()}
        yield table_row("check", "tolerance", [" ".join([name, versions.get(name, "")]).strip() for name in self.names])
        for result in run_checks(fixture, self.backends, self.checks):
            self.results.append(result)
            yield result_row(result, self.names, self.left_out)
        yield from self.failures
        failed = sum(not result.passed for result in self.results)
        outcome = f"{failed} of {len(self.results)} checks fail" if failed else f"all {len(self.results)} checks pass"
        self.seconds = seconds_since_process_start()
        yield f"{outcome}; {self.seconds:.0f} s since the start"

    def as_json(self) -> dict[str, Any]:
        """Every number, with the network, data, loop, device and machine that it was measured on."""
        return {
            "architecture": self.fixture.architecture.to_dict(),
            "dataset": self.fixture.dataset.name,
            "seed": self.fixture.seed,
            "lr": self.fixture.lr,
            "loops": self.loops,
            "device": self.fixture.device,
            "machine": describe_machine(*packages_of(*self.backends), "numpy"),
            "seconds": round(self.seconds, 1),
            "backends": {
                name: self.backends[name].VERSION if name in self.backends else "not installed" for name in self.names
            },
            "checks": [as_json(result) for result in self.results],
        }


def prepare_parity_run(
    architecture: Architecture,
    load: Callable[[], Dataset],
    backends: str = "all",
    loop: str = "plain",
    device: str = "cpu",
    seed: int = 0,
    lr: float | None = None,
    workers: tuple[int, ...] = (),
) -> ParityRun:
    """Load data and backends for a run of the parity checks.

    Args:
        architecture: the network.
        load: loads the data, whose images and classes the network is adapted to.
        backends: names separated by commas, or `all`.
        loop: one of `LOOPS`.
        device: where the backends compute.
        seed: seed of the parameters and the shuffling.
        lr: learning rate; by default one that suits the activations.
        workers: numbers of workers, each for a check 12.

    Raises:
        UserError: as `choose_backends`, when a device is unknown, when the data set is too small, or when a backend
            that is named trains in one process only and there are to be several.
    """
    if workers and loop == "fast":
        raise UserError("--workers: the fast loop runs in one process: omit --fast")
    if workers and not ON_POSIX:
        raise UserError("--workers needs Linux or macOS: omit it")
    names, left_out = choose_backends(backends)
    if workers and backends != "all":
        for name in names:
            require_engine(name)
    dataset = load()
    architecture = architecture.for_data(dataset.image_shape, dataset.num_classes)
    fixture = Fixture(architecture, dataset, device, seed, lr)
    least = max(BATCH_SIZE, examples_for(fixture.training_steps))
    if len(dataset.train) < least:
        raise UserError(
            f"dataset '{dataset.name}' has {len(dataset.train)} training examples, but the checks need {least} for "
            f"{fixture.training_steps} steps per epoch: choose a larger data set"
        )
    loaded = {name: load_backend(name, fast=loop == "fast") for name in names}
    for backend in loaded.values():
        require_memory(backend, architecture, device, BATCH_SIZE, training=True)
    return ParityRun(loaded, left_out, fixture, PARITY_CHECKS + distributed_checks(workers))
