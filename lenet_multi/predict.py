"""Classify pictures with a trained network, in any of the frameworks.

    python -m lenet_multi.predict --weights runs/first boot.jpg shirt.png
    python -m lenet_multi.predict --weights runs/first --backend mxnet --save-input seen boot.jpg

Standard output has a line for each picture: the three likeliest classes with their probabilities. Standard error says
what was done to the pictures before the network saw them. `docs/predict.md` explains the steps.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lenet_multi.backends import default_backend, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.data.network_input import STEPS, NetworkInput
from lenet_multi.errors import UserError
from lenet_multi.runs.options import BACKEND, DEVICE, add_network_options, weights_path
from lenet_multi.runs.prediction import predictions, read_inputs
from lenet_multi.runs.trained_network import load_trained_network
from lenet_multi.system.atomic_files import CreatedFolder, write_atomically
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, json_file, name_list, path_argument


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.predict", description="Classify pictures with a trained network.")
    parser.add_argument("images", nargs="+", type=path_argument, metavar="IMAGE", help="PNG or JPEG files")
    BACKEND.add_to(parser)
    parser.add_argument(
        "--weights", type=weights_path, required=True, metavar="PATH", help="parameters: a file, or the folder of a run"
    )
    parser.add_argument(
        "--without",
        type=name_list,
        default=(),
        metavar="STEP,STEP",
        help=f"steps to leave out of {', '.join(STEPS)}",
    )
    parser.add_argument(
        "--save-input", type=path_argument, metavar="DIR", help="write what the network sees to this folder, as PNG"
    )
    parser.add_argument("--json", type=json_file, metavar="FILE", help="write all probabilities to this file")
    DEVICE.add_to(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    parse_device(args.device)
    backend_name = require_installed(default_backend() if args.backend is None else args.backend)
    unknown = next((step for step in args.without if step not in STEPS), None)
    if unknown:
        raise UserError(f"--without {unknown}: there is no such step: choose from {', '.join(STEPS)}")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"--json '{args.json}': its folder does not exist: create it first")
    trained = load_trained_network(args)
    inputs = read_inputs(args.images, trained, args.without)
    if args.save_input:
        save_inputs(args.save_input, inputs)
    found = predictions(trained, inputs, backend_name, args.device)
    for prediction in found:
        print(prediction)
    if args.json:
        write_atomically(args.json, (json.dumps([each.as_json() for each in found], indent=2) + "\n").encode())


def save_inputs(folder: Path, inputs: Sequence[NetworkInput]) -> None:
    """Write each picture as the network sees it, as `name.png`.

    Raises:
        UserError: when two pictures have the same name, a file exists, or one cannot be written.
    """
    from PIL import Image

    files = {folder / f"{picture.path.stem}.png": picture for picture in inputs}
    for picture in inputs:
        other = files[folder / f"{picture.path.stem}.png"]
        if other is not picture:
            raise UserError(
                f"--save-input: '{picture.path}' and '{other.path}' would be written to one file: predict them "
                "separately, into two folders"
            )
    existing = next((file for file in files if file.exists()), None)
    if existing:
        raise UserError(f"--save-input: '{existing}' already exists: choose another folder")
    try:
        with CreatedFolder(folder):
            for file, picture in files.items():
                pixels = picture.pixels[0] if len(picture.pixels) == 1 else picture.pixels.transpose(1, 2, 0)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                write_atomically(file, buffer.getvalue())
    except OSError as problem:
        raise UserError(
            f"--save-input '{folder}' cannot be written ({problem.strerror}): choose another folder"
        ) from problem


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv, result_is_printed=True)


if __name__ == "__main__":
    sys.exit(main())
