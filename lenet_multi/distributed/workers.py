"""The workers of a run: they join, check that they run the same, and lose or leave each other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lenet_multi.backends import load_backend
from lenet_multi.distributed import is_worker, load_engine
from lenet_multi.distributed.interface import Engine
from lenet_multi.errors import UserError


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
        """The device of this worker: by default each worker of a machine has a GPU of its own, as `LOCAL_RANK` says."""
        own = f"gpu:{os.environ.get('LOCAL_RANK', '')}"
        return own if asked == "auto" and own in available else asked

    def require_equal(self, described: Mapping[str, str]) -> None:
        """Check that descriptions of this worker's run are the same on all workers.

        Args:
            described: texts by what they describe, such as `the version of PyTorch`; the same names on all workers.

        Raises:
            UserError: if one differs.
        """
        for name, text in described.items():
            # Numbers that every engine adds up exactly.
            digest = [
                float(byte) for byte in hashlib.sha256(text.encode()).digest()[:8]
            ]
            if self.engine.total(digest) != [self.count * number for number in digest]:
                raise UserError(
                    f"worker {self.rank}: the workers differ in {name} ({text[:200]} here): start all of them alike"
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
    load_backend(backend_name)
    engine = load_engine(backend_name)
    failed = True
    try:
        rank, count = engine.join()
        try:
            yield Workers(rank, count, engine)
            failed = False
        finally:
            engine.leave(failed)
    except (RuntimeError, ValueError) as problem:
        if isinstance(problem, UserError):
            raise
        raise _lost(problem) from problem
    except Exception as problem:
        if not type(problem).__module__.startswith("tensorflow"):
            raise
        raise _lost(problem) from problem


def _lost(problem: Exception) -> UserError:
    reason = " ".join(str(problem).split())[:200]
    return UserError(
        f"the connection to the other workers failed ({reason}): start all workers again"
    )


def serves(backend_name: str) -> bool:
    """Whether this process is MXNet's scheduler or a server, which trains nothing: it ends when MXNet is imported."""
    return backend_name == "mxnet" and os.environ.get("DMLC_ROLE", "worker") != "worker"
