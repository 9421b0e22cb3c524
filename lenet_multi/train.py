"""Train LeNet in one of the frameworks.

    python -m lenet_multi.train --backend torch
    python -m lenet_multi.train --backend mxnet --dataset fashion-mnist --out runs/mxnet
    python -m lenet_multi.train --out runs/mxnet --resume --epochs 20 --backend tensorflow
    python -m lenet_multi.train --backend torch --fast

Standard output ends with the two lines of the chapter: loss and accuracies, then speed and device.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_multi.architecture import NUM_CLASSES, PRESET_TRAINING, PRESETS
from lenet_multi.backends import load_backend, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.cli import (
    Parser,
    add_data_options,
    add_device_option,
    add_loop_options,
    add_network_options,
    architecture_from,
    positive_float,
    positive_int,
    run_command,
    say,
    seed_number,
    some_path,
)
from lenet_multi.data import Dataset, load_dataset, require_images_fit
from lenet_multi.errors import UserError
from lenet_multi.fast import loop_of
from lenet_multi.files import CreatedFolder
from lenet_multi.process import peak_rss_mb
from lenet_multi.recorder import DivergenceError, Recorder, closing_lines
from lenet_multi.run import (
    CHECKPOINT,
    OUTPUTS,
    Leg,
    Run,
    Settings,
    data_digest,
    load_checkpoint,
    remove_outputs,
    require_free,
    save_checkpoint,
    weights_path,
    write_outputs,
)
from lenet_multi.stages import StagedRecorder, stages
from lenet_multi.weights import Parameters, architecture_of, load_weights

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend

GUESSING = math.log(NUM_CLASSES)  # the cross-entropy of a network that gives every class the same probability
NEAR_GUESSING = 0.01  # a loss that differs from GUESSING by less than this part of it shows no learning

# The chapter's recipe. On the command line these are None until given, for a run that goes on brings its own.
DEFAULTS: dict[str, Any] = {
    "backend": "torch",
    "loop": "plain",
    "dataset": "auto",
    "epochs": 10,
    "lr": 0.9,  # large, as sigmoids pass on small gradients
    "lr_drop": None,
    "batch_size": 256,
    "seed": 0,
}


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.train", description="Train LeNet in one of three frameworks.")
    parser.add_argument("--backend", metavar="NAME", help="torch, tensorflow or mxnet (torch)")
    add_loop_options(parser)
    add_data_options(parser, default=None)
    group = parser.add_argument_group("training options")
    group.add_argument("--epochs", type=positive_int, metavar="N", help="times through the training data (10)")
    group.add_argument("--lr", type=positive_float, metavar="X", help="learning rate (0.9; lenet-modern 0.2)")
    group.add_argument(
        "--lr-drop",
        type=positive_int,
        metavar="N",
        help="go on with a tenth of the learning rate after N epochs (never; lenet-modern 8)",
    )
    group.add_argument("--batch-size", type=positive_int, metavar="N", help="examples per step (256; lenet-modern 128)")
    group.add_argument("--seed", type=seed_number, metavar="N", help="of initial weights and shuffling (0)")
    add_device_option(group)
    group.add_argument(
        "--weights",
        type=weights_path,
        metavar="FILE",
        help="start from the parameters in this file or folder of a run",
    )
    add_network_options(parser)
    group = parser.add_argument_group("output options")
    group.add_argument(
        "--out", type=some_path, metavar="DIR", help="leave summary, history, curves and parameters there"
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on after the last whole epoch of the run in --out DIR; "
        "only backend, loop, device and a larger --epochs may differ",
    )
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    parse_device(args.device)
    if args.resume:
        resume(args)
    else:
        start(args)


def recipe(args: argparse.Namespace, preset: str | None) -> dict[str, Any]:
    """The settings of `DEFAULTS` for a new run: what was given, else what goes with the preset, else the chapter's."""
    given = {name: value for name, value in vars(args).items() if name in DEFAULTS and value is not None}
    return DEFAULTS | PRESET_TRAINING.get(preset or "", {}) | given


