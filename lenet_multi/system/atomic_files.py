"""Atomic writes, and folders that are removed again when a block fails."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lenet_multi.errors import UserError


class CreatedFolder:
    """A context manager that creates a folder and its parents.

    If the block raises, the folders that were created are removed again if they are empty.

    Raises:
        OSError: when the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.created = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            self._remove()
            raise

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error:
            self._remove()

    def _remove(self) -> None:
        for path in self.created:
            try:
                path.rmdir()
            except OSError:  # not empty, or never created
                return


def write_atomically(path: Path, content: bytes | bytearray) -> None:
    """Write `content` to a temporary file beside `path`, then rename it: `path` is old or new, never in between.

    Several processes may write the same file; the last one wins. A link at `path` is replaced, not followed.

    Raises:
        UserError: when the file cannot be written.
    """
    # Random, so that writers do not share it. Cut, because a file system limits the length of a name.
    temporary = path.with_name(f"{_temporary_start(path.name)}.{secrets.token_hex(8)}.part")
    try:
        file = temporary.open("xb")  # "x" does not open what is already there, and follows no link
        try:
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise UserError(
            f"{path}: cannot be written ({problem.strerror}): choose a writable folder with free space"
        ) from problem
    _sync_folder(path.parent)


def _temporary_start(name: str) -> str:
    """How the temporary names of a file begin."""
    return f".{name[:50]}"


def _sync_folder(folder: Path) -> None:
    """Put a rename on the disk. Windows and some file systems do not sync folders: there the system does it later."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporary_files(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left when they wrote these files. Nobody else may write to the folder meanwhile."""
    # Earlier versions used one temporary name for all writers of a file.
    patterns = [re.compile(rf"{re.escape(_temporary_start(name))}(\.[0-9a-f]{{16}})?\.part") for name in names]
    for path in folder.iterdir():
        if any(pattern.fullmatch(path.name) for pattern in patterns):
            with suppress(OSError):  # a folder of that name is not ours
                path.unlink()


def require_absent(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which one of these files would be overwritten.

    Raises:
        UserError: when one of them exists.
    """
    existing = next((name for name in names if (folder / name).exists()), None)
    if existing:
        raise UserError(f"--out '{folder}' already holds {existing}: choose another folder")
