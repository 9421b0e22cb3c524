"""A folder with one writer: it is created and locked, and what killed writers left in it is removed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import CreatedFolder, remove_temporary_files

# How long another process may take to end before a folder counts as in use. A process that was just killed keeps its
# lock until the system has freed its memory.
PATIENCE_SECONDS = 5.0


class FolderInUseError(UserError):
    """Another process has locked the folder."""


@contextmanager
def locked_folder(
    folder: Path, names: Iterable[str] = (), title: str = "folder", patience: float | None = None
) -> Iterator[None]:
    """Create a folder and its parents, and keep other processes out while the block runs.

    If the block raises, the folders that were created are removed again if they are empty.

    The lock is one of the system's on the folder itself. It leaves no file, child processes do not inherit it, and it
    ends with this process however that ends. Windows and some file systems have no such locks: there the block runs
    without.

    Args:
        folder: the folder.
        names: files that are written atomically in it. Temporary files of killed writers are removed, if the folder is
            locked.
        title: what the user calls the folder, such as `--out`, for the error if it cannot be created.
        patience: seconds to wait for another process; `PATIENCE_SECONDS` when None.

    Raises:
        FolderInUseError: when another process has locked the folder for longer.
        UserError: when the folder cannot be created.
    """
    deadline = time.monotonic() + (PATIENCE_SECONDS if patience is None else patience)
    with ExitStack() as stack:
        while True:
            created = CreatedFolder(folder)
            try:
                created.__enter__()
            except OSError as problem:
                raise UserError(
                    f"{title} '{folder}' cannot be created ({problem.strerror}): choose another folder"
                ) from problem
            try:
                descriptor = _lock(folder, deadline)
            except FileNotFoundError:
                continue
            if descriptor is not None:
                stack.callback(os.close, descriptor)
            if descriptor is None or _is_folder(descriptor, folder):
                break
            stack.close()
        stack.push(created)  # it removes the folder before the lock is released: no other process is in it
        if descriptor is not None:
            remove_temporary_files(folder, names)
        yield


def _lock(folder: Path, deadline: float) -> int | None:
    """A descriptor that holds the lock of a folder until it is closed; None where there are no locks.

    Raises:
        FileNotFoundError: when another process has removed the folder.
        FolderInUseError: when another process holds the lock until the deadline.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        raise
    except OSError:  # no permission to list the folder, for example
        return None
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise FolderInUseError(
                        f"another process is using '{folder}': wait until it ends, or choose another folder"
                    ) from None
                time.sleep(0.02)
    except OSError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise


def _is_folder(descriptor: int, folder: Path) -> bool:
    """Whether an open folder still has its name: the process that created it may just have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except OSError:
        return False
