"""Trains LeNet-5 as the command `train` does, alone or as one of several workers, and measures every epoch.

    python scripts/scaling_study/worker.py torch '[[256, 64, 4], [4096, 4, 4]]' fashion-mnist

Each of the tasks is the examples in a batch, the batches in an epoch, and the number of epochs. After each epoch the
program prints a line of JSON, and waits for a line on standard input: meanwhile the network can be changed. The first
epoch of a task includes compilation, so nobody should use its figure.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from lenet_multi import PRESETS
from lenet_multi.backends import load_backend
from lenet_multi.data import load_dataset
from lenet_multi.distributed.workers import joined_workers, serve
from lenet_multi.errors import UserError
from lenet_multi.system.command import run_command
from lenet_multi.training.points import Point
from lenet_multi.training.recorder import Recorder

NUM_TEST = 100  # evaluation is not measured
Task = tuple[int, int, int]


def recorder_of(rank: int, batch_size: int, num_batches: int) -> Recorder:
    """A recorder that reports each epoch. It adds up the losses of all workers once in an epoch."""
    seconds = 0.0

    def after_epoch(net: Any, point: Point) -> bool:
        nonlocal seconds
        # The clock of `examples/sec`: it runs during the training loop, not during evaluation.
        epoch_seconds, seconds = recorder.timer.seconds - seconds, recorder.timer.seconds
        step_ms = 1000 * epoch_seconds / num_batches
        figures = {"rank": rank, "batch_size": batch_size, "epoch": recorder.epochs_done, "step_ms": step_ms}
        print(json.dumps(figures), file=sys.__stdout__, flush=True)
        return sys.stdin.readline() == ""  # nobody waits for the next epoch

    recorder = Recorder(after_epoch=after_epoch, reports_per_epoch=1, is_quiet=True)
    return recorder


def measure(backend_name: str, tasks: Sequence[Task], dataset_name: str) -> None:
    """Train on the first examples of a data set, with a new network for each task.

    Raises:
        UserError: when the data is not there, or the connection to the other workers is lost.
    """
    serve(backend_name)
    with joined_workers(backend_name) as workers:
        backend = load_backend(backend_name)
        train = workers.engine.train if workers else backend.train
        dataset = load_dataset(dataset_name)
        for batch_size, num_batches, num_epochs in tasks:
            if batch_size * num_batches > len(dataset.train):
                raise UserError(f"{num_batches} batches of {batch_size} are more than {len(dataset.train)} examples")
            data = dataset.train.subset(batch_size * num_batches), dataset.test.subset(NUM_TEST)
            recorder = recorder_of(workers.rank if workers else 0, batch_size, num_batches)
            net = backend.LeNet(PRESETS["lenet5"], seed=0, device="cpu")
            train(net, *data, num_epochs=num_epochs, batch_size=batch_size, recorder=recorder)


def command(argv: Sequence[str] | None) -> None:
    backend_name, tasks, dataset_name = sys.argv[1:] if argv is None else argv
    with contextlib.redirect_stdout(None):
        measure(backend_name, json.loads(tasks), dataset_name)


if __name__ == "__main__":
    sys.exit(run_command(command))
