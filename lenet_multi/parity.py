"""Check parity: does the same network compute the same results in every framework? If not, where do they differ?

    python -m lenet_multi.parity
    python -m lenet_multi.parity --backends torch,mxnet --activation relu --json parity.json
    python -m lenet_multi.parity --fast
    python -m lenet_multi.parity --workers 2,3

Standard output is a table: a row per check, a column per backend, and in each cell the error and `pass` or `FAIL`. The
exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial

from lenet_multi.backends import note_left_out
from lenet_multi.backends.devices import parse_device
from lenet_multi.checks.parity_run import prepare_parity_run
from lenet_multi.errors import UserError
from lenet_multi.runs.options import (
    BACKENDS_OPTION,
    DEFAULTS,
    add_data_options,
    add_loop_options,
    add_network_options,
    network_of,
)
from lenet_multi.runs.selection import dataset_from
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, json_file, positive_float, positive_int_list, seed_number

FAILED_STATUS = 1


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.parity", description="Compare every backend with a float64 reference.")
    BACKENDS_OPTION.add_to(parser)
    add_loop_options(parser)
    parser.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="seed of the parameters and the shuffling (default: 0)"
    )
    parser.add_argument(
        "--lr", type=positive_float, metavar="X", help="learning rate (default: 0.9; with tanh 0.05, with relu 0.005)"
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="where the backends compute: auto, cpu, gpu, or gpu:N as in gpu:1 (default: cpu)",
    )
    parser.add_argument(
        "--workers",
        type=positive_int_list,
        default=(),
        metavar="N,M",
        help="also train the run of check 8 with N workers, then with M, in each framework",
    )
    parser.add_argument("--json", type=json_file, metavar="FILE", help="write every number to this file")
    add_data_options(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    parse_device(args.device)
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"--json '{args.json}': its folder does not exist: create it first")
    run = prepare_parity_run(
        network_of(args),
        partial(dataset_from, args, DEFAULTS["dataset"]),
        "all" if args.backends is None else args.backends,
        args.loop or "plain",
        args.device,
        args.seed,
        args.lr,
        args.workers,
    )
    note_left_out(run.left_out)
    for line in run.lines():
        print(line, flush=True)
    if args.json:
        write_atomically(args.json, (json.dumps(run.as_json(), indent=2, allow_nan=False) + "\n").encode())
    return FAILED_STATUS if run.failures else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv, result_is_printed=True)


if __name__ == "__main__":
    sys.exit(main())
