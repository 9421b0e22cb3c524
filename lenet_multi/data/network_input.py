"""A picture as the input of a network: upright, on white, in the network's channels and size, light on black if needed.

Each step can be left out, and each that changes the picture is named.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenet_multi.data.idx import DataError
from lenet_multi.data.image_file import read_image

BRIGHT = 127  # the mean of a border above which a picture is dark on a bright ground
STEPS = ("rotate", "white", "grey", "resize", "invert")


@dataclass(frozen=True)
class NetworkInput:
    """A picture as a network sees it.

    Attributes:
        path: its file.
        pixels: uint8 (C, H, W).
        steps: what was done to it, in words.
    """

    path: Path
    pixels: np.ndarray
    steps: tuple[str, ...]


def network_input(
    path: Path, shape: tuple[int, int, int], light_on_black: bool, without: Sequence[str] = ()
) -> NetworkInput:
    """Read a picture for a network.

    Args:
        path: a PNG or JPEG file.
        shape: (C, H, W) of the network's input.
        light_on_black: whether a picture with a bright border is inverted.
        without: some of `STEPS` to leave out.

    Raises:
        DataError: if the file cannot be read, or does not fit the network without a step that is left out.
    """
    from PIL import Image

    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"the network takes images of {channels} channels, expected 1 or 3: pictures have no others")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder: pass its pictures, as in {path}/*.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about metadata and large images
        image, steps = read_image(path, without)
    if channels == 1 and image.mode == "RGB":
        if "grey" in without:
            raise DataError(f"{path}: is in color, but the network takes grey images: do not leave out grey")
        image = image.convert("L")
        steps.append("converted to grey")
    if image.size != (width, height):
        if "resize" in without:
            raise DataError(
                f"{path}: has {image.height} x {image.width} pixels, but the network takes {height} x {width}: do not "
                "leave out resize"
            )
        steps.append(f"resized from {image.height} x {image.width} (height x width) to {height} x {width} pixels")
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image.convert("RGB") if channels == 3 else image).reshape(height, width, channels)
    if light_on_black and "invert" not in without and _border(pixels).mean() > BRIGHT:
        steps.append("inverted, because its border is bright")
        pixels = 255 - pixels
    return NetworkInput(path, np.ascontiguousarray(pixels.transpose(2, 0, 1)), tuple(steps))


def _border(pixels: np.ndarray) -> np.ndarray:
    """The pixels at the four sides."""
    is_border = np.ones(pixels.shape[:2], bool)
    is_border[1:-1, 1:-1] = False
    return pixels[is_border]
