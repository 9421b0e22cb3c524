"""What the commands share: one-line errors, and the options that describe the network and the data."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lenet_multi.architecture import ACTIVATIONS, POOLINGS, PRESET_SETTINGS, Architecture, lenet
from lenet_multi.backends import LOOPS
from lenet_multi.errors import UserError

USAGE_STATUS, INTERRUPTED_STATUS = 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, without the usage before it."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        _, unknown, given = message.partition("unrecognized arguments:")
        option = given.strip().partition(" ")[0].partition("=")[0]
        near = difflib.get_close_matches(option, self._option_string_actions, n=1, cutoff=0.8) if unknown else []
        hint = f" (is {near[0]} meant?)" if near else ""
        raise UserError(f"{' '.join(message.split())}{hint}: see {self.prog} --help")


def run_command(command: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status; a user's error becomes one line on standard error and status 2.

    With `LENET_MULTI_DEBUG=1` in the environment errors show their trace.
    """
    debug = os.environ.get("LENET_MULTI_DEBUG") == "1"
    try:
        return command(argv) or 0
    except UserError as problem:
        if debug:
            raise
        say(f"error: {' '.join(str(problem).split())}")
        return USAGE_STATUS
    except OSError as problem:
        if debug or problem.strerror is None:
            raise
        where = f"'{problem.filename}': " if problem.filename else ""
        reason = f"{problem.strerror[:1].lower()}{problem.strerror[1:]}"
        say(f"error: {where}{reason}, expected to be let in: choose another place or change its rights")
        return USAGE_STATUS
    except KeyboardInterrupt as interrupt:
        if debug:
            raise
        say(f"interrupted{f': {interrupt}' if str(interrupt) else ''}")
        return INTERRUPTED_STATUS


def positive_int(text: str) -> int:
    """An argument that must be a whole number of at least 1."""
    return _number(text, int, "a whole number of at least 1", lambda number: number >= 1)


def seed_number(text: str) -> int:
    """An argument that must be a seed that every framework takes."""
    return _number(text, int, "a whole number from 0 to 4294967295", lambda number: 0 <= number < 2**32)


def positive_float(text: str) -> float:
    """An argument that must be a number above 0 that float32 can hold."""
    return _number(text, float, "a number above 0, and below 3.4e38", lambda number: 0 < number < 3.4e38)


def _number(text: str, number_type: type, expected: str, is_good: Callable[[Any], bool]) -> Any:
    try:
        number = number_type(text)
    except ValueError:
        number = None
    if number is None or not is_good(number):
        raise argparse.ArgumentTypeError(f"{text!r}, expected {expected}")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    """`6,16` as (6, 16); the architecture checks the values."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected whole numbers with commas between, as in 6,16") from None


def some_path(text: str) -> Path:
    """An argument that must name a file or folder."""
    if not text:
        raise argparse.ArgumentTypeError("'', expected the path of a file or folder")
    return Path(text)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the network; `architecture_from` reads them."""
    group = parser.add_argument_group("network options")
    group.add_argument("--architecture", choices=PRESET_SETTINGS, help="start from this network (lenet5)")
    group.add_argument("--activation", choices=ACTIVATIONS, help="after every convolution and hidden dense layer")
    group.add_argument("--pooling", choices=POOLINGS, help="average or maximum")
    group.add_argument(
        "--conv-channels", type=_numbers, metavar="N,N", help="channels of each convolution, and so their number (6,16)"
    )
    group.add_argument("--kernel-sizes", type=_numbers, metavar="N,N", help="one for each convolution or for all (5)")
    group.add_argument("--paddings", type=_numbers, metavar="N,N", help="one for each convolution or for all (2,0,...)")
    group.add_argument("--dense-units", type=_numbers, metavar="N,N", help="widths of the hidden dense layers (120,84)")


def architecture_from(args: argparse.Namespace) -> Architecture | None:
    """The network that the options describe, or None when none of them was given.

    Raises:
        ArchitectureError: when it cannot be built.
    """
    names = ("activation", "pooling", "conv_channels", "kernel_sizes", "paddings", "dense_units")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if not given and not args.architecture:
        return None
    return lenet(**{**PRESET_SETTINGS[args.architecture or "lenet5"], **given})


def add_data_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options that say which data to use and where it lies."""
    group = parser.add_argument_group("data options")
    group.add_argument(
        "--dataset",
        default=default,
        metavar="NAME",
        help="auto (Fashion-MNIST if it can be had, else synthetic), fashion-mnist, mnist, synthetic, "
        "or the path of a folder with four IDX files (auto)",
    )
    group.add_argument(
        "--data-dir",
        type=some_path,
        metavar="DIR",
        help="look for published data in DIR's subfolder of its name first, and download to there; "
        "then $LENET_MULTI_DATA, then the user's cache folder",
    )


def add_device_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that says where to compute; `lenet_multi.backends.devices` reads it."""
    parser.add_argument("--device", default="auto", help="auto (the first GPU, else the CPU), cpu, gpu, gpu:1 (auto)")


def add_loop_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that say which training loop to run."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--loop",
        choices=LOOPS,
        help="plain, the one that the documentation shows, or fast, which computes the same (plain)",
    )
    group.add_argument("--fast", dest="loop", action="store_const", const="fast", help="short for --loop fast")


def say(message: str) -> None:
    """Tell the user something beside the results: on standard error."""
    print(message, file=sys.stderr)
