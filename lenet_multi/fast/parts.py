"""A batch in parts, one for each thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

from lenet_multi.process import available_cores

Result = TypeVar("Result")

MOST_PARTS = 8
THREADS_PER_PART = -(-available_cores() // MOST_PARTS)  # for the operations of one part
NUM_PARTS = available_cores() // THREADS_PER_PART


def split(batch: Any) -> list[Any]:
    """An array of examples in `NUM_PARTS` parts of nearly equal length; in fewer where it has fewer examples."""
    num_parts = min(NUM_PARTS, len(batch))
    stops = [len(batch) * part // num_parts for part in range(num_parts + 1)]
    return [batch[start:stop] for start, stop in pairwise(stops)]


class Threads:
    """Threads that compute the parts of a batch side by side, for as long as the `with` block lasts.

    A part always has the same thread, for a framework may keep memory by thread. The first part has the thread that
    calls. Frameworks let go of Python's lock while they compute.

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
        """`compute` of the first arguments, the second, and so on, each in the thread of its part."""
        (first, *others) = zip(*arguments, strict=True)
        waiting = [thread.submit(compute, *part) for thread, part in zip(self._others, others, strict=False)]
        return [compute(*first), *(part.result() for part in waiting)]

    def in_turn(self, compute: Callable[..., Result], *arguments: Sequence[Any]) -> list[Result]:
        """As `map`, but one after the other."""
        (first, *others) = zip(*arguments, strict=True)
        results = [compute(*first)]
        for thread, part in zip(self._others, others, strict=False):
            results.append(thread.submit(compute, *part).result())
        return results
