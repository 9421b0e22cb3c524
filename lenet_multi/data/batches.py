"""Batches of example indices, the same for every backend.

The order of an epoch depends only on the seed and the epoch. All frameworks therefore see the same batches, and a
resumed run sees the batches that it would have seen without the interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the examples in an epoch (counted from 0): a permutation of their indices, int64 (num_examples,)."""
    return np.random.default_rng([seed, epoch]).permutation(num_examples)


@dataclass(frozen=True)
class BatchSampler:
    """Yields the example indices of each batch, an int64 array per batch. Can be iterated more than once.

    Args:
        num_examples: size of the data.
        batch_size: examples per batch; the last batch of an epoch contains the remaining examples.
        seed: seed of the shuffling, which differs in each epoch; None keeps the examples in order.
        epochs: the epochs (counted from 0) to iterate over, in order.
    """

    num_examples: int
    batch_size: int = 256
    seed: int | None = None
    epochs: Sequence[int] = (0,)

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches in one epoch, including a smaller last one."""
        return -(-self.num_examples // self.batch_size)

    def __len__(self) -> int:
        return len(self.epochs) * self.batches_per_epoch

    def orders(self) -> Iterator[np.ndarray]:
        """The order of the examples in each epoch, int64 (num_examples,)."""
        for epoch in self.epochs:
            if self.seed is None:
                yield np.arange(self.num_examples)
            else:
                yield epoch_order(self.num_examples, self.seed, epoch)

    def __iter__(self) -> Iterator[np.ndarray]:
        for order in self.orders():
            for start in range(0, self.num_examples, self.batch_size):
                yield order[start : start + self.batch_size]


@dataclass(frozen=True)
class DataLoader:
    """Yields batches and loads each one when it is requested. Can be iterated more than once.

    Args:
        sampler: yields the example indices of each batch.
        load: loads the batch with the given example indices.
    """

    sampler: BatchSampler
    load: Callable[[np.ndarray], Any]

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        return map(self.load, self.sampler)

    def epoch(self, epoch: int) -> DataLoader:
        """A loader of the same data for this epoch (counted from 0) only."""
        return replace(self, sampler=replace(self.sampler, epochs=[epoch]))
