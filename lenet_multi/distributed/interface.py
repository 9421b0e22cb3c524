"""The functions of each engine, for the type checker and for the reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lenet_multi.backends.interface import Network
from lenet_multi.data import Split
from lenet_multi.training.recorder import Recorder


class Engine(Protocol):
    """A module that trains with several workers in one framework."""

    def join(self) -> tuple[int, int]:
        """Connect to the other workers, and wait for them.

        Returns:
            The rank of this worker, counted from 0, and the number of workers.
        """
        ...

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums of numbers over all workers. All pass the same number of values; each call waits for the others."""
        ...

    def leave(self, failed: bool = False) -> None:
        """Disconnect from the other workers, at the end of a run.

        Args:
            failed: whether this worker has failed; then it does not wait for the others.
        """
        ...

    def is_lost_connection(self, problem: Exception) -> bool:
        """Whether an exception of the framework says that another worker is gone."""
        ...

    def train(
        self,
        net: Network,
        train_data: Split,
        test_data: Split,
        num_epochs: int = 10,
        lr: float = 0.9,
        batch_size: int = 256,
        seed: int = 0,
        recorder: Recorder | None = None,
    ) -> Recorder:
        """Train the network of this worker, as `Backend.train` does, together with the others.

        All workers pass the same arguments and the same parameters; only the recorders differ. Losses and accuracies
        are those of all workers, and so is `recorder.stop_training`, which is that of worker 0.

        Args:
            net: a network from `Backend.LeNet`.
            train_data: all training data, not this worker's share.
            test_data: likewise.
            num_epochs: as for `Backend.train`.
            lr: likewise.
            batch_size: examples per step, of all workers together.
            seed: as for `Backend.train`.
            recorder: likewise.
        """
        ...
