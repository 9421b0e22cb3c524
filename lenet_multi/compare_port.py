"""Compare a network with its port to another framework, layer by layer.

    python -m lenet_multi.compare_port models.original:net models.port:net --shape 2,3,224,224
    python -m lenet_multi.compare_port original.py:build port.py:build --input images.npy --json report.json

The exit status is 1 if the networks differ. `docs/ports.md` explains the report.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import runpy
import sys
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from lenet_multi.backends import installed_backends, load_backend
from lenet_multi.errors import UserError
from lenet_multi.ports import compare_networks
from lenet_multi.ports.errors import error_reason
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.command import run_command
from lenet_multi.system.memory import require_bytes
from lenet_multi.system.option_parser import Parser, int_list, json_file, path_argument, positive_float, seed_number
from lenet_multi.system.regular_files import open_regular

DIFFER_STATUS = 1


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m lenet_multi.compare_port",
        description="Compare a network with its port to another framework, layer by layer.",
    )
    spec = "module:function, or file.py:function, that returns a network"
    parser.add_argument("reference", help=f"the network that is assumed to be correct: {spec}")
    parser.add_argument("port", help=f"the network to check: {spec}")
    parser.add_argument("--shape", type=int_list, metavar="N,C,H,W", help="compare on random numbers of this shape")
    parser.add_argument("--input", type=path_argument, metavar="FILE", help="compare on the array in this .npy file")
    parser.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="seed of the random numbers (default: 0)"
    )
    parser.add_argument(
        "--tolerance", type=positive_float, default=1e-5, metavar="X", help="as in compare_networks (default: 1e-5)"
    )
    parser.add_argument("--backward", action="store_true", help="compare the gradients in training mode too")
    parser.add_argument("--json", type=json_file, metavar="FILE", help="write the report to this file")
    return parser


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if (args.shape is None) == (args.input is None):
        raise UserError("pass either --shape N,C,H,W or --input FILE")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"--json '{args.json}': its folder does not exist: create it first")
    X = random_input(args.shape, args.seed) if args.input is None else load_input(args.input)
    if "mxnet" in installed_backends():
        load_backend("mxnet")  # before the networks import MXNet: it makes MXNet work with the installed NumPy
    reference, port = built(args.reference), built(args.port)
    report = compare_networks(reference, port, X, tolerance=args.tolerance, backward=args.backward)
    print(report)
    if args.json:
        write_atomically(args.json, (json.dumps(report.as_json(), indent=2) + "\n").encode())
    return DIFFER_STATUS if report.first_divergence else 0


def random_input(shape: Sequence[int], seed: int) -> np.ndarray:
    """Random numbers from 0 to 1.

    Raises:
        UserError: when the shape is invalid, or too large for the memory.
    """
    if not shape or min(shape) < 1 or len(shape) > 8:
        raise UserError("--shape needs whole numbers of at least 1 separated by commas, as in 2,3,224,224")
    require_bytes(8 * prod(shape), "--shape", "choose a smaller shape")
    return np.random.default_rng(seed).random(tuple(shape), np.float32)


def load_input(path: Path) -> np.ndarray:
    """The array in a .npy file.

    Raises:
        UserError: when it cannot be read, or is no array of numbers.
    """
    with open_regular(path) as file:
        # Bytes become int64 and float32 on their way into the networks.
        require_bytes(16 * file.seek(0, os.SEEK_END), f"--input '{path}'", "choose a smaller file")
        file.seek(0)
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError) as problem:
            raise UserError(f"--input '{path}' is not a .npy file of one array: write it with numpy.save") from problem


def built(text: str) -> Any:
    """The network that `module:function` or `file.py:function` returns.

    Raises:
        UserError: when it cannot be imported, or the function fails.
    """
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise UserError(f"'{text}' is not of the form module:function or file.py:function")
    folder = Path(where).parent if where.endswith(".py") else Path.cwd()
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        names = runpy.run_path(where) if where.endswith(".py") else vars(importlib.import_module(where))
        if name not in names:
            raise UserError(f"'{where}' has no function '{name}': check the name")
        return names[name]()
    except UserError:
        raise
    except Exception as problem:
        raise UserError(
            f"'{text}' failed ({type(problem).__name__}: {error_reason(problem)}): run it by itself first"
        ) from problem
    finally:
        sys.path.remove(str(folder))
        forget_modules(folder.resolve(), set(sys.modules) - before)


def forget_modules(folder: Path, names: Iterable[str]) -> None:
    """Forget those modules that lie in a folder: the port may have other modules of the same names."""
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).resolve().is_relative_to(folder) and "site-packages" not in file:
            del sys.modules[name]


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv, result_is_printed=True)


if __name__ == "__main__":
    sys.exit(main())
