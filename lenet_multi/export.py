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

from lenet_multi.architecture import NUM_CLASSES, PRESETS, Architecture
from lenet_multi.backends import default_backend, require_installed
from lenet_multi.data.dataset import MAX_CLASSES
from lenet_multi.data.image_folder import MODES, TEST_FRACTION
from lenet_multi.errors import UserError
from lenet_multi.exporting.exporter import FORMATS, SOURCE, SOURCE_ENDING, export_network, export_program
from lenet_multi.exporting.program_text import Pictures, Training
from lenet_multi.runs.checkpoint import data_of
from lenet_multi.runs.options import (
    BACKEND,
    HYPERPARAMETERS,
    add_network_options,
    architecture_from,
    recipe,
    weights_path,
)
from lenet_multi.runs.weights import load_network
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, add_options, path_argument
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say
from lenet_multi.training.settings import PICTURES, Settings

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
    run: Settings | None = None
    class_names: tuple[str, ...] = ()
    if args.weights:
        architecture, parameters, metadata = load_network(args.weights, architecture)
        run, class_names = data_of(metadata, architecture)
    architecture = architecture or PRESETS["lenet5"]
    with exit_on_termination():
        if args.format == SOURCE:
            backend = require_installed(default_backend() if args.backend is None else args.backend)
            pictures = pictures_of(architecture, run)
            training = training_from(args, architecture.name, run)
            difference = export_program(backend, architecture, parameters, training, args.out, pictures, class_names)
        else:
            _require_no_program_options(args)
            if parameters is None:
                raise UserError(f"--format {args.format} needs the parameters of a run: add --weights PATH")
            difference = export_network(args.format, architecture, parameters, args.out, class_names)
    print(f"the logits differ from the float64 reference by at most {difference:.1e}")


def training_from(args: argparse.Namespace, preset: str, run: Settings | None) -> Training:
    """The settings of a program's training: as given, else those of the run, else the preset's, else the chapter's."""
    values = recipe(args, args.architecture or preset)
    if run:
        values |= {name: value for name, value in vars(run).items() if getattr(args, name, None) is None}
    return Training(**{name: values[name] for name in TRAINING_OPTIONS})


def pictures_of(architecture: Architecture, run: Settings | None) -> Pictures | None:
    """How a program reads pictures: those of the run, or those that a network in color needs; None for IDX files.

    Raises:
        UserError: if neither pictures nor IDX files have the network's number of channels.
    """
    channels, height, width = architecture.input_shape
    if channels not in MODES:
        raise UserError(
            f"a program reads images of 1 or 3 channels, but the network takes {channels}: choose another --format"
        )
    if channels == 3 or (run and run.data_format == PICTURES):
        if not 2 <= architecture.num_classes <= MAX_CLASSES:
            raise UserError(
                f"a program reads pictures of 2 to {MAX_CLASSES} classes, but the network has "
                f"{architecture.num_classes} outputs: choose another --format"
            )
        fraction = run.test_fraction if run else None
        return Pictures(TEST_FRACTION if fraction is None else fraction, run.split_seed if run else 0)
    if (height, width) != (28, 28) or architecture.num_classes != NUM_CLASSES:
        say(f"note: the program reads IDX files of {height} x {width} pixels in {architecture.num_classes} classes")
    return None


def _require_no_program_options(args: argparse.Namespace) -> None:
    for name in ("backend", *sorted(TRAINING_OPTIONS)):
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for --format source: omit it, or choose that format")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