def start(args: argparse.Namespace) -> None:
    """Begin a new run."""
    backend_name = require_installed(DEFAULTS["backend"] if args.backend is None else args.backend)
    if args.out and (args.out / CHECKPOINT).exists():
        raise UserError(
            f"--out '{args.out}' holds a run already, expected a folder without {CHECKPOINT}: "
            "choose another, or go on with --resume"
        )
    if args.out:
        require_free(args.out, OUTPUTS)
    architecture, parameters, preset = architecture_from(args), None, args.architecture
    if args.weights:
        parameters, metadata = load_weights(args.weights)
        architecture = architecture_of(args.weights, parameters, metadata, architecture)
        preset = preset or architecture.name
    chosen = recipe(args, preset)
    dataset = load_dataset(chosen["dataset"], args.data_dir)
    settings = Settings(
        dataset=dataset.name,
        data_sha256=data_digest(dataset) if args.out else "",
        num_train=len(dataset.train),
        num_test=len(dataset.test),
        epochs=chosen["epochs"],
        batch_size=chosen["batch_size"],
        lr=chosen["lr"],
        lr_drop=chosen["lr_drop"],
        seed=chosen["seed"],
    )
    run = Run(architecture or PRESETS["lenet5"], settings, backend_name, chosen["loop"])
    go(args, run, parameters, dataset)


def resume(args: argparse.Namespace) -> None:
    """Go on with the run in `--out`: what is not given is as it was, and what is given must be as it was."""
    if not args.out:
        raise UserError("--resume without --out, expected the folder of the run to go on with: add --out DIR")
    if args.weights:
        raise UserError("--resume and --weights together, expected one: a run that goes on has its own weights")
    run, parameters = load_checkpoint(args.out)
    settings = run.settings
    own = {"architecture": run.architecture.to_dict()}
    architecture_of(args.out / CHECKPOINT, parameters, own, architecture_from(args))
    for name in ("lr", "lr_drop", "batch_size", "seed"):
        given, was = getattr(args, name), getattr(settings, name)
        if given is not None and given != was:
            option = name.replace("_", "-")
            raise UserError(f"--{option} {given}, expected {was} as in the run in '{args.out}': leave --{option} out")
    if args.epochs is not None and args.epochs < settings.epochs:
        raise UserError(
            f"--epochs {args.epochs}, expected at least {settings.epochs} as in the run in '{args.out}', "
            f"which has {run.epochs_done} done: leave --epochs out or give more"
        )
    if args.epochs is not None:
        run = replace(run, settings=replace(settings, epochs=args.epochs))
    backend_name = require_installed(run.backend if args.backend is None else args.backend)
    run = replace(run, backend=backend_name, loop=args.loop or run.loop)
    if run.loop == "fast" and args.loop is None:
        say("note: the run goes on with its fast loop; pass --loop plain for the plain one")
    dataset = load_dataset(settings.dataset if args.dataset is None else args.dataset, args.data_dir)
    if (dataset.name, data_digest(dataset)) != (settings.dataset, settings.data_sha256):
        raise UserError(
            f"--dataset '{dataset.name}' is not the data of the run in '{args.out}', expected {settings.dataset} "
            "as it was: leave --dataset out"
        )
    if run.epochs_done == run.settings.epochs:
        say(f"all {run.epochs_done} epochs are done already: give a larger --epochs to go on")
        write_outputs(args.out)
        last, leg = run.points[-1], run.legs[-1]
        print(closing_lines(last, leg.examples_per_sec, leg.device))
        return
    go(args, run, parameters, dataset)


