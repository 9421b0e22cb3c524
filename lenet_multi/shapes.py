"""The shape of every layer's output, as the description has it and as each framework really gives it.

    python -m lenet_multi.shapes --backend all

The exit status is 1 where they differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from lenet_multi.architecture import PRESETS, Architecture
from lenet_multi.backends import BACKENDS, installed_backends, load_backend, require_installed
from lenet_multi.cli import Parser, add_network_options, architecture_from, run_command
from lenet_multi.errors import UserError
from lenet_multi.layout import channels_first_shape

DIFFER_STATUS = 1


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.shapes", description="Compare the output shape of every layer.")
    parser.add_argument(
        "--backend",
        "--backends",
        default="all",
        metavar="NAME",
        help="torch, tensorflow, mxnet, several with commas, or all (all)",
    )
    add_network_options(parser)
    return parser


def measured_shapes(backend_name: str, architecture: Architecture) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The framework's layout, and each layer's output shape for one example, in that layout, batch dimension first."""
    backend = load_backend(backend_name)
    net = backend.LeNet(architecture, device="cpu")
    outputs = backend.layer_outputs(net, np.zeros((1, *architecture.input_shape), np.float32))
    return backend.LAYOUT, {name: output.shape for name, output in outputs.items()}


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    architecture = architecture_from(args) or PRESETS["lenet5"]
    if args.backend == "all":
        asked, found = tuple(BACKENDS), installed_backends()
        if not found:
            raise UserError('no framework is installed, expected at least one: pip install "lenet-multi[all]"')
    else:
        asked = found = tuple(dict.fromkeys(require_installed(name) for name in args.backend.split(",")))
    expected = {name: (1, *shape) for name, shape in architecture.output_shapes.items()}
    columns = [["layer", *expected], ["description (NCHW)", *map(str, expected.values())]]
    differences = []
    for name in asked:
        if name not in found:
            columns.append([name, *["not installed"] * len(expected)])
            continue
        layout, shapes = measured_shapes(name, architecture)
        columns.append([f"{name} ({layout})", *(str(shapes.get(layer, "missing")) for layer in expected)])
        wrong = [layer for layer in expected if channels_first_shape(shapes.get(layer, ()), layout) != expected[layer]]
        differences += [f"{layer} in {name}" for layer in wrong]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"differs: {', '.join(differences)}" if differences else "all agree")
    return DIFFER_STATUS if differences else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
