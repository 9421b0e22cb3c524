"""The text of a program: a template for each framework, filled in for a description and the settings of training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from lenet_multi.architecture import Architecture
from lenet_multi.data.image_folder import MODES, TEST_FRACTION
from lenet_multi.exporting.dialects import load_dialect

TEMPLATES = Path(__file__).parent / "templates"
TITLES = {
    "lenet5": "LeNet-5",
    "lenet5-max": "LeNet-5 with maximum pooling",
    "lenet-modern": "A modern LeNet",
    "custom": "A network like LeNet",
}


@dataclass(frozen=True)
class Training:
    """The settings of a program's training.

    Args:
        epochs: in all.
        lr: learning rate.
        batch_size: examples per step.
        seed: of the initial weights and the shuffling.
        lr_decay_epoch: the learning rate is a tenth of `lr` after this many epochs; never when None.
    """

    epochs: int = 10
    lr: float = 0.9
    batch_size: int = 256
    seed: int = 0
    lr_decay_epoch: int | None = None


@dataclass(frozen=True)
class Pictures:
    """How a program reads a folder of pictures; it holds out the same ones for testing as `lenet_multi.data`.

    Args:
        test_fraction: the part of each class that is held out for testing.
        split_seed: seed of the choice of these pictures, and of the order of all.
    """

    test_fraction: float = TEST_FRACTION
    split_seed: int = 0


IDX = (
    "FOLDER holds the four IDX files of Fashion-MNIST, such as train-images-idx3-ubyte.gz.",
    "holds the four IDX files",
)
PICTURES = (
    "FOLDER holds a folder of PNG or JPEG files for each class, or the folders train and test with such folders.",
    "holds the class folders",
)
LOADING = "# Start from the weights in the file beside this program. Without this, training starts anew.\n"


def program_text(
    backend: str,
    architecture: Architecture,
    training: Training,
    file: str,
    weights: bool,
    pictures: Pictures | None = None,
) -> str:
    """The text of a program for a network.

    Args:
        backend: the canonical name of the framework.
        architecture: the network.
        training: the settings of its training.
        file: the name of the program's file, for its description. A name of other characters than letters, digits,
            dots and dashes is left out: in a program, it could be code.
        weights: whether the program starts from the weights in a file beside it: `lenet.safetensors` for `lenet.py`.
        pictures: how it reads a folder of pictures; None for one that reads IDX files.
    """
    dialect = load_dialect(backend)
    channels, height, width = architecture.input_shape
    reading = _template("pictures" if pictures else "idx").rstrip("\n")
    text = _template(backend).replace("$read_data", reading)
    optional = {
        "import_gzip": "" if pictures else "import gzip",
        "import_itertools": "import itertools" if pictures else "",
        "import_pillow": "from PIL import Image, ImageOps" if pictures else "",
        "load_imports": dialect.load_imports if weights else "",
        "load_weights": LOADING + dialect.load_weights if weights else "",
        "lr_decay": "" if training.lr_decay_epoch is None else dialect.lr_decay,
    }
    for name, lines in optional.items():
        if not lines:
            text = text.replace(f"${name}\n", "")
    indent = " " * dialect.indent
    return Template(text).substitute(
        optional,
        title=TITLES[architecture.name],
        file=file if re.fullmatch(r"[\w.-]+", file, re.ASCII) else "PROGRAM",
        channels=channels,
        height=height,
        width=width,
        num_classes=architecture.num_classes,
        mode=MODES.get(channels, ""),
        np=dialect.numpy,
        folder=(PICTURES if pictures else IDX)[0],
        folder_help=(PICTURES if pictures else IDX)[1],
        settings=_settings(training, pictures),
        layers="\n".join(f"{indent}{line.text}," for line in dialect.lines(architecture)),
    )


def _template(name: str) -> str:
    return (TEMPLATES / f"{name}.py.txt").read_text(encoding="utf-8")


def _settings(training: Training, pictures: Pictures | None) -> str:
    lines = [
        f"num_epochs = {training.epochs}",
        f"lr = {training.lr!r}",
        f"batch_size = {training.batch_size}",
        f"seed = {training.seed}  # of the initial weights and of the order of the examples",
    ]
    if training.lr_decay_epoch is not None:
        lines.append(f"lr_decay_epoch = {training.lr_decay_epoch}  # after these epochs, train with a tenth of lr")
    if pictures:
        lines += [
            f"test_fraction = {pictures.test_fraction!r}  # of each class, if FOLDER has no folders train and test",
            f"split_seed = {pictures.split_seed}  # chooses the pictures for testing",
        ]
    return "\n".join(lines)
