"""Draw a network from its description.

python -m lenet_multi.diagram --out lenet.svg
python -m lenet_multi.diagram --notation compressed --architecture lenet5-max --out lenet.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi.pictures.canvas import require_picture_path, write_picture
from lenet_multi.pictures.network_diagram import NOTATIONS, describe
from lenet_multi.runs.options import add_network_options, network_of
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, path_argument


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.diagram", description="Draw a network from its description.")
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="FILE", help="write the picture to this file (.png or .svg)"
    )
    parser.add_argument(
        "--notation",
        choices=NOTATIONS,
        default="data-flow",
        help="data-flow: feature maps with their shapes, from left to right; compressed: a box for each layer, from "
        "bottom to top (default: data-flow)",
    )
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    require_picture_path(args.out)
    architecture = network_of(args)
    title = f"The network {architecture.name}, {args.notation} notation"
    write_picture(args.out, NOTATIONS[args.notation](architecture), title, describe(architecture))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
