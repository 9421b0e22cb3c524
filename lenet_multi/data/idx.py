"""Read and write IDX, the file format of MNIST and Fashion-MNIST.

An images file consists of the magic number 0x00000803, the count, height and width, and the pixels. A labels file
consists of 0x00000801, the count, and the labels. Numbers are big-endian 32-bit integers; pixels and labels are
unsigned bytes. Files may be gzip-compressed, even without `.gz` in their names.

Source: the MNIST home page's section "File formats" (LeCun, Cortes, Burges).
"""

from __future__ import annotations

import struct
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lenet_multi.architecture import MAX_SIZE
from lenet_multi.errors import UserError
from lenet_multi.system.memory import require_bytes
from lenet_multi.system.regular_files import open_regular

IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801
LONGEST_HEADER = 16  # bytes
CHUNK = 1 << 20  # bytes to read at a time
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
    """The content of an IDX file, decompressed if it is gzip: as many bytes as its header announces, and one more if
    there are more. A file of another kind gives its first bytes.

    The header decides how much is read, so a file that decompresses to more, or is larger, takes no memory.

    Raises:
        DataError: if the file cannot be read or decompressed, or announces more than `MAX_SIZE` pixels.
    """
    try:
        with open_regular(path) as plain:
            is_gzip = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = _Gzip(plain) if is_gzip else plain
            payload = bytearray(file.read(LONGEST_HEADER))
            num_dimensions = {IMAGES_MAGIC: 3, LABELS_MAGIC: 1}.get(int.from_bytes(payload[:4], "big"))
            if num_dimensions is None or len(payload) < header_length(num_dimensions):
                return payload
            expected = header_length(num_dimensions) + prod(_shape(payload, num_dimensions, path))
            require_bytes(expected, f"{path}: the data", "choose a smaller data set")
            while len(payload) <= expected and (more := file.read(min(CHUNK, expected + 1 - len(payload)))):
                payload += more
            return payload
    except (EOFError, zlib.error) as problem:
        raise DataError(f"{path}: the gzip data is damaged or truncated: copy or download the file again") from problem
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}): expected an IDX file") from problem


class _Gzip:
    """The content of a gzip file of one member. `gzip.GzipFile` would skip any number of zeros after it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._member = zlib.decompressobj(wbits=31)  # 31: gzip, whose checksum it compares

    def read(self, size: int) -> bytes:
        content = b""
        while len(content) < size and not self._member.eof:
            compressed = self._member.unconsumed_tail or self._file.read(CHUNK)
            if not compressed:
                raise EOFError
            content += self._member.decompress(compressed, size - len(content))
        if self._member.eof and (self._member.unused_data or self._file.read(1)):
            raise zlib.error("bytes after the end of the data")
        return content


def header_length(num_dimensions: int) -> int:
    """The bytes before the pixels or labels: the magic number, and a number for each dimension."""
    return 4 + 4 * num_dimensions


def _shape(payload: bytearray, num_dimensions: int, source: Path) -> tuple[int, ...]:
    """The shape that a header announces.

    Raises:
        DataError: if an array of this shape cannot be used.
    """
    shape = struct.unpack(f">{num_dimensions}I", payload[4 : header_length(num_dimensions)])
    text = " x ".join(map(str, shape))
    if prod(max(size, 1) for size in shape) >= MAX_SIZE:
        raise DataError(
            f"{source}: announces {text} bytes, expected fewer than {MAX_SIZE:,}: the file is damaged, or choose a "
            "smaller data set"
        )
    if 0 in shape[1:]:
        raise DataError(f"{source}: announces {text} bytes, images without pixels: copy or download the file again")
    return shape


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
    header = header_length(num_dimensions)
    found = int.from_bytes(payload[:4], "big")
    if len(payload) < header or found != magic:
        what = "images" if magic == IMAGES_MAGIC else "labels"
        raise DataError(f"{source}: not an IDX file of {what}: begins with {found:#010x}, expected {magic:#010x}")
    shape = _shape(payload, num_dimensions, source)
    if (length := len(payload) - header) != prod(shape):
        # `read_payload` reads no further than one byte more.
        found_text = f"{length} bytes" if length < prod(shape) else f"more than {prod(shape)} bytes"
        raise DataError(
            f"{source}: the file is damaged or truncated: {found_text} after the header, expected "
            f"{prod(shape)} ({' x '.join(map(str, shape))}); copy or download the file again"
        )
    return np.frombuffer(payload, np.uint8, offset=header).reshape(shape)


def to_idx(array: np.ndarray) -> bytes:
    """The IDX payload of a uint8 array with one or three dimensions: the inverse of `parse_idx`.

    Raises:
        DataError: if the array has another number of dimensions: the format has no channels.
    """
    if array.ndim not in (1, 3):
        raise DataError(f"an array of shape {array.shape}, expected labels (N,) or grey images (N, height, width)")
    magic = LABELS_MAGIC if array.ndim == 1 else IMAGES_MAGIC
    return struct.pack(f">I{array.ndim}I", magic, *array.shape) + np.ascontiguousarray(array, np.uint8).tobytes()
