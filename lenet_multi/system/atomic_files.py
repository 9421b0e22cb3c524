"""Atomic writes, and folders that are removed again when a block fails."""

from __future__ import annotations

import os
from collections.abc import Iterable
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


def temporary_path(path: Path) -> Path:
    """The temporary name of a file. It is fixed, so the next write overwrites what a killed process left."""
    return path.with_name(f".{path.name}.part")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file beside `path`, then rename it: `path` is old or new, never in between.

    Raises:
        UserError: when the file cannot be written.
    """
    temporary = temporary_path(path)
    try:
        try:
            with temporary.open("wb") as file:
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


def require_absent(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which one of these files would be overwritten.

    Raises:
        UserError: when one of them exists.
    """
    existing = next((name for name in names if (folder / name).exists()), None)
    if existing:
        raise UserError(f"--out '{folder}' already holds {existing}: choose another folder")
