"""Export a network for use without this package: in a file format, or as a program.

    python -m lenet_multi.export --weights runs/first --format onnx --out onnx/lenet.onnx
    python -m lenet_multi.export --pooling max --conv-channels 6,16,32 --paddings 2 --format source --out lenet/lenet.py

The files are run and compared before they are put in place. `requirements.txt` beside them lists what they need.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lenet_multi.architecture import NUM_CLASSES, PRESETS, Architecture
from lenet_multi.backends import require_installed
from lenet_multi.errors import UserError
from lenet_multi.exporting.exporter import FORMATS, SOURCE, SOURCE_ENDING, export_network, export_program
from lenet_multi.exporting.program_text import Training
from lenet_multi.runs.checkpoint import CHECKPOINT, load_run
from lenet_multi.runs.options import (
    BACKEND,
    HYPERPARAMETERS,
    add_network_options,
    architecture_from,
    recipe,
    weights_path,
)
from lenet_multi.runs.weights import WeightsError, load_network
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, add_options, path_argument
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say

TRAINING_OPTIONS = {field.name for field in fields(Training)}


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m lenet_multi.export", description="Export a network in a file format, or as a program."
    )
    parser.add_argument(
        "--weights", type=weights_path, metavar="PATH", help="parameters: a file, or the folder of a run"
    )
    endings = {name: chosen.ending for name, chosen in FORMATS.items()} | {SOURCE: SOURCE_ENDING}
    parser.add_argument(
        "--format",
        choices=tuple(endings),
        required=True,
        help="onnx; torch: torch.export; keras: Keras's own; gluon: symbol and parameters; source: a program, with "
        "--weights or without",
    )
    shown = ", ".join(f"{name}: {ending}" for name, ending in endings.items())
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="FILE", help=f"the file to write, which ends in ({shown})"
    )
    group = parser.add_argument_group("options of a program (--format source)")
    BACKEND.add_to(group)
    add_options(group, [option for option in HYPERPARAMETERS if option.dest in TRAINING_OPTIONS])
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    architecture, parameters = architecture_from(args), None
    if args.weights:
        architecture, parameters, _ = load_network(args.weights, architecture)
    architecture = architecture or PRESETS["lenet5"]
    with exit_on_termination():
        if args.format == SOURCE:
            backend = require_installed("torch" if args.backend is None else args.backend)
            _require_idx(architecture)
            training = training_from(args, architecture.name)
            difference = export_program(backend, architecture, parameters, training, args.out)
        else:
            _require_no_program_options(args)
            if parameters is None:
                raise UserError(f"--format {args.format} needs the parameters of a run: add --weights PATH")
            difference = export_network(args.format, architecture, parameters, args.out)
    print(f"the logits differ from the float64 reference by at most {difference:.1e}")


def training_from(args: argparse.Namespace, preset: str) -> Training:
    """The settings of a program's training: as given, else those of the run, else the preset's, else the chapter's."""
    values = recipe(args, args.architecture or preset)
    if args.weights:
        own = _settings_of(args.weights)
        values |= {name: value for name, value in own.items() if getattr(args, name, None) is None}
    return Training(**{name: values[name] for name in TRAINING_OPTIONS})


def _settings_of(weights: Path) -> dict[str, Any]:
    """How the run of a file of weights was trained; empty for a file that is not a run's."""
    try:
        return vars(load_run(weights.parent).settings) if weights.name == CHECKPOINT else {}
    except WeightsError:
        return {}


def _require_idx(architecture: Architecture) -> None:
    """Refuse a network whose images the files that a program reads cannot hold; say which files it needs."""
    channels, height, width = architecture.input_shape
    if channels != 1:
        raise UserError(
            f"a program reads IDX files, which have grey images, but the network takes {channels} channels: choose "
            "another --format"
        )
    if (height, width) != (28, 28) or architecture.num_classes != NUM_CLASSES:
        say(f"note: the program reads IDX files of {height} x {width} pixels in {architecture.num_classes} classes")


def _require_no_program_options(args: argparse.Namespace) -> None:
    for name in ("backend", *sorted(TRAINING_OPTIONS)):
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for --format source: omit it, or choose that format")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
