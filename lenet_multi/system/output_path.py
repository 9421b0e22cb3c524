"""The file that a command writes: checked before the work starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lenet_multi.errors import UserError
from lenet_multi.system.regular_files import open_regular

SEARCHED = 2**16  # bytes at the start of a file that hold the mark


def require_output_path(path: Path, endings: Sequence[str], mark: str) -> None:
    """Check that a command can write to `--out`.

    Args:
        path: the file.
        endings: those that its name may have.
        mark: what each file of this command holds near its start: only such a file is replaced.

    Raises:
        UserError: when the name has another ending, its folder does not exist, or it is a folder itself, or a file
            without the mark.
    """
    if path.suffix.lower() not in endings:
        advice = "choose one of these formats" if len(endings) > 1 else "choose such a name"
        raise UserError(f"--out '{path}' does not end in {' or '.join(endings)}: {advice}")
    if path.exists() and not path.is_file():
        raise UserError(f"--out '{path}' is not a regular file: choose another name")
    if not path.parent.is_dir():
        raise UserError(f"--out '{path}': its folder does not exist: create it first")
    if path.exists():
        with open_regular(path) as file:
            start = file.read(SEARCHED)
        if mark.encode() not in start:
            raise UserError(
                f"--out '{path}' exists, but this package did not write it: choose another name, or remove the file"
            )