def go(args: argparse.Namespace, run: Run, parameters: Parameters | None, dataset: Dataset) -> None:
    """Train until the run's epochs are done."""
    settings, out = run.settings, args.out
    require_images_fit(run.architecture, dataset)
    if settings.batch_size > settings.num_train:
        raise UserError(
            f"--batch-size {settings.batch_size}, expected at most the {settings.num_train} training examples "
            f"of '{dataset.name}': take a smaller one"
        )
    backend = load_backend(run.backend, fast=run.loop == "fast")
    net = backend.LeNet(run.architecture, settings.seed, args.device)
    run = replace(run, loop=loop_of(backend, net))  # a fast backend may have nothing faster
    if parameters is not None:
        backend.set_parameters(net, parameters)

    def keep() -> None:
        """After each epoch."""
        trained = backend.get_parameters(net)
        if not all(np.isfinite(value).all() for value in trained.values()):
            raise DivergenceError(
                f"weights not finite after epoch {recorder.epochs_done}, expected finite numbers: "
                "start anew with a smaller --lr"
            )
        if out:
            leg = finished_leg(run, backend, backend.device_of(net), recorder)
            save_checkpoint(out, replace(run, points=recorder.points, legs=[*run.legs, leg]), trained)

    recorder = StagedRecorder(settings.epochs, run.epochs_done, run.points, after_epoch=keep)
    try:
        if out:
            # Also before the first epoch, so that a run killed at any moment can go on.
            begin(out, run, backend.get_parameters(net))
        for epochs, lr in stages(settings):
            if recorder.epochs_done < epochs:
                recorder.first_epoch = recorder.epochs_done
                backend.train(
                    net, dataset.train, dataset.test, epochs, lr, settings.batch_size, settings.seed, recorder
                )
    except KeyboardInterrupt:
        recorder.hide()
        if not out or not (out / CHECKPOINT).exists():
            raise KeyboardInterrupt("nothing is kept" if out else "nothing is kept without --out DIR") from None
        raise KeyboardInterrupt(f"{kept(out)}; go on with: {going_on(args)}") from None
    except DivergenceError as problem:
        recorder.hide()
        raise DivergenceError(f"{problem}; {kept(out)}" if out else str(problem)) from None
    if out:
        write_outputs(out)
    loss = recorder.points[-1].train_loss
    if loss > 2 * GUESSING:
        say(f"note: a loss of {loss:.3f} is far above {GUESSING:.3f}, that of guessing: start anew with a smaller --lr")
    if learned_nothing(loss, recorder.epochs_done, settings.num_train):
        say(
            f"note: after {recorder.epochs_done} epochs the loss is {loss:.3f}, that of guessing all classes alike: "
            "the network has learned nothing; with relu try a smaller --lr, such as 0.1, with sigmoid more epochs or "
            "another --seed"
        )
    if dataset.name == "synthetic":
        say("note: these figures are on `synthetic`, garments drawn by code, and NOT on Fashion-MNIST")


def learned_nothing(loss: float, num_epochs: int, num_train: int) -> bool:
    """Whether a run's train loss is still that of guessing after enough training to be lower.

    Args:
        loss: the mean over the last epoch.
        num_epochs: epochs that the whole run has done. With sigmoids the first one may be all plateau.
        num_train: number of training examples. On a few, an epoch is too few steps to tell.
    """
    return num_epochs >= 2 and num_train >= 10_000 and abs(loss - GUESSING) <= NEAR_GUESSING * GUESSING


def begin(out: Path, run: Run, parameters: Parameters) -> None:
    """Make the run's folder and its first checkpoint."""
    try:
        with CreatedFolder(out):
            remove_outputs(out)
            save_checkpoint(out, run, parameters)
    except OSError as problem:
        raise UserError(
            f"--out '{out}' cannot be made ({problem.strerror}), expected a folder of yours: choose another"
        ) from problem


def kept(out: Path) -> str:
    """Write the outputs of a run that was stopped, and say how far it had come."""
    write_outputs(out)
    run, _ = load_checkpoint(out)
    return f"'{out}' keeps the run after epoch {run.epochs_done} of {run.settings.epochs}"


def going_on(args: argparse.Namespace) -> str:
    """The command that resumes the run, as a shell takes it."""
    command = [sys.executable, "-m", "lenet_multi.train", "--resume", "--out", str(args.out)]
    if args.data_dir:
        command += ["--data-dir", str(args.data_dir)]
    if args.device != "auto":
        command += ["--device", args.device]
    return shlex.join(command)


def finished_leg(run: Run, backend: Backend, device: str, recorder: Recorder) -> Leg:
    """What this process, which goes on with `run`, has trained so far."""
    return Leg(
        backend=run.backend,
        framework=backend.FRAMEWORK,
        framework_version=backend.VERSION,
        device=device,
        first_epoch=run.epochs_done,
        epochs_done=recorder.epochs_done,
        examples_per_sec=round(recorder.examples_per_sec, 1),
        wall_seconds=round(recorder.wall_seconds, 3),
        startup_seconds=round(recorder.startup_seconds or 0.0, 3),
        peak_rss_mb=round(peak_rss_mb(), 1),
        loop=run.loop,
    )


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
