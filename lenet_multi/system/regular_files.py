"""Files of unknown origin: only regular ones are read, because a pipe or a device can keep its reader waiting."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def require_regular_file(path: Path) -> int:
    """Check that a path leads to a regular file, and return its size in bytes. Nothing is opened.

    Raises:
        OSError: if there is no file, or it is a folder, a pipe, a socket or a device.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return found.st_size
