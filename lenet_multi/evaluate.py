"""Evaluate trained parameters on the test set, in any of the frameworks.

    python -m lenet_multi.evaluate --backend mxnet --weights runs/torch/model.safetensors
    python -m lenet_multi.evaluate --backend torch --weights runs/torch --fast

Standard output is one line: `test acc 0.807`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi.backends import default_backend, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.runs.options import (
    BACKEND,
    DEVICE,
    add_data_options,
    add_loop_options,
    add_network_options,
    weights_path,
)
from lenet_multi.runs.trained_network import accuracy_on_test_set, load_trained_network
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, positive_int


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.evaluate", description="Evaluate trained parameters on the test set.")
    BACKEND.add_to(parser)
    add_loop_options(parser)
    parser.add_argument(
        "--weights", type=weights_path, required=True, metavar="PATH", help="parameters: a file, or the folder of a run"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=256, metavar="N", help="examples per batch (default: 256)"
    )
    DEVICE.add_to(parser)
    add_data_options(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    parse_device(args.device)
    backend_name = require_installed(default_backend() if args.backend is None else args.backend)
    trained = load_trained_network(args)
    accuracy = accuracy_on_test_set(trained, backend_name, args.loop or "plain", args.device, args.batch_size)
    print(f"test acc {accuracy:.3f}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv, result_is_printed=True)


if __name__ == "__main__":
    sys.exit(main())
