"""Standard error: messages to the user, and suppressing a framework's output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lenet_multi.system.names import printable


def say(message: str) -> None:
    """Print a message to standard error, which keeps standard output for the results. Escape control characters."""
    if sys.stderr is not None:  # `print` would take standard output instead
        print(printable(message), file=sys.stderr)


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to /dev/null; Python exceptions still propagate.

    For messages of a framework's compiled code that no setting turns off.
    """
    _flush()
    try:
        saved = os.dup(2)
    except OSError:  # this program has no standard error
        saved = None
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 2:
            os.dup2(null, 2)
            os.close(null)
        yield
    finally:
        _flush()
        if saved is None:
            os.close(2)
        else:
            os.dup2(saved, 2)
            os.close(saved)


def _flush() -> None:
    """Flush standard error, if it is there and takes what was printed."""
    with suppress(AttributeError, OSError):
        sys.stderr.flush()
