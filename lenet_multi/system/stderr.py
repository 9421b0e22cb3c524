"""Standard error: messages to the user, and suppressing a framework's output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def say(message: str) -> None:
    """Print a message to standard error, which keeps standard output for the results."""
    print(message, file=sys.stderr)


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to /dev/null; Python exceptions still propagate.

    For messages of a framework's compiled code that no setting turns off.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
