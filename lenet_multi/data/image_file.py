"""Reads PNG and JPEG files: upright, transparency on white, eight bits per channel, grey or in color."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.data.idx import DataError
from lenet_multi.system.regular_files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 2**26  # a small file can announce any number
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")  # Pillow's names
ORIENTATION = 0x0112  # the EXIF tag
ROTATED, TURNED = (
    range(2, 9),
    range(5, 9),
)  # its values for a picture to rotate or flip, and for a width that becomes the height


def read_image(path: Path, without: Sequence[str] = ()) -> tuple[Image, list[str]]:
    """The picture in a PNG or JPEG file, rotated by its EXIF orientation, on white where it is transparent.

    Args:
        path: the file.
        without: `rotate` to keep it as it is stored, `white` to ignore transparency.

    Returns:
        Pillow's image of mode `L`, if the file has only grey values, or `RGB`; and what was done to it, in words.

    Raises:
        DataError: if the file is damaged, of another format, or has more than `MAX_PIXELS` pixels.
    """
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        is_color, image, steps = _is_color(opened), opened, []
        if opened.getexif().get(ORIENTATION) in ROTATED and "rotate" not in without:
            image = ImageOps.exif_transpose(opened)
            steps.append("rotated by its EXIF orientation")
        if image.mode.startswith("I"):  # 16 bits
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
            steps.append("reduced from 16 bits to 8")
        if image.mode in ("CMYK", "YCCK"):
            steps.append("converted from CMYK to RGB")
        if image.has_transparency_data and "white" not in without:
            on_top = image.convert("RGBA")
            image = Image.new("RGBA", on_top.size, "white")
            image.alpha_composite(on_top)
            steps.append("composited onto white")
        return image.convert("RGB" if is_color else "L"), steps


def image_header(path: Path) -> tuple[tuple[int, int], bool]:
    """Height and width of the upright picture in a file, and whether it has colors, from the file's header.

    Pillow decodes the pixels of a PNG file too: EXIF data may follow them.

    Raises:
        DataError: as for `read_image`, as far as the start of the file shows it.
    """
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(ORIENTATION) in TURNED
        return ((width, height) if turned else (height, width)), _is_color(image)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Pillow's image, whose pixels are read on first use."""
    from PIL import Image

    # Pillow raises many types of exceptions for damaged files.
    try:
        with open_regular(path) as file:
            image = Image.open(file, formats=("PNG", "JPEG"))
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path}: has more than {MAX_PIXELS:,} pixels: reduce its size")
            yield image
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as problem:
        raise DataError(f"{path}: has more than {MAX_PIXELS:,} pixels: reduce its size") from problem
    except OSError as problem:
        reason = problem.strerror or "damaged, or of another format"
        raise DataError(f"{path}: cannot be read ({reason}): expected a PNG or JPEG file") from problem
    except Exception as problem:
        raise DataError(f"{path}: is damaged ({type(problem).__name__}): save it again as PNG") from problem


def _is_color(image: Image) -> bool:
    if image.mode in ("P", "PA"):
        colors = np.array(image.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
        return bool((colors != colors[:, :1]).any())
    return image.mode not in GREY_MODES
