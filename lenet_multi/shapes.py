"""Compare every layer's output shape in each framework with the description of the network.

    python -m lenet_multi.shapes --backend all

The exit status is 1 if they differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi.backends import BACKENDS, installed_backends, require_installed
from lenet_multi.checks.layer_shapes import measure_layer_shapes
from lenet_multi.cli import run_command
from lenet_multi.errors import UserError
from lenet_multi.runs.options import add_network_options, network_of
from lenet_multi.system.arguments import Parser

DIFFER_STATUS = 1


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m lenet_multi.shapes",
        description="Compare the output shape of every layer across the frameworks.",
    )
    parser.add_argument(
        "--backend",
        "--backends",
        default="all",
        metavar="NAMES",
        help=f"{', '.join(BACKENDS)}, separated by commas, or all (default: all)",
    )
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    architecture = network_of(args)
    if args.backend == "all":
        names, installed = tuple(BACKENDS), installed_backends()
        if not installed:
            raise UserError('no framework is installed: pip install "lenet-multi[all]"')
    else:
        names = installed = tuple(dict.fromkeys(require_installed(name) for name in args.backend.split(",")))
    shapes = measure_layer_shapes(architecture, installed)
    print(shapes.table(names))
    print(f"differs: {', '.join(shapes.differences)}" if shapes.differences else "all agree")
    return DIFFER_STATUS if shapes.differences else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
