"""Standard error: messages to the user, and suppressing a framework's output."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Control characters, except tabs and ends of lines: names in files can hold commands for the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def say(message: str) -> None:
    """Print a message to standard error, which keeps standard output for the results. Escape control characters."""
    message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], message)
    if sys.stderr is not None:  # `print` would take standard output instead
        print(message, file=sys.stderr)


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
