"""Compare every layer's output shape in each framework with the description of the network.

    python -m lenet_multi.shapes --backend all

The exit status is 1 if they differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi.backends import note_left_out
from lenet_multi.checks.layer_shapes import layer_shapes_of
from lenet_multi.runs.options import BACKENDS_OPTION, add_network_options, network_of
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser

DIFFER_STATUS = 1


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m lenet_multi.shapes",
        description="Compare the output shape of every layer across the frameworks.",
    )
    BACKENDS_OPTION.add_to(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    architecture = network_of(args)
    shapes = layer_shapes_of(architecture, "all" if args.backends is None else args.backends)
    note_left_out(shapes.left_out)
    print(shapes.table())
    agreement = f"in agreement: {', '.join(shapes.measured)}" if shapes.left_out else "all agree"
    print(f"differs: {', '.join(shapes.differences)}" if shapes.differences else agreement)
    return DIFFER_STATUS if shapes.differences else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv, result_is_printed=True)


if __name__ == "__main__":
    sys.exit(main())
