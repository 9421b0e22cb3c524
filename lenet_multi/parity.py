"""Climb the parity ladder: does the same network compute the same in every framework, and where does it first differ?

    python -m lenet_multi.parity
    python -m lenet_multi.parity --backends torch,mxnet --activation relu --json parity.json
    python -m lenet_multi.parity --fast

A table on standard output: rungs down, backends across, each cell the measured error and `pass` or `FAIL`. The exit
status is 1 where a rung fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from lenet_multi.architecture import PRESETS
from lenet_multi.backends import BACKENDS, canonical_name, installed_backends, load_backend
from lenet_multi.backends.devices import choose_device, parse_device
from lenet_multi.cli import (
    Parser,
    add_data_options,
    add_loop_options,
    add_network_options,
    architecture_from,
    positive_float,
    run_command,
    seed_number,
    some_path,
)
from lenet_multi.data import load_dataset, require_images_fit
from lenet_multi.errors import UserError
from lenet_multi.fast import loop_of
from lenet_multi.files import write_whole
from lenet_multi.ladder import BATCH_SIZE, TRAINING_STEPS, Ground, Measurement, Result, climb, examples_for
from lenet_multi.process import describe_machine, seconds_since_process_start

FAILED_STATUS = 1
TITLE_WIDTH, CELL_WIDTH = 38, 18


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.parity", description="Compare every backend with a float64 referee.")
    parser.add_argument(
        "--backends",
        "--backend",
        default="all",
        metavar="NAMES",
        help="torch, tensorflow, mxnet with commas between, or all (all)",
    )
    add_loop_options(parser)
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="of parameters and shuffling (0)")
    parser.add_argument(
        "--lr", type=positive_float, metavar="X", help="learning rate (0.9, but 0.05 with tanh and 0.005 with relu)"
    )
    parser.add_argument("--device", default="cpu", help="where the backends compute: auto, cpu, gpu, gpu:1 (cpu)")
    parser.add_argument("--json", type=some_path, metavar="FILE", help="write every number there")
    add_data_options(parser, default="auto")
    add_network_options(parser)
    return parser


def cell(measurement: Measurement | None) -> str:
    if measurement is None:
        return "not installed"
    error = f"{measurement.error:.3g}" if measurement.tolerance else f"{measurement.error:g}"
    return f"{error} {'pass' if measurement.passed else 'FAIL'}"


def row(title: str, tolerance: str, cells: Sequence[str]) -> str:
    return f"{title:{TITLE_WIDTH}}{tolerance:>10}{''.join(text.rjust(CELL_WIDTH) for text in cells)}"


def failures(result: Result) -> list[str]:
    """A sentence for each cell of a rung that fails: where first, and where worst."""
    return [
        f"rung {result.rung.number}, {name}: {found.first_failing} is off by "
        f"{found.errors[found.first_failing]:.3g}, tolerance {found.tolerance:g}"
        + (f"; worst {found.worst} by {found.error:.3g}" if found.worst != found.first_failing else "")
        for name, found in result.rows.items()
        if found.first_failing is not None
    ]


def as_json(result: Result) -> dict[str, Any]:
    """Every number of a rung; one that is not finite as text, for JSON has no word for it."""

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(one) for one in value]
        return value if np.isfinite(value) else str(value)

    return {
        "rung": result.rung.number,
        "title": result.rung.title,
        "tolerance": result.rung.tolerance,
        "reason": result.rung.reason,
        "backends": {
            name: {
                "error": number(found.error),
                "worst": found.worst,
                "passed": found.passed,
                "first_failing": found.first_failing,
                "errors": {part: number(error) for part, error in found.errors.items()},
                **{what: number(value) for what, value in found.seen.items()},
            }
            for name, found in result.rows.items()
        },
    }


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    parse_device(args.device)
    names = BACKENDS if args.backends == "all" else dict.fromkeys(map(canonical_name, args.backends.split(",")))
    installed = [name for name in names if name in installed_backends()]
    if not installed:
        raise UserError('no framework of these is installed, expected at least one: pip install "lenet-multi[all]"')
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"--json '{args.json}': its folder is not there, expected one that is: make it first")
    architecture = architecture_from(args) or PRESETS["lenet5"]
    dataset = load_dataset(args.dataset, args.data_dir)
    require_images_fit(architecture, dataset)
    least = max(BATCH_SIZE, examples_for(TRAINING_STEPS))
    if len(dataset.train) < least:
        raise UserError(
            f"dataset '{dataset.name}' has {len(dataset.train)} training examples, expected at least "
            f"{least} for {TRAINING_STEPS} steps an epoch: take a larger one"
        )
    backends = {name: load_backend(name, fast=args.loop == "fast") for name in installed}
    device = args.device
    for backend in backends.values():
        choose_device(device, backend.available_devices(), backend.FRAMEWORK)

    ground = Ground(architecture, dataset, device, args.seed, args.lr)
    loops = {name: loop_of(backend, ground.network(backend)) for name, backend in backends.items()}
    of_loop = f"{' and '.join(dict.fromkeys(loops.values()))} loop, seed {args.seed}, lr {ground.lr:g}"
    print(f"{architecture.name} on {dataset.name}, {of_loop}, against a float64 referee")
    print(
        row("rung", "tolerance", [f"{name} {backends[name].VERSION}" if name in backends else name for name in names])
    )
    results = []
    for result in climb(ground, backends):
        results.append(result)
        cells = [cell(result.rows.get(name)) for name in names]
        print(row(f"{result.rung.number:2} {result.rung.title}", f"{result.rung.tolerance:g}", cells), flush=True)
    told = [sentence for result in results for sentence in failures(result)]
    failed = sum(not result.passed for result in results)
    seconds = seconds_since_process_start()
    last = f"{failed} of {len(results)} rungs fail" if told else f"all {len(results)} rungs pass"
    print("\n".join([*told, f"{last}; {seconds:.0f} s since the start"]))
    if args.json:
        report = {
            "architecture": architecture.to_dict(),
            "dataset": dataset.name,
            "seed": args.seed,
            "lr": ground.lr,
            "loops": loops,
            "device": device,
            "machine": describe_machine(*installed, "numpy"),
            "seconds": round(seconds, 1),
            "backends": {name: backends[name].VERSION if name in backends else "not installed" for name in names},
            "rungs": [as_json(result) for result in results],
        }
        write_whole(args.json, (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    return FAILED_STATUS if told else 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
