"""Split a batch into parts and compute each part in its own thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

from lenet_multi.system.machine import available_cores

Result = TypeVar("Result")

MAX_PARTS = 8
THREADS_PER_PART = -(-available_cores() // MAX_PARTS)  # used by the operations on one part
NUM_PARTS = available_cores() // THREADS_PER_PART


def split(batch: Any) -> list[Any]:
    """Split an array of examples into `NUM_PARTS` parts of nearly equal length, or fewer if it has fewer examples."""
    num_parts = min(NUM_PARTS, len(batch))
    stops = [len(batch) * part // num_parts for part in range(num_parts + 1)]
    return [batch[start:stop] for start, stop in pairwise(stops)]


class Threads:
    """Threads that compute the parts of a batch in parallel. Use it as a context manager, which ends the threads.

    A part always runs in the same thread, because a framework may keep memory per thread. The first part runs in the
    calling thread. Frameworks release Python's global lock while they compute.

    Args:
        begin: called once in each new thread.
    """

    def __init__(self, begin: Callable[[], Any] | None = None) -> None:
        self._others = [ThreadPoolExecutor(1, initializer=begin) for _ in range(NUM_PARTS - 1)]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._others:
            thread.shutdown()

    def map(self, compute: Callable[..., Result], *arguments: Sequence[Any]) -> list[Result]:
        """Call `compute` with the arguments of each part, in the part's thread, and return the results in order."""
        (first, *others) = zip(*arguments, strict=True)
        futures = [thread.submit(compute, *part) for thread, part in zip(self._others, others, strict=False)]
        return [compute(*first), *(part.result() for part in futures)]

    def in_turn(self, compute: Callable[..., Result], *arguments: Sequence[Any]) -> list[Result]:
        """Like `map`, but compute one part after another."""
        (first, *others) = zip(*arguments, strict=True)
        results = [compute(*first)]
        for thread, part in zip(self._others, others, strict=False):
            results.append(thread.submit(compute, *part).result())
        return results
