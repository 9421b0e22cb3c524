"""Training in stages, each with a learning rate of its own: a call of the backend's `train` for each.

Plain SGD keeps no state, and the batches depend on seed and epoch alone, so a stage that begins where another has ended
is what an optimizer with a schedule would do. No backend needs to know of it.
"""

from __future__ import annotations

from typing import Any

from lenet_multi.recorder import Recorder
from lenet_multi.run import Settings

DROP = 0.1  # the rate's factor, as usual: He et al., 2015, arXiv:1512.03385, section 3.4


def stages(settings: Settings) -> list[tuple[int, float]]:
    """The epoch before which each stage ends, counted from 0, and its learning rate."""
    if settings.lr_drop is None or settings.lr_drop >= settings.epochs:
        return [(settings.epochs, settings.lr)]
    return [(settings.lr_drop, settings.lr), (settings.epochs, settings.lr * DROP)]


class StagedRecorder(Recorder):
    """A recorder that goes on from stage to stage: one bar, one clock, the closing lines once.

    Set `first_epoch` before each stage: it tells the backend where to begin.

    Args:
        num_epochs: of all stages.
        first_epoch: how many epochs are done already.
        others: as for `Recorder`.
    """

    def __init__(self, num_epochs: int, first_epoch: int = 0, *others: Any, **named: Any) -> None:
        super().__init__(first_epoch, *others, **named)
        self._num_epochs = num_epochs

    def start(self, num_epochs: int, num_examples: int) -> None:
        if self.startup_seconds is None:
            super().start(self._num_epochs, num_examples)

    def close(self, device: str) -> None:
        if self.epochs_done == self._num_epochs:
            super().close(device)
