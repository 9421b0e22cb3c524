"""Write the weights that a training run would begin with, for `lenet_multi.compare --same-start`.

    python -m lenet_multi.initial_weights FILE [OPTIONS of lenet_multi.train]

A process of its own, because a framework puts settings into the environment when it is loaded, and the runs that
`compare` starts would inherit them. The file describes no network, because networks that differ in activation or
pooling share it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi import train
from lenet_multi.architecture import PRESETS
from lenet_multi.backends import load_backend
from lenet_multi.cli import architecture_from, run_command, some_path
from lenet_multi.weights import save_weights


def parser() -> argparse.ArgumentParser:
    parser = train.parser()
    parser.prog, parser.description = "python -m lenet_multi.initial_weights", "Write a run's initial weights."
    parser.add_argument("file", type=some_path, metavar="FILE", help="the safetensors file to write")
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    chosen = train.recipe(args, args.architecture)
    backend = load_backend(chosen["backend"])  # the fast one builds the same network
    net = backend.LeNet(architecture_from(args) or PRESETS["lenet5"], chosen["seed"], args.device)
    save_weights(args.file, backend.get_parameters(net), {})


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
