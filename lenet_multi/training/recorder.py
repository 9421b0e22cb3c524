"""The recorder: a training loop reports its losses, accuracies and times to it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from lenet_multi.errors import UserError
from lenet_multi.system.process import seconds_since_process_start
from lenet_multi.training.points import Point

AfterEpoch = Callable[[Any, Point], "bool | None"]  # takes the network and the point at the end of the epoch


class DivergenceError(UserError):
    """The loss or a weight is no longer finite."""


class Timer:
    """Sums the wall-clock seconds between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started: float | None = None

    @property
    def running(self) -> bool:
        return self._started is not None

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        if self._started is not None:
            self.seconds += time.perf_counter() - self._started
        self._started = None


class Recorder:
    """Keeps the curves and times of one training run, and shows its progress.

    On a terminal it shows a progress bar; in a notebook it redraws the curves.

    Args:
        first_epoch: epochs already done, for a resumed run.
        points: the curves of those epochs.
        after_epoch: called with the network and the epoch's last point, after each epoch is evaluated and recorded: the
            place to save a checkpoint. If it returns True, the training stops, complete as it stands.
        show: called with the points after each new one: the place to draw; the notebook's animation when None.
        reports_per_epoch: how often to record the means; at most once per batch.
        is_quiet: whether to print and draw nothing, as for workers other than worker 0.
    """

    def __init__(
        self,
        first_epoch: int = 0,
        points: list[Point] | None = None,
        after_epoch: AfterEpoch | None = None,
        show: Callable[[list[Point]], None] | None = None,
        reports_per_epoch: int = 5,
        is_quiet: bool = False,
    ) -> None:
        self.epochs_done = self.first_epoch = self._began_at = first_epoch
        self.points = list(points or [])
        self.timer = Timer()
        self.startup_seconds: float | None = None
        self.wall_seconds = 0.0
        self._examples_per_epoch = 0
        self._began = 0.0
        self.after_epoch = after_epoch
        self.stop_training = False
        self.is_quiet = is_quiet
        self._show = show
        self._reports_per_epoch = reports_per_epoch
        self._bar: tqdm | None = None

    def start(self, num_epochs: int, num_examples: int) -> None:
        """Start the clock and the progress bar; `num_examples` is the size of the training data.

        Raises:
            UserError: when there is no epoch left to train.
        """
        if num_epochs <= self.first_epoch:
            least = f"more than the {self.first_epoch} already done" if self.first_epoch else "at least 1"
            raise UserError(f"num_epochs {num_epochs}, expected {least}")
        if self._show is None and not self.is_quiet:
            from lenet_multi.training.curves import animation

            self._show = animation(num_epochs)
        # None: a bar only if standard error is a terminal. Reports are rare, so each one redraws it.
        self._bar = tqdm(
            total=num_epochs,
            initial=self.first_epoch,
            disable=None if sys.stderr is not None and not self.is_quiet else True,  # a program may have no stderr
            mininterval=0,
            miniters=0,
            leave=False,
            file=sys.stderr,
            bar_format="{desc}{bar}| epoch {n:.1f} of {total}, {elapsed} elapsed, {remaining} left{postfix}",
        )
        self.stop_training = False
        self._examples_per_epoch = num_examples
        self.startup_seconds = seconds_since_process_start()
        self._began = time.perf_counter()

    def report_points(self, num_batches: int) -> frozenset[int]:
        """The batches of an epoch (counted from 0) after which to report: evenly spaced, including the last."""
        reports = min(self._reports_per_epoch, num_batches)
        return frozenset(num_batches * (k + 1) // reports - 1 for k in range(reports))

    def add(self, epoch: float, train_loss: float, train_acc: float) -> None:
        """Record the means over the examples of the epoch so far.

        Raises:
            DivergenceError: when the loss is not finite.
        """
        if not math.isfinite(train_loss):
            raise DivergenceError(f"train loss is {train_loss} in epoch {math.ceil(epoch)}: try a smaller --lr")
        self.points.append(Point(epoch, train_loss, train_acc))
        self._show_progress()

    def end_epoch(self, net: Any, epochs_done: int, test_acc: float) -> None:
        """Record the test accuracy at the end of an epoch and call `after_epoch`, which may set `stop_training`.

        The training loop ends if `stop_training` is set.
        """
        self.points[-1].test_acc = test_acc
        self.epochs_done = epochs_done
        self.wall_seconds = time.perf_counter() - self._began
        self._show_progress()
        if self.after_epoch:
            self.stop_training = bool(self.after_epoch(net, self.points[-1]))

    def close(self, device: str) -> None:
        """Print the closing lines."""
        self.hide()
        if not self.is_quiet:
            print(closing_lines(self.points[-1], self.examples_per_sec, device), flush=True)

    @property
    def is_shown(self) -> bool:
        """Whether a progress bar or a figure shows the progress."""
        return self._show is not None or (self._bar is not None and not self._bar.disable)

    def hide(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def _show_progress(self) -> None:
        last = self.points[-1]
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {last.train_loss:z.3f}, train acc {last.train_acc:.3f}", refresh=False)
            self._bar.update(last.epoch - self._bar.n)
        if self._show is not None:
            running = self.timer.running
            self.timer.stop()  # drawing is not training
            self._show(self.points)
            if running:
                self.timer.start()

    @property
    def examples_per_sec(self) -> float:
        """Training examples per wall-clock second of the training loops; 0.0 before the first is timed."""
        examples = (self.epochs_done - self._began_at) * self._examples_per_epoch
        return examples / self.timer.seconds if self.timer.seconds else 0.0


def closing_lines(last: Point, examples_per_sec: float, device: str) -> str:
    """The two lines that end a run: loss and accuracies, then speed and device."""
    return f"{epoch_figures(last)}\n{examples_per_sec:.1f} examples/sec on {device}"


def epoch_figures(last: Point) -> str:
    """Loss and accuracies at the end of an epoch, in a line."""
    return f"loss {last.train_loss:z.3f}, train acc {last.train_acc:.3f}, test acc {last.test_acc:.3f}"
