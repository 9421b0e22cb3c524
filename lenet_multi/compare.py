"""Train LeNet in several frameworks, or with several settings, and compare the results.

    python -m lenet_multi.compare --out runs/frameworks
    python -m lenet_multi.compare --backends torch,mxnet --epochs 2 --out runs/two
    python -m lenet_multi.compare --vary pooling=avg,max --vary seed=0,1,2 --out runs/pooling
    python -m lenet_multi.compare --vary activation=sigmoid,relu lr=0.9,0.1 --out runs/activations
    python -m lenet_multi.compare --vary conv-channels=6,16/12,32 --out runs/channels
    python -m lenet_multi.compare --vary loop=plain,fast --out runs/loops
    python -m lenet_multi.compare --same-start --out runs/same-start
    python -m lenet_multi.compare --vary seed=0,1,2,3 --jobs 2 --out runs/seeds
    python -m lenet_multi.compare --vary seed=0,1,2,3 --engine ray --address auto --out runs/seeds
    python -m lenet_multi.compare --resume --out runs/frameworks

Each run is a process of its own with the same seed and batches, one after the other, or several at a time with `--jobs`
or Ray. Settings after one `--vary` vary together; several `--vary` give every combination. With `--same-start`, all
runs start from the first run's initial weights. Standard output is a table. The folder gets `curves.png`, `curves.svg`,
`report.html`, `compare.json`, a folder for each run and, with `--same-start`, `start.safetensors`. Of more than 12
runs, the 8 with the best test accuracy are examined: they have parity checks, and sections in the report. The exit
status is 1 if a run fails, or if the frameworks differ with the same weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from lenet_multi.comparison.case_runs import ENGINES, SweepEngine
from lenet_multi.comparison.folder import REPORT
from lenet_multi.comparison.plan import OPTIONS
from lenet_multi.comparison.runner import PROG, compare, run_comparison
from lenet_multi.comparison.vary import parse_vary
from lenet_multi.runs.options import BACKENDS_OPTION, add_run_options
from lenet_multi.system.command import run_command
from lenet_multi.system.names import printable
from lenet_multi.system.option_parser import Parser, path_argument, positive_int
from lenet_multi.system.stderr import say

__all__ = ["compare", "main"]

FAILED_STATUS = 1


def parser() -> argparse.ArgumentParser:
    """The options of the comparison, and the options of `train`, which it passes on as text."""
    parser = Parser(PROG, "Compare frameworks, or settings within one.")
    add_run_options(parser, as_text=True)
    group = parser.add_argument_group("comparison options")
    replace(BACKENDS_OPTION, help=BACKENDS_OPTION.help.replace("all)", "all; with --vary, the first)")).add_to(group)
    group.add_argument(
        "--vary",
        action="append",
        nargs="+",
        metavar="NAME=A,B",
        help="train one run for each value of this training or network option, or of loop; options after one --vary "
        "vary together, the first value of each in the first run, as in activation=sigmoid,relu lr=0.9,0.1; several "
        "--vary give a run for every combination; slashes separate values that contain commas, as in "
        "conv-channels=6,16/12,32",
    )
    group.add_argument(
        "--same-start",
        action="store_true",
        help="start all runs from the initial weights of the first one; each run shuffles with its own seed",
    )
    group.add_argument(
        "--out", type=path_argument, required=True, metavar="DIR", help="write the comparison to this folder"
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write the epochs of each run to tensorboard/ in its folder, for TensorBoard",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue the comparison in --out DIR and reuse finished runs; only the selection of runs, the device and "
        "a larger --epochs may differ",
    )
    group = parser.add_argument_group("sweep options")
    group.add_argument(
        "--jobs",
        type=positive_int,
        metavar="N",
        help="train N runs at a time and share out the cores among them; their speeds are marked as those of a shared "
        "machine (default: 1; with Ray, as many as there are cores)",
    )
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="train in processes of this machine, or as tasks of Ray, which can spread them over several machines "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="with --engine ray, the address of a running Ray cluster that this machine is part of, or auto; without "
        "it, Ray is started on this machine",
    )
    return parser


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    values = {name: getattr(args, option.dest) for name, option in OPTIONS.items()}
    given = {name: value for name, value in values.items() if value is not None}
    comparison = run_comparison(
        args.out,
        args.backends,
        parse_vary(args.vary or []),
        given,
        args.resume,
        args.same_start,
        args.tensorboard,
        SweepEngine(args.engine, args.jobs, args.address),
    )
    print(printable(comparison.table()))
    if (comparison.out / REPORT).exists():
        say(f"report: {comparison.out / REPORT}")
    return FAILED_STATUS if comparison.failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
