"""The workers of a run: joining, checking that all workers run the same training, and leaving."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lenet_multi.backends import load_backend
from lenet_multi.distributed import LOST_CONNECTION, is_worker, load_engine
from lenet_multi.distributed.environment import ADDRESS_VARIABLES, seconds_to_join
from lenet_multi.distributed.interface import Engine
from lenet_multi.errors import UserError
from lenet_multi.system.command import USAGE_STATUS
from lenet_multi.system.memory import is_lack_of_memory
from lenet_multi.system.stderr import say


@dataclass(frozen=True)
class Workers:
    """The workers of a run, as one of them sees them.

    Args:
        rank: of this one, counted from 0. Worker 0 reports and saves.
        count: of all.
        engine: trains with them.
    """

    rank: int
    count: int
    engine: Engine

    def device(self, asked: str, available: Sequence[str]) -> str:
        """The device of this worker: by default the GPU that `LOCAL_RANK` numbers, or the CPU if there is none."""
        own = f"gpu:{os.environ.get('LOCAL_RANK', '')}"
        return (own if own in available else "cpu") if asked == "auto" else asked

    def require_equal(self, described: Mapping[str, str]) -> None:
        """Check that descriptions of this worker's run are the same on all workers.

        Args:
            described: texts by what they describe, such as `the version of PyTorch`; the same names on all workers.

        Raises:
            UserError: if one differs.
        """
        for name, text in described.items():
            shown = (
                "" if len(text) > 150 or re.fullmatch("[0-9a-f]{64}", text) else text
            )
            # Numbers that every engine adds up exactly.
            digest = [
                float(byte) for byte in hashlib.sha256(text.encode()).digest()[:8]
            ]
            if self.engine.total(digest) != [self.count * number for number in digest]:
                raise UserError(
                    f"worker {self.rank}: the workers differ in {name}{f' ({shown} here)' if shown else ''}: use the same "
                    "for all workers"
                )


@contextmanager
def joined_workers(backend_name: str) -> Iterator[Workers | None]:
    """Join the other workers while the block runs; None if this process works alone.

    Raises:
        UserError: if the workers cannot meet, or the connection to one is lost.
    """
    if not is_worker(backend_name):
        yield None
        return
    failed = True
    load_backend(backend_name)
    engine = load_engine(backend_name)
    try:
        rank, count = _joined(engine, backend_name)
        try:
            yield Workers(rank, count, engine)
            failed = False
        finally:
            engine.leave(failed)
    except Exception as problem:
        if isinstance(problem, UserError) or not engine.is_lost_connection(problem):
            raise
        raise UserError(
            f"{LOST_CONNECTION} ({_first_clause(problem)}): start all workers again"
        ) from problem


def _joined(engine: Engine, backend_name: str) -> tuple[int, int]:
    """The rank of this worker, and the number of workers.

    Raises:
        UserError: if the workers cannot meet.
    """
    where = f"check the addresses in {', '.join(ADDRESS_VARIABLES[backend_name])}, and that the ports are free"
    seconds = seconds_to_join()

    def give_up() -> None:
        say(f"error: another worker is missing after {seconds:g} seconds: {where}")
        os._exit(USAGE_STATUS)

    # No engine can be interrupted while it waits, and MXNet's waits forever.
    alarm = threading.Timer(seconds, give_up)
    alarm.daemon = True
    alarm.start()
    try:
        return engine.join()
    except Exception as problem:  # each engine raises its own
        if is_lack_of_memory(problem):
            raise
        raise UserError(
            f"the workers cannot meet ({_first_clause(problem)}): {where}"
        ) from problem
    finally:
        alarm.cancel()


def serve(backend_name: str) -> None:
    """Run MXNet's scheduler or a server, and do not return, if the environment makes this process one.

    Raises:
        UserError: if it cannot listen at its address.
    """
    if backend_name != "mxnet" or os.environ.get("DMLC_ROLE", "worker") == "worker":
        return
    try:
        load_backend("mxnet")  # it serves while it is imported, and exits then
    except RuntimeError as problem:
        if isinstance(problem, UserError):
            raise
        raise UserError(
            f"MXNet's {os.environ['DMLC_ROLE']} cannot start at {os.environ.get('DMLC_NODE_HOST')} "
            f"({_first_clause(problem)}): check the variables DMLC_*, and that the port is free"
        ) from problem


def _first_clause(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    # MXNet's messages begin with a trace of C++, and TensorFlow's with the graph.
    useful = (
        [line for line in lines if not line.startswith(("Traceback", "File", "["))]
        or lines
        or [""]
    )
    return useful[0][:120]
