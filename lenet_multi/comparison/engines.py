"""What trains the runs of a comparison: checking what was asked for, and opening it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from lenet_multi.comparison.case_runs import ENGINES, SweepEngine, TrainCases, train_in_turn, train_side_by_side
from lenet_multi.comparison.ray_engine import RayCluster, require_ray
from lenet_multi.errors import UserError


def require_engine(engine: SweepEngine) -> None:
    """Refuse an engine that cannot be used.

    Raises:
        UserError: when it is unknown, not installed, or does not take an address.
    """
    if engine.name not in ENGINES:
        raise UserError(f"engine '{engine.name}', expected one of {', '.join(ENGINES)}")
    if engine.jobs is not None and (type(engine.jobs) is not int or engine.jobs < 1):
        raise UserError(f"jobs {engine.jobs}, expected a whole number of at least 1")
    if engine.name == "ray":
        require_ray(engine.address)
    elif engine.address is not None:
        raise UserError("--address is the address of a Ray cluster: add --engine ray, or omit --address")


@contextmanager
def opened(engine: SweepEngine, digest: str) -> Iterator[TrainCases]:
    """The function that trains the runs; the engine is closed when the block ends.

    Args:
        engine: what trains the runs.
        digest: of the data, which each machine has to have.

    Raises:
        UserError: when Ray cannot be started, or its cluster cannot be reached.
    """
    if engine.name == "ray":
        with RayCluster(engine.jobs, engine.address, digest) as cluster:
            yield cluster.train
    elif engine.jobs is None or engine.jobs == 1:
        yield train_in_turn
    else:
        yield partial(train_side_by_side, jobs=engine.jobs)
