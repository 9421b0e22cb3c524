"""Which examples make up which batch: the same for every backend.

The order of an epoch depends on (seed, epoch) alone, so three frameworks see the same batches, and a run that was
stopped goes on with the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """The training order of one epoch (counted from 0): a permutation of the example indices, int64 (num_examples,)."""
    return np.random.default_rng([seed, epoch]).permutation(num_examples)


@dataclass(frozen=True)
class BatchIndices:
    """The example indices of each batch, one int64 array a batch; can be iterated again and again.

    Args:
        num_examples: size of the data.
        batch_size: examples per batch; the last batch of an epoch holds the rest.
        seed: shuffles the examples anew in each epoch; None leaves them in order.
        epochs: the epochs (counted from 0) to run through, one after the other.
    """

    num_examples: int
    batch_size: int = 256
    seed: int | None = None
    epochs: Sequence[int] = (0,)

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches in one epoch, the short last one included."""
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
class Batches:
    """Batches that are loaded one by one as they are asked for; can be iterated again and again.

    Args:
        indices: which examples make up which batch.
        load: from the indices of a batch's examples to the batch.
    """

    indices: BatchIndices
    load: Callable[[np.ndarray], Any]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Any]:
        return map(self.load, self.indices)

    def epoch(self, epoch: int) -> Batches:
        """The batches of this epoch (counted from 0) alone, from the same data."""
        return replace(self, indices=replace(self.indices, epochs=[epoch]))
