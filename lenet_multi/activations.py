"""Draw the feature maps of a trained network for images of your choice.

    python -m lenet_multi.activations --weights runs/first --classes pullover,coat --out maps.png
    python -m lenet_multi.activations --weights runs/first --image boot.jpg --out boot.png
    python -m lenet_multi.activations --weights runs/first --examples 3,17 --against tensorflow --out difference.svg

The picture has a row for each image: the image, then every map with its layer and channel. With `--against`, it shows
the maps of the two frameworks one above the other, with their difference below.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi.backends import default_backend, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.errors import UserError
from lenet_multi.pictures.canvas import require_picture_path, write_picture
from lenet_multi.pictures.feature_map_picture import feature_map_picture
from lenet_multi.runs.options import BACKEND, DEVICE, add_data_options, add_network_options, weights_path
from lenet_multi.runs.prediction import read_inputs
from lenet_multi.runs.trained_network import load_trained_network
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, int_list, name_list, path_argument, positive_int


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.activations", description="Draw the feature maps of a trained network.")
    BACKEND.add_to(parser)
    parser.add_argument("--against", metavar="NAME", help="draw this backend's maps too, and the difference")
    parser.add_argument(
        "--weights", type=weights_path, metavar="PATH", help="parameters: a file, or the folder of a run"
    )
    parser.add_argument(
        "--classes", type=name_list, default=(), metavar="NAME,NAME", help="draw examples of these classes"
    )
    parser.add_argument(
        "--per-class",
        type=positive_int,
        default=1,
        metavar="N",
        help="examples per class, from the start of the test set (default: 1)",
    )
    parser.add_argument(
        "--examples", type=int_list, default=(), metavar="N,N", help="draw the test examples with these indices"
    )
    parser.add_argument(
        "--image",
        dest="images",
        action="append",
        default=[],
        type=path_argument,
        metavar="FILE",
        help="draw this PNG or JPEG file, prepared as by predict; may be repeated",
    )
    parser.add_argument(
        "--layers",
        type=name_list,
        metavar="NAME,NAME",
        help="convolutions or poolings to draw (default: the first two convolutions)",
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="FILE", help="write the picture to this file (.png or .svg)"
    )
    DEVICE.add_to(parser)
    add_data_options(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    parse_device(args.device)
    require_picture_path(args.out)
    if args.weights is None:
        raise UserError(
            "--weights is missing: train a network with python -m lenet_multi.train --out runs/first, then pass "
            "--weights runs/first"
        )
    backend = default_backend() if args.backend is None else args.backend
    names = [require_installed(name) for name in (backend, args.against) if name is not None]
    if len(set(names)) < len(names):
        raise UserError(f"--against {args.against} is the same as --backend: choose another backend, or omit --against")
    trained = load_trained_network(args)
    pictures = read_inputs(args.images, trained)
    picture = feature_map_picture(
        trained, names, args.layers, args.classes, args.examples, args.per_class, args.device, pictures
    )
    write_picture(args.out, picture.figure, picture.title, picture.description)
    print("\n".join(picture.sentences))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
