"""The options of training, of the network and of the data, as data that every command can read."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from lenet_multi.architecture import (
    ACTIVATIONS,
    POOLINGS,
    PRESET_SETTINGS,
    PRESET_TRAINING,
    PRESETS,
    Architecture,
    lenet,
)
from lenet_multi.backends import ALIASES, BACKENDS, LOOPS
from lenet_multi.data.image_folder import TEST_FRACTION
from lenet_multi.runs.checkpoint import MAX_EPOCHS
from lenet_multi.runs.weights import WeightsError, weights_file
from lenet_multi.system.option_parser import (
    Option,
    Parser,
    add_options,
    int_list,
    path_argument,
    positive_float,
    positive_int,
    seed_number,
)


def weights_path(text: str) -> Path:
    """The argument of `--weights`: a file of parameters, or a run folder, which stands for the file in it."""
    try:
        return weights_file(path_argument(text))
    except WeightsError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def image_size(text: str) -> tuple[int, int]:
    """`32,48` as (32, 48)."""
    try:
        height, width = map(int, text.split(","))
    except ValueError:
        height = width = 0
    if min(height, width) < 1:
        raise argparse.ArgumentTypeError(f"invalid value {text!r}, expected height and width above 0, as in 32 32")
    return height, width


def fraction(text: str) -> float:
    """A number between 0 and 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"invalid value {text!r}, expected a number above 0 and below 1")
    return number


# The chapter's recipe. On the command line these options are None until given: a resumed run has its own values.
DEFAULTS: dict[str, Any] = {
    "loop": "plain",
    "dataset": "auto",
    "epochs": 10,
    "lr": 0.9,  # large, because sigmoids shrink gradients
    "lr_decay_epoch": None,
    "batch_size": 256,
    "seed": 0,
}

BACKEND = Option(
    "backend",
    f"{', '.join(BACKENDS)}; also {', '.join(ALIASES)} (default: the first that is installed)",
    metavar="NAME",
)
BACKENDS_OPTION = Option(
    "backends",
    f"{', '.join(BACKENDS)}, separated by commas, or all for every installed one (default: all)",
    metavar="NAMES",
    other_names=("backend",),
)
LOOP = Option(
    "loop",
    "plain: the loop that the documentation shows; fast: a faster one with the same results up to rounding "
    "(default: plain)",
    choices=LOOPS,
)
DATA_OPTIONS = (
    Option(
        "dataset",
        "auto (Fashion-MNIST if available, else synthetic), fashion-mnist, mnist, synthetic, or the path of a folder "
        "of images: PNG or JPEG files in a folder for each class, or four IDX files (default: auto)",
        metavar="NAME",
    ),
    Option(
        "data-dir",
        "search DIR first for fashion-mnist/ or mnist/, and download to DIR; searched next: $LENET_MULTI_DATA, then "
        "the user's cache folder",
        type=path_argument,
        metavar="DIR",
    ),
    Option(
        "image-size",
        "resize the files of a folder of images to this height and width (default: their size, if they have one)",
        type=image_size,
        metavar="H,W",
        is_joined=True,
    ),
    Option(
        "test-fraction",
        "part of each class in a folder of images to hold out for testing, if it has no train/ and test/ "
        f"(default: {TEST_FRACTION})",
        type=fraction,
        metavar="X",
    ),
    Option("split-seed", "seed of the choice of these images (default: 0)", type=seed_number, metavar="N"),
)
DEVICE = Option(
    "device", "auto (the first GPU, else the CPU), cpu, gpu, or gpu:N as in gpu:1 (default: auto)", default="auto"
)
HYPERPARAMETERS = (
    Option(
        "epochs",
        f"passes over the training data, at most {MAX_EPOCHS:,} (default: 10)",
        type=partial(positive_int, most=MAX_EPOCHS),
        metavar="N",
    ),
    Option("lr", "learning rate (default: 0.9; lenet-modern: 0.2)", type=positive_float, metavar="X"),
    Option(
        "lr-decay-epoch",
        "divide the learning rate by 10 after N epochs (default: never; lenet-modern: 8)",
        type=positive_int,
        metavar="N",
    ),
    Option("batch-size", "examples per step (default: 256; lenet-modern: 128)", type=positive_int, metavar="N"),
    Option("seed", "seed of the initial weights and the shuffling (default: 0)", type=seed_number, metavar="N"),
    DEVICE,
    Option(
        "weights",
        "start from the parameters and the network in this file or run folder",
        type=weights_path,
        metavar="PATH",
    ),
)
NETWORK_OPTIONS = (
    Option(
        "architecture", "the preset that the other options modify (default: lenet5)", choices=tuple(PRESET_SETTINGS)
    ),
    Option("activation", "activation after every convolution and hidden dense layer", choices=ACTIVATIONS),
    Option("pooling", "average or maximum pooling", choices=POOLINGS),
    Option(
        "conv-channels", "output channels, one number per convolution (default: 6,16)", type=int_list, metavar="N,N"
    ),
    Option(
        "kernel-sizes", "kernel sizes, one per convolution or one for all (default: 5)", type=int_list, metavar="N,N"
    ),
    Option("paddings", "paddings, one per convolution or one for all (default: 2,0,...)", type=int_list, metavar="N,N"),
    Option("dense-units", "widths of the hidden dense layers (default: 120,84)", type=int_list, metavar="N,N"),
)
# Everything that defines a run, besides its backend: what a comparison can vary or pass on.
RUN_OPTIONS = (LOOP, *DATA_OPTIONS, *HYPERPARAMETERS, *NETWORK_OPTIONS)


