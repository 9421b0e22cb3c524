"""The training runs of the chapter's exercises: their options, and a folder that keeps the finished ones."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.checks.float64_reference import xavier_bound, xavier_uniform
from lenet_multi.data import Dataset
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, Run, load_checkpoint
from lenet_multi.runs.options import network_of, recipe, run_parser
from lenet_multi.runs.weights import Parameters, save_weights
from lenet_multi.system.child_processes import run_in_process
from lenet_multi.system.stderr import say

# Options of `lenet_multi.train` without dashes; the value of `weights` is a name in `INITIALIZATIONS`.
Options = Mapping[str, str]

LENET5: Options = {}
MODERN: Options = {"architecture": "lenet-modern"}
POOLINGS: dict[str, Options] = {"average": LENET5, "maximum": {"pooling": "max"}}
# From LeNet-5 to lenet-modern, each with the changes before it. The learning rate changes with the activation, because
# the rate for sigmoids is too large for relus.
STEPS: dict[str, Options] = {
    "`lenet5`": LENET5,
    "relu, learning rate 0.2": {"activation": "relu", "lr": "0.2"},
    "batches of 128": {"batch-size": "128"},
    "maximum pooling": {"pooling": "max"},
    "16 and 32 channels": {"conv-channels": "16,32"},
    "second kernel 3 x 3, padding 1": {"kernel-sizes": "5,3", "paddings": "2,1"},
    "dense layers of 256 and 128": {"dense-units": "256,128"},
    "a tenth of the learning rate after 8 epochs: `lenet-modern`": {"lr-decay-epoch": "8"},
}
# Single changes of lenet-modern.
VARIATIONS: dict[str, Options] = {
    "average pooling": {"pooling": "avg"},
    "tanh": {"activation": "tanh"},
    "one hidden dense layer of 256": {"dense-units": "256"},
    "a third convolution: 64 channels, 3 x 3": {
        "conv-channels": "16,32,64",
        "kernel-sizes": "5,3,3",
        "paddings": "2,1,1",
    },
    "learning rate 0.05": {"lr": "0.05"},
    "32 and 64 channels": {"conv-channels": "32,64"},
    "He initialization": {"weights": "he"},
}


def he_uniform(architecture: Architecture, seed: int) -> Parameters:
    """Return initial parameters for relus: weights uniform within sqrt(6 / fan_in), biases zero; float32.

    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.
    """
    parameters = xavier_uniform(architecture, seed)
    for name, value in parameters.items():
        if name.endswith(".weight"):
            value *= np.float32(np.sqrt(6 / np.prod(value.shape[1:])) / xavier_bound(value.shape))
    return parameters


INITIALIZATIONS = {"he": he_uniform}


def ablation() -> dict[str, Options]:
    """Return the rows of the ablation: a title, and all options of the run."""
    options: list[Options] = list(accumulate(STEPS.values(), lambda before, change: {**before, **change}))
    options[-1] = MODERN  # the preset has the same network and recipe, so both exercises share its run
    variations = {f"`lenet-modern` with {title}": MODERN | change for title, change in VARIATIONS.items()}
    return dict(zip(STEPS, options, strict=True)) | variations


@dataclass(frozen=True)
class RunStore:
    """A folder of training runs. A run that is missing is trained, an interrupted one is resumed.

    Args:
        out: the folder.
        epochs: of every run.
        dataset: the data.
        data_options: the options of `lenet_multi.train` that select these data.
        loop: `plain` or `fast`.
        finished_only: train nothing.
    """

    out: Path
    epochs: int
    dataset: Dataset
    data_options: list[str]
    loop: str = "plain"
    finished_only: bool = False

    def folder(self, options: Options, backend: str, seed: int) -> Path:
        """Return the folder of a run, which is named after all its options."""
        loop = [] if self.loop == "plain" else [self.loop]
        return self.out / "-".join([backend, *loop, str(seed), *(f"{name}-{value}" for name, value in options.items())])

    def run(self, options: Options, backend: str, seed: int) -> Run | None:
        """Return a finished run. Trains it in a separate process if necessary.

        Returns:
            The run, or None if it is not finished and `finished_only` is set.

        Raises:
            UserError: when training fails, or the folder holds a run with other settings.
        """
        folder = self.folder(options, backend, seed)
        values = {"backend": backend, "loop": self.loop, "seed": seed, "epochs": self.epochs, **options}
        if "weights" in options:
            values["weights"] = self.out / f"{options['weights']}-{seed}.safetensors"
        arguments = [*self.data_options, *(f"--{name}={value}" for name, value in values.items())]
        args = run_parser("scripts/exercises", "").parse_args(arguments)
        before = load_checkpoint(folder)[0] if (folder / CHECKPOINT).exists() else None
        if before:
            self._require_settings(args, before, folder)
        is_finished = before is not None and before.epochs_done >= self.epochs
        if not is_finished:
            if self.finished_only:
                return None
            say(f"{folder.name}: training")
            if before:
                arguments = [*self.data_options, "--resume", f"--epochs={self.epochs}"]
            elif "weights" in options:
                architecture = network_of(args)
                parameters = INITIALIZATIONS[options["weights"]](architecture, seed)
                self.out.mkdir(parents=True, exist_ok=True)
                save_weights(args.weights, parameters, {"architecture": architecture.to_dict()})
            command = [sys.executable, "-m", "lenet_multi.train", *arguments, "--out", str(folder)]
            if reason := run_in_process(command):
                raise UserError(f"{folder.name}: {reason}")
        run = load_checkpoint(folder)[0]
        reused = " (reused)" if is_finished else ""
        say(f"{folder.name}: test acc {run.points[-1].test_acc:.4f}, {training_seconds([run]):.0f} s{reused}")
        return run

    def _require_settings(self, args: argparse.Namespace, run: Run, folder: Path) -> None:
        """Refuse a run that was trained with other data, another network or another recipe."""
        values = recipe(args, args.architecture)
        is_same = (
            run.architecture == network_of(args)
            and run.settings.dataset == self.dataset.name
            and all(getattr(run.settings, name) == values[name] for name in ("lr", "lr_decay_epoch", "batch_size"))
            and run.epochs_done <= self.epochs
        )
        if not is_same:
            raise UserError(f"'{folder}' holds a run with other settings: remove it, or choose another --out")


def loops_of(runs: Iterable[Run]) -> str:
    """Return the name of the loop that trained the runs, or several names."""
    return " and ".join(dict.fromkeys(segment.loop for run in runs for segment in run.segments))


def training_seconds(runs: Iterable[Run]) -> float:
    """Return the wall-clock time of training and evaluation, summed over the runs and their segments."""
    return sum(segment.wall_seconds for run in runs for segment in run.segments)


def test_accs(run: Run) -> list[float]:
    """Return the test accuracy after each epoch."""
    return [point.test_acc for point in run.points if point.test_acc is not None]
