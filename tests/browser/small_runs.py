"""Runs for the tests of the page: networks with random parameters, in files as training writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lenet_multi.architecture import PRESETS, Architecture, lenet
from lenet_multi.checks.float64_reference import xavier_uniform
from lenet_multi.data.published import FASHION_MNIST
from lenet_multi.runs.checkpoint import CHECKPOINT, Run, save_checkpoint
from lenet_multi.runs.weights import save_weights
from lenet_multi.training.settings import PICTURES, Settings

GARMENTS = FASHION_MNIST.class_names
GREY = lenet(conv_channels=(2,), dense_units=(8,))
COLORS = ("red", "green", "blue")
COLOR = lenet(input_shape=(3, 24, 32), conv_channels=(2,), dense_units=(8,), num_classes=3)

NETWORKS = {
    **PRESETS,
    "three-convolutions": lenet(conv_channels=(4, 8, 8), kernel_sizes=(3,), paddings=(1,), activation="tanh"),
    "no-convolution": lenet(conv_channels=(), dense_units=(20,)),
}


def write_network(folder: Path, name: str, seed: int = 0) -> Path:
    """Write untrained parameters of one of `NETWORKS`."""
    path, architecture = folder / f"{name}-{seed}.safetensors", NETWORKS[name]
    save_weights(path, xavier_uniform(architecture, seed), {"architecture": architecture.to_dict()})
    return path


def write_run(
    folder: Path,
    architecture: Architecture = GREY,
    names: tuple[str, ...] = GARMENTS,
    dataset: str = "synthetic",
    seed: int = 0,
    parameters: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a run that was not trained, with random parameters if none are given; its biases are not zero."""
    numbers = np.random.default_rng(seed)
    parameters = parameters or {
        name: numbers.normal(0, 0.3, shape).astype(np.float32) for name, shape in architecture.parameter_shapes.items()
    }
    is_folder = dataset != "synthetic"
    settings = Settings(
        dataset, "", 0, 0, 0, 32, 0.1, seed, None, 0.5 if is_folder else None, 0, PICTURES if is_folder else ""
    )
    folder.mkdir(parents=True)
    save_checkpoint(folder, Run(architecture, settings, "torch", "plain", [], [], names), parameters)
    return folder / CHECKPOINT


def write_pictures(folder: Path, names: tuple[str, ...], size: tuple[int, int], per_class: int = 4) -> Path:
    """Write colored pictures in a folder for each class."""
    numbers = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = numbers.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def write_color_run(folder: Path) -> Path:
    """Write a run of colored pictures, which are not light on black."""
    return write_run(folder / "run", COLOR, COLORS, str(write_pictures(folder / "pictures", COLORS, (24, 32))))
