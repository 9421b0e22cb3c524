"""Writes the initial weights of a run, in a separate process.

    python -m lenet_multi.runs.initial_weights FILE SPEC

SPEC is JSON: backend, architecture, seed and device. `lenet_multi.comparison.runner` starts this for `--same-start`: a
framework sets environment variables when it is imported, which the runs that a comparison starts would inherit. The
file holds no description of the network, because networks that differ in activation or pooling share it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.weights import save_weights
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, path_argument


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser("python -m lenet_multi.runs.initial_weights", "Write the initial weights of a run.")
    parser.add_argument("file", type=path_argument, metavar="FILE", help="the safetensors file to write")
    parser.add_argument("spec", type=json.loads, metavar="SPEC", help="backend, architecture, seed and device as JSON")
    args = parser.parse_args(argv)
    backend = load_backend(args.spec["backend"])  # the fast one builds the same network
    architecture = Architecture.from_dict(args.spec["architecture"])
    require_memory(backend, architecture, args.spec["device"], examples=1, training=True, saved=True)
    net = backend.LeNet(architecture, args.spec["seed"], args.spec["device"])
    save_weights(args.file, backend.get_parameters(net), {})


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
