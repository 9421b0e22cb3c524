"""Starts and resumes training runs, and saves a checkpoint after each epoch."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.backends import default_backend, load_backend, require_installed
from lenet_multi.data import Dataset, is_image_folder, require_fit
from lenet_multi.data.image_folder import TEST_FRACTION, has_test_folder
from lenet_multi.distributed import is_worker
from lenet_multi.distributed.workers import Workers, joined_workers, serve
from lenet_multi.errors import UserError
from lenet_multi.fast import loop_of
from lenet_multi.runs.agreement import shared_by_workers
from lenet_multi.runs.checkpoint import (
    CHECKPOINT,
    Run,
    data_of,
    finished_segment,
    load_checkpoint,
    load_run,
    require_run,
    save_checkpoint,
)
from lenet_multi.runs.kept_epochs import EPOCHS, epochs_folder, keep_epoch, require_no_kept_epochs
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.options import DEFAULTS, architecture_from, recipe
from lenet_multi.runs.outputs import OUTPUTS, locked_run, remove_outputs, require_unchanged, write_outputs
from lenet_multi.runs.selection import (
    dataset_from,
    network_for,
    selected_backend,
    shape_of_weights,
    warn_of_other_classes,
)
from lenet_multi.runs.tensorboard import EVENTS, EventLog, require_tensorboard
from lenet_multi.runs.weights import Parameters, architecture_of, load_network
from lenet_multi.system.atomic_files import require_absent
from lenet_multi.system.option_parser import option_words
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say
from lenet_multi.training.chance_loss import chance_loss, is_chance_loss
from lenet_multi.training.points import Point
from lenet_multi.training.recorder import AfterEpoch, DivergenceError, Recorder, closing_lines
from lenet_multi.training.schedule import ScheduledRecorder, lr_schedule
from lenet_multi.training.settings import PICTURES, Settings

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Network


def run_training(args: argparse.Namespace, after_epoch: AfterEpoch | None = None) -> None:
    """Start or resume a run, as the only process in its folder.

    Args:
        args: from `runs.options.run_parser`.
        after_epoch: as for `Recorder`. A run that it stops has all its files, and can be resumed.

    Raises:
        UserError: as for `start_run` and `resume_run`, or when another process is training in the folder.
        KeyboardInterrupt: as for `start_run`.
        SystemExit: on SIGTERM, or when the terminal closes; neither temporary files nor an empty folder are left.
    """
    if args.tensorboard and not args.out:
        raise UserError("--tensorboard needs a folder to write to: add --out DIR")
    if args.keep_epochs and not args.out:
        raise UserError("--keep-epochs needs a folder to write to: add --out DIR")
    if args.resume and args.out:
        require_run(args.out)  # before locking, which creates the folder
        args.keep_epochs = args.keep_epochs or (args.out / EPOCHS).is_dir()
        if (args.out / EVENTS).is_dir():
            require_tensorboard(f"the run in '{args.out}' writes to {EVENTS}/ and")
            args.tensorboard = True
    if args.tensorboard:
        require_tensorboard()
    backend_name = selected_backend(args)
    serve(backend_name)
    # A worker locks the folder when it knows whether it is the one that saves.
    locks = args.out and not is_worker(backend_name)
    with exit_on_termination(), locked_run(args.out) if locks else nullcontext():
        if args.resume:
            resume_run(args, after_epoch)
        else:
            start_run(args, after_epoch)


def start_run(args: argparse.Namespace, after_epoch: AfterEpoch | None = None) -> None:
    """Train a new run.

    Args:
        args: from `runs.options.run_parser`.
        after_epoch: as for `run_training`.

    Raises:
        UserError: when the options, the data or the folder cannot be used, or the loss diverges.
        KeyboardInterrupt: on Ctrl-C; its text says what was saved.
    """
    backend_name = require_installed(default_backend() if args.backend is None else args.backend)
    if args.out and (args.out / CHECKPOINT).exists():
        raise UserError(
            f"--out '{args.out}' already holds a run ({CHECKPOINT}): choose another folder, or pass --resume"
        )
    if args.out:
        require_absent(args.out, (*OUTPUTS, EVENTS))
        require_no_kept_epochs(args.out)
    dataset = dataset_from(args, DEFAULTS["dataset"], shape=shape_of_weights(args.weights))
    architecture, parameters, preset = network_for(args, dataset), None, args.architecture
    if args.weights:
        _, parameters, metadata = load_network(args.weights, architecture)
        warn_of_other_classes(dataset, data_of(metadata, architecture)[1])
        preset = preset or architecture.name
    values = recipe(args, preset)
    of_pictures = is_image_folder(dataset.name)
    holds_out = of_pictures and not has_test_folder(Path(dataset.name))
    settings = Settings(
        dataset=dataset.name,
        data_sha256=dataset.digest if args.out else "",
        num_train=len(dataset.train),
        num_test=len(dataset.test),
        epochs=values["epochs"],
        batch_size=values["batch_size"],
        lr=values["lr"],
        lr_decay_epoch=values["lr_decay_epoch"],
        seed=values["seed"],
        test_fraction=(args.test_fraction or TEST_FRACTION) if holds_out else None,
        split_seed=args.split_seed or 0,
        data_format=PICTURES if of_pictures else "",
    )
    run = Run(architecture, settings, backend_name, values["loop"], class_names=dataset.class_names)
    train_run(args, run, parameters, dataset, after_epoch)


def resume_run(args: argparse.Namespace, after_epoch: AfterEpoch | None = None) -> None:
    """Continue the run in `args.out`. Options that are not given keep their values; given ones must agree with the run.

    Args:
        args: from `runs.options.run_parser`.
        after_epoch: as for `run_training`.

    Raises:
        UserError: as for `start_run`, or when an option differs from the run's.
        KeyboardInterrupt: as for `start_run`.
    """
    if not args.out:
        raise UserError("--resume needs the folder of a run: add --out DIR")
    if args.weights:
        raise UserError("--resume and --weights cannot be combined: omit --weights, because a resumed run has its own")
    run, parameters = load_checkpoint(args.out)
    settings = run.settings
    own = {"architecture": run.architecture.to_dict()}
    architecture_of(args.out / CHECKPOINT, parameters, own, architecture_from(args))
    for name in ("lr", "lr_decay_epoch", "batch_size", "seed"):
        given, current = getattr(args, name), getattr(settings, name)
        if given is not None and given != current:
            option = name.replace("_", "-")
            actual = f"no {option}" if current is None else f"{option} {current}"
            raise UserError(
                f"--{option} {given} differs from the run in '{args.out}', which has {actual}: omit --{option}"
            )
    if args.epochs is not None and args.epochs < settings.epochs:
        raise UserError(
            f"--epochs {args.epochs}, but the run in '{args.out}' has {settings.epochs} epochs, {run.epochs_done} of "
            "them done: omit --epochs, or choose a larger number"
        )
    if args.epochs is not None:
        run = replace(run, settings=replace(settings, epochs=args.epochs))
    backend_name = require_installed(run.backend if args.backend is None else args.backend)
    run = replace(run, backend=backend_name, loop=args.loop or run.loop)
    size = run.architecture.input_shape[1:]
    if args.image_size not in (None, size):
        raise UserError(
            f"--image-size {args.image_size[0]} {args.image_size[1]} differs from the run in '{args.out}', which has "
            f"{size[0]} x {size[1]} pixels: omit it"
        )
    dataset = dataset_from(args, settings.dataset, settings, run.architecture.input_shape)
    if dataset.digest != settings.data_sha256:
        if args.dataset is None:
            raise UserError(
                f"the data of '{dataset.name}' has changed since the run in '{args.out}' began: restore the files"
            )
        raise UserError(
            f"--dataset '{dataset.name}' is not the data that the run in '{args.out}' was trained on "
            f"({settings.dataset}): omit --dataset, or restore the files"
        )
    run = replace(run, settings=replace(run.settings, dataset=dataset.name))  # the folder may have moved
    if run.epochs_done == run.settings.epochs:
        with joined_workers(run.backend) as workers:
            if workers is None or workers.rank == 0:
                say(f"epochs done: {run.epochs_done} of {run.settings.epochs}; to continue, pass a larger --epochs")
                with locked_run(args.out) if workers else nullcontext():
                    write_outputs(args.out, run)
                last, segment = run.points[-1], run.segments[-1]
                print(closing_lines(last, segment.examples_per_sec, segment.device))
        return
    if run.loop == "fast" and args.loop is None:
        say("note: the run continues with the fast loop; for the plain one, pass --loop plain")
    train_run(args, run, parameters, dataset, after_epoch)


def train_run(
    args: argparse.Namespace, run: Run, parameters: Parameters | None, dataset: Dataset, after_epoch: AfterEpoch | None
) -> None:
    """Train until the epochs are done or `after_epoch` stops, with a checkpoint after each; then write the outputs.

    Of several workers, worker 0 saves, calls `after_epoch` and prints.

    Raises:
        UserError: when the data does not fit, the folder cannot be used, the loss diverges, or the workers cannot train
            together.
        KeyboardInterrupt: on Ctrl-C; its text says what was saved.
    """
    if is_worker(run.backend) and run.loop == "fast":
        raise UserError("the fast loop runs in one process: pass --loop plain")
    with joined_workers(run.backend) as workers:
        if workers is None:
            _train(args, run, parameters, dataset, after_epoch)
            return
        if workers.rank > 0:
            args = argparse.Namespace(**{**vars(args), "out": None, "tensorboard": False, "keep_epochs": False})
        with locked_run(args.out) if args.out else nullcontext():
            require_unchanged(args.out, run, args.resume)
            _train(args, run, parameters, dataset, after_epoch, workers)


def _train(
    args: argparse.Namespace,
    run: Run,
    parameters: Parameters | None,
    dataset: Dataset,
    after_epoch: AfterEpoch | None,
    workers: Workers | None = None,
) -> None:
    settings, out = run.settings, args.out
    is_quiet = workers is not None and workers.rank > 0
    require_fit(run.architecture, dataset)
    if settings.batch_size > settings.num_train:
        given = "--batch-size" if args.batch_size is not None else "the default batch size of"
        raise UserError(
            f"{given} {settings.batch_size} is larger than the {settings.num_train} training examples of "
            f"'{dataset.name}': pass a smaller --batch-size, such as {_small_batch(settings.num_train)}"
        )
    backend = load_backend(run.backend, fast=run.loop == "fast")
    saved = out is not None
    require_memory(backend, run.architecture, args.device, settings.batch_size, training=True, saved=saved)
    device = workers.device(args.device, backend.available_devices()) if workers else args.device
    net = backend.LeNet(run.architecture, settings.seed, device)
    run = replace(run, loop=loop_of(backend, net))  # a fast backend may have no faster loop for this network
    if parameters is not None:
        backend.set_parameters(net, parameters)
    if workers:
        workers.require_equal(shared_by_workers(run, dataset, backend, net))

    log: EventLog | None = None

    def save_epoch(net: Network, point: Point) -> bool:
        trained = backend.get_parameters(net)
        if not all(np.isfinite(value).all() for value in trained.values()):
            raise DivergenceError(f"the weights are not finite after epoch {recorder.epochs_done}: try a smaller --lr")
        if log:
            # Before the checkpoint: after a kill in between, the resumed run writes the epoch again.
            log.add_epoch(point, recorder.timer.seconds, trained)
        if args.keep_epochs:  # before the checkpoint too
            keep_epoch(out, run, recorder.epochs_done, trained)
        if out:
            count = workers.count if workers else 1
            segment = finished_segment(run, backend, backend.device_of(net), recorder, count)
            save_checkpoint(out, replace(run, points=recorder.points, segments=[*run.segments, segment]), trained)
        return bool(not is_quiet and after_epoch and after_epoch(net, point))

    recorder = ScheduledRecorder(settings.epochs, run.epochs_done, run.points, save_epoch, is_quiet=is_quiet)
    train = workers.engine.train if workers else backend.train
    try:
        if out:
            _save_start(out, run, backend.get_parameters(net), args.keep_epochs)
            if args.tensorboard:
                log = EventLog(out, run, backend.device_of(net))
        for last_epoch, lr in lr_schedule(settings):
            if recorder.epochs_done < last_epoch and not recorder.stop_training:
                recorder.first_epoch = recorder.epochs_done
                train(net, dataset.train, dataset.test, last_epoch, lr, settings.batch_size, settings.seed, recorder)
    except KeyboardInterrupt:
        recorder.hide()
        if is_quiet:
            raise
        if not out or not (out / CHECKPOINT).exists():
            raise KeyboardInterrupt("nothing was saved" if out else "nothing was saved without --out DIR") from None
        raise KeyboardInterrupt(f"{_state_of(out)}; continue with: {resume_command(args)}") from None
    except DivergenceError as problem:
        recorder.hide()
        raise DivergenceError(f"{problem}; {_state_of(out)}" if out else str(problem)) from None
    if is_quiet:
        return
    if out:
        write_outputs(out, load_run(out))
    print(closing_lines(recorder.points[-1], recorder.examples_per_sec, backend.device_of(net)), flush=True)
    _print_notes(run, dataset, recorder)


def _small_batch(num_examples: int) -> int:
    """The largest power of two up to 32 that gives two batches or more."""
    return max(size for size in (1, 2, 4, 8, 16, 32) if size == 1 or 2 * size <= num_examples)


def _print_notes(run: Run, dataset: Dataset, recorder: Recorder) -> None:
    """Tell the user what the closing lines do not say: a loss that is too high, or data that is not Fashion-MNIST."""
    loss, chance = recorder.points[-1].train_loss, chance_loss(dataset.num_classes)
    if loss > 2 * chance:
        say(f"note: the loss of {loss:.3f} is far above the chance loss of {chance:.3f}: try a smaller --lr")
    if is_chance_loss(loss, dataset.num_classes, recorder.epochs_done, run.settings.num_train):
        activations = {getattr(layer, "activation", None) for layer in run.architecture.layers}
        advice = "a smaller --lr, such as 0.1" if "relu" in activations else "more --epochs, or another --seed"
        say(
            f"note: after {recorder.epochs_done} epochs the loss is {loss:.3f}, about the chance loss of "
            f"{chance:.3f}: the network has learned nothing; try {advice}"
        )
    if dataset.name == "synthetic":
        say("note: these figures are for `synthetic`, images drawn by code, and NOT for Fashion-MNIST")


def _save_start(out: Path, run: Run, parameters: Parameters, keeps_epochs: bool) -> None:
    """Save the run also before the first epoch, so that it can be resumed if it is killed during it."""
    # The folder comes first: it tells a resumed run to keep its epochs.
    with epochs_folder(out, run) if keeps_epochs else nullcontext():
        save_first_checkpoint(out, run, parameters)
    if keeps_epochs:
        keep_epoch(out, run, run.epochs_done, parameters)


def save_first_checkpoint(out: Path, run: Run, parameters: Parameters) -> None:
    """Write the first checkpoint of a run, so that it can be resumed before its first epoch is done.

    Raises:
        UserError: when it cannot be written.
    """
    extra = [name for name in parameters if name not in run.architecture.parameter_shapes]
    if extra:
        say(
            f"note: the network has {extra[0]}, which is not in its description: the run can be trained, but not "
            "resumed, and its parameters cannot be loaded"
        )
    remove_outputs(out)
    save_checkpoint(out, run, parameters)


def _state_of(out: Path) -> str:
    """Write the outputs of a stopped run, and say how far it got."""
    run = load_run(out)
    write_outputs(out, run)
    return f"'{out}' holds the run after epoch {run.epochs_done} of {run.settings.epochs}"


def resume_command(args: argparse.Namespace) -> str:
    """The shell command that resumes the run."""
    command = [sys.executable, "-m", "lenet_multi.train", "--resume", *option_words("out", args.out)]
    if args.data_dir:
        command += option_words("data-dir", args.data_dir)
    if args.device != "auto":
        command += option_words("device", args.device)
    return shlex.join(command)
