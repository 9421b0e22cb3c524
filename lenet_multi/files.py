"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from lenet_multi.errors import UserError


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename: `path` is old or new, never in between.

    Raises:
        UserError: when the folder cannot be written.
    """
    # A fixed temporary name: what a killed process leaves is overwritten by the next one.
    temporary = path.with_name(f".{path.name}.part")
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
