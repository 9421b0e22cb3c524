"""Shares: which examples of each batch a worker computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lenet_multi.data import BatchSampler, Split


@dataclass(frozen=True)
class ShareSampler(BatchSampler):
    """Yields the indices of this worker's share of each batch: every `num_workers`-th example, from `rank` on.

    The shares of a batch differ by one example at most. If a batch has fewer examples than there are workers, some
    shares are empty. Frameworks cannot compute an empty batch, so such a worker gets the batch's first example in
    place of a share, and `weight` 0.

    Args:
        rank: of this worker, counted from 0.
        num_workers: of this run.
    """

    rank: int = 0
    num_workers: int = 1

    def __iter__(self) -> Iterator[np.ndarray]:
        for index in super().__iter__():
            yield (
                index[self.rank :: self.num_workers]
                if self.rank < len(index)
                else index[:1]
            )

    def batch_len(self, i: int) -> int:
        """The examples in batch `i` of an epoch, of all workers together."""
        return min(self.batch_size, self.num_examples - i * self.batch_size)

    def weight(self, i: int) -> float:
        """1, or 0 if this worker has no share of batch `i`."""
        return float(self.rank < self.batch_len(i))


def share_of(data: Split, rank: int, num_workers: int) -> Split:
    """A worker's share of the examples of a split, which may be empty."""
    return Split(
        data.images[rank::num_workers].copy(), data.labels[rank::num_workers].copy()
    )