def add_loop_options(parser: argparse._ActionsContainer, loop: Option = LOOP) -> None:
    """Add `--loop`, and `--fast` as its short form."""
    group = parser.add_mutually_exclusive_group()
    loop.add_to(group)
    group.add_argument("--fast", dest="loop", action="store_const", const="fast", help="same as --loop fast")


def add_data_options(parser: argparse.ArgumentParser, as_text: bool = False) -> None:
    """Add the options that select the data and say where it is."""
    add_options(parser.add_argument_group("data options"), _shown(DATA_OPTIONS, as_text))


def add_network_options(parser: argparse.ArgumentParser, as_text: bool = False) -> None:
    """Add the options that describe the network; `architecture_from` reads them."""
    add_options(parser.add_argument_group("network options"), _shown(NETWORK_OPTIONS, as_text))


def add_run_options(parser: argparse.ArgumentParser, as_text: bool = False) -> None:
    """Add all of `RUN_OPTIONS`; with `as_text` their values stay unchecked text."""
    add_loop_options(parser, *_shown([LOOP], as_text))
    add_data_options(parser, as_text)
    add_options(parser.add_argument_group("training options"), _shown(HYPERPARAMETERS, as_text))
    add_network_options(parser, as_text)


def _shown(options: Iterable[Option], as_text: bool) -> list[Option]:
    return [option.as_text() if as_text else option for option in options]


def run_parser(prog: str, description: str) -> Parser:
    """The parser of a training run: backend, `RUN_OPTIONS`, and those of the folder that it writes."""
    parser = Parser(prog, description)
    BACKEND.add_to(parser)
    add_run_options(parser)
    group = parser.add_argument_group("output options")
    group.add_argument(
        "--out",
        type=path_argument,
        metavar="DIR",
        help="write the parameters, summary, history and curves to this folder",
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write each epoch to DIR/tensorboard, for TensorBoard; a resumed run goes on writing there",
    )
    group.add_argument(
        "--keep-epochs",
        action="store_true",
        help="also write the parameters after each epoch to DIR/epochs; a resumed run goes on writing there",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out DIR after its last complete epoch; only the backend, the loop, the device and "
        "a larger --epochs may differ",
    )
    return parser


def architecture_from(args: argparse.Namespace) -> Architecture | None:
    """The network that the options describe, or None if none of them was given.

    Raises:
        ArchitectureError: when it cannot be built.
    """
    names = [option.dest for option in NETWORK_OPTIONS if option.name != "architecture"]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if not given and not args.architecture:
        return None
    return lenet(**{**PRESET_SETTINGS[args.architecture or "lenet5"], **given})


def recipe(args: argparse.Namespace, preset: str | None) -> dict[str, Any]:
    """The values of the options in `DEFAULTS` for a new run: as given, else the preset's, else the chapter's."""
    given = {name: value for name, value in vars(args).items() if name in DEFAULTS and value is not None}
    return DEFAULTS | PRESET_TRAINING.get(preset or "", {}) | given


def network_of(args: argparse.Namespace) -> Architecture:
    """The network that the options describe; LeNet-5 if none was given."""
    return architecture_from(args) or PRESETS["lenet5"]
