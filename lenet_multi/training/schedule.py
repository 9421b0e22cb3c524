"""The learning rate schedule: one call of a backend's `train` for each learning rate.

Plain SGD keeps no state, and the batches depend on seed and epoch only. Consecutive calls therefore compute what an
optimizer with a schedule would compute, and no backend needs to know of the schedule.
"""

from __future__ import annotations

from typing import Any

from lenet_multi.system.stderr import say
from lenet_multi.training.recorder import Recorder, epoch_figures
from lenet_multi.training.settings import Settings

LR_DECAY = 0.1  # as in He et al., 2015, arXiv:1512.03385, section 3.4


def lr_schedule(settings: Settings) -> list[tuple[int, float]]:
    """Pairs of an epoch (counted from 0) and the learning rate before it, back to the pair before."""
    if settings.lr_decay_epoch is None or settings.lr_decay_epoch >= settings.epochs:
        return [(settings.epochs, settings.lr)]
    return [(settings.lr_decay_epoch, settings.lr), (settings.epochs, settings.lr * LR_DECAY)]


class ScheduledRecorder(Recorder):
    """A recorder for several consecutive calls of `train`: one progress bar and one clock.

    Where neither a progress bar nor a figure shows the progress, it prints a line to standard error after each epoch:
    a log tells how far the run is.

    The caller prints the closing lines, after it has written the outputs. Set `first_epoch` before each call: the
    backend starts there.

    Args:
        num_epochs: of all calls together.
        first_epoch: epochs already done.
        others: as for `Recorder`.
    """

    def __init__(self, num_epochs: int, first_epoch: int = 0, *others: Any, **named: Any) -> None:
        super().__init__(first_epoch, *others, **named)
        self._num_epochs = num_epochs

    def start(self, num_epochs: int, num_examples: int) -> None:
        if self.startup_seconds is None:
            super().start(self._num_epochs, num_examples)

    def end_epoch(self, net: Any, epochs_done: int, test_acc: float) -> None:
        super().end_epoch(net, epochs_done, test_acc)
        if not self.is_shown and not self.is_quiet:
            say(f"epoch {epochs_done} of {self._num_epochs}: {epoch_figures(self.points[-1])}")

    def close(self, device: str) -> None:
        if self.epochs_done == self._num_epochs or self.stop_training:
            self.hide()
