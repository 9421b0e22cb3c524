"""Files written whole or not at all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lenet_multi.errors import UserError


class CreatedFolder:
    """Makes a folder and those above it, and takes away again what it made where the block fails and leaves it empty.

    Raises:
        OSError: when it cannot be made.
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
            except OSError:  # not empty, or never made
                return


def part_of(path: Path) -> Path:
    """The temporary name; a fixed one, so that what a killed process leaves is overwritten by the next one."""
    return path.with_name(f".{path.name}.part")


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename: `path` is old or new, never in between.

    Raises:
        UserError: when the folder cannot be written.
    """
    temporary = part_of(path)
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
            f"{path}: cannot be written ({problem.strerror}), expected a folder with room that is yours to write in"
        ) from problem


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C do nothing meanwhile: for the moment that it takes to write files that belong together."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
