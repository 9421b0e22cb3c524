"""The IDX file format of MNIST and Fashion-MNIST, read and written.

An images file is the magic number 0x00000803, then count, height and width, then the pixels; a labels file is
0x00000801, then count, then the labels. Numbers are big-endian 32-bit, pixels and labels unsigned bytes. Files may be
gzip-compressed, whatever their name says.

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
    """A data file that is missing, damaged, or does not fit the others."""


def find_file(folder: Path, name: str) -> Path | None:
    """`folder/name`, plain or with `.gz`, or None when neither is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_payload(path: Path) -> bytearray:
    """The file's content, decompressed where it is gzip.

    Raises:
        DataError: when it cannot be read or its compression is damaged.
    """
    try:
        content = path.read_bytes()
        return bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise DataError(f"{path}: its gzip compression is damaged or cut short, get the file anew") from problem
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}), expected an IDX file") from problem


def parse_idx(payload: bytearray, magic: int, source: Path) -> np.ndarray:
    """The array in an IDX payload: uint8, (count, height, width) for images, (count,) for labels.

    `magic` says which is expected, `source` what the error is to name.

    Raises:
        DataError: wrong magic number, or more or fewer bytes than the header says.
    """
    num_dimensions = magic & 0xFF
    header = 4 + 4 * num_dimensions
    found = int.from_bytes(payload[:4], "big")
    if len(payload) < header or found != magic:
        what = "images" if magic == IMAGES_MAGIC else "labels"
        raise DataError(f"{source}: begins with {found:#010x}, expected {magic:#010x}: not an IDX file of {what}")
    shape = struct.unpack(f">{num_dimensions}I", payload[4:header])
    if len(payload) - header != prod(shape):
        raise DataError(
            f"{source}: holds {len(payload) - header} bytes after its header, expected {prod(shape)} "
            f"({' x '.join(map(str, shape))}): the file is damaged or cut short, get it anew"
        )
    return np.frombuffer(payload, np.uint8, offset=header).reshape(shape)


def to_idx(array: np.ndarray) -> bytes:
    """An IDX payload: the inverse of `parse_idx` for uint8 arrays of one or three dimensions."""
    magic = LABELS_MAGIC if array.ndim == 1 else IMAGES_MAGIC
    return struct.pack(f">I{array.ndim}I", magic, *array.shape) + np.ascontiguousarray(array, np.uint8).tobytes()
