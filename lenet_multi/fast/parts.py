"""A batch in parts, one for each thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

from lenet_multi.process import available_cores

Result = TypeVar("Result")

MOST_PARTS = 8
NUM_PARTS = min(available_cores(), MOST_PARTS)
THREADS_PER_PART = max(1, available_cores() // NUM_PARTS)


def split(batch: Any, num_parts: int = NUM_PARTS) -> list[Any]:
    """An array of examples in that many parts of nearly equal length; in fewer where it has fewer examples."""
    num_parts = min(num_parts, len(batch))
    stops = [len(batch) * part // num_parts for part in range(num_parts + 1)]
    return [batch[start:stop] for start, stop in pairwise(stops)]


class Threads:
    """Threads that compute the parts of a batch side by side, for as long as the `with` block lasts.

    Frameworks let go of Python's lock while they compute.

    Args:
        begin: called once in each new thread.
    """

    def __init__(self, begin: Callable[[], Any] | None = None) -> None:
        self._pool = ThreadPoolExecutor(max(1, NUM_PARTS - 1), initializer=begin)

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def map(self, compute: Callable[..., Result], *arguments: Sequence[Any]) -> list[Result]:
        """`compute` of the first arguments in this thread, and of each of the others in one of its own."""
        (first, *others) = zip(*arguments, strict=True)
        waiting = [self._pool.submit(compute, *part) for part in others]
        return [compute(*first), *(part.result() for part in waiting)]
