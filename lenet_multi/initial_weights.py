"""Write the weights that a training run would begin with, for `lenet_multi.compare --same-start`.

    python -m lenet_multi.initial_weights FILE [OPTIONS of lenet_multi.train]

A process of its own, because a framework puts settings into the environment when it is loaded, and the runs that
`compare` starts would inherit them. The file describes no network, because networks that differ in activation or
pooling share it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lenet_multi import train
from lenet_multi.architecture import PRESETS
from lenet_multi.backends import load_backend
from lenet_multi.cli import architecture_from, run_command
from lenet_multi.weights import save_weights


def command(argv: Sequence[str] | None = None) -> None:
    path, *options = sys.argv[1:] if argv is None else argv
    args = train.parser().parse_args(options)
    chosen = train.recipe(args, args.architecture)
    backend = load_backend(chosen["backend"])  # the fast one builds the same network
    net = backend.LeNet(architecture_from(args) or PRESETS["lenet5"], chosen["seed"], args.device)
    save_weights(Path(path), backend.get_parameters(net), {})


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
