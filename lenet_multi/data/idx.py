"""Read and write IDX, the file format of MNIST and Fashion-MNIST.

An images file consists of the magic number 0x00000803, the count, height and width, and the pixels. A labels file
consists of 0x00000801, the count, and the labels. Numbers are big-endian 32-bit integers; pixels and labels are
unsigned bytes. Files may be gzip-compressed, even without `.gz` in their names.

Source: the MNIST home page's section "File formats" (LeCun, Cortes, Burges).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from lenet_multi.errors import UserError

IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801
FILE_NAMES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}


class DataError(UserError):
    """A data file is missing, damaged, or does not match the others."""


def find_file(folder: Path, name: str) -> Path | None:
    """The path of `folder/name` or `folder/name.gz`, or None if neither exists."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_payload(path: Path) -> bytearray:
    """The content of a file, decompressed if it is gzip.

    Raises:
        DataError: if the file cannot be read or decompressed.
    """
    try:
        content = path.read_bytes()
        return bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise DataError(f"{path}: the gzip data is damaged or truncated: copy or download the file again") from problem
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}): expected an IDX file") from problem


def parse_idx(payload: bytearray, magic: int, source: Path) -> np.ndarray:
    """The array in an IDX payload: uint8, (count, height, width) for images, (count,) for labels.

    Args:
        payload: the decompressed content of the file.
        magic: the expected magic number, `IMAGES_MAGIC` or `LABELS_MAGIC`.
        source: the file's path, for error messages.

    Raises:
        DataError: if the magic number is wrong, or the number of bytes does not match the header.
    """
    num_dimensions = magic & 0xFF
    header = 4 + 4 * num_dimensions
    found = int.from_bytes(payload[:4], "big")
    if len(payload) < header or found != magic:
        what = "images" if magic == IMAGES_MAGIC else "labels"
        raise DataError(f"{source}: not an IDX file of {what}: begins with {found:#010x}, expected {magic:#010x}")
    shape = struct.unpack(f">{num_dimensions}I", payload[4:header])
    if len(payload) - header != prod(shape):
        raise DataError(
            f"{source}: the file is damaged or truncated: {len(payload) - header} bytes after the header, expected "
            f"{prod(shape)} ({' x '.join(map(str, shape))}); copy or download the file again"
        )
    return np.frombuffer(payload, np.uint8, offset=header).reshape(shape)


def to_idx(array: np.ndarray) -> bytes:
    """The IDX payload of a uint8 array with one or three dimensions: the inverse of `parse_idx`."""
    magic = LABELS_MAGIC if array.ndim == 1 else IMAGES_MAGIC
    return struct.pack(f">I{array.ndim}I", magic, *array.shape) + np.ascontiguousarray(array, np.uint8).tobytes()
