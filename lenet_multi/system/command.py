"""Runs a command: a user's error becomes one line on standard error, and every outcome an exit status."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from lenet_multi.errors import UserError
from lenet_multi.system.stderr import say

USAGE_STATUS, INTERRUPTED_STATUS = 2, 130


def run_command(command: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    A `UserError` or an error of the operating system prints `error: ...` and gives status 2; Ctrl-C gives 130. With
    `LENET_MULTI_DEBUG=1` in the environment errors show their traceback.
    """
    debug = os.environ.get("LENET_MULTI_DEBUG") == "1"
    try:
        return command(argv) or 0
    except UserError as problem:
        if debug:
            raise
        say(f"error: {' '.join(str(problem).split())}")
        return USAGE_STATUS
    except OSError as problem:
        if debug or problem.strerror is None:
            raise
        where = f"'{problem.filename}': " if problem.filename else ""
        reason = f"{problem.strerror[:1].lower()}{problem.strerror[1:]}"
        say(f"error: {where}{reason}: check the permissions or choose another location")
        return USAGE_STATUS
    except KeyboardInterrupt as interrupt:
        if debug:
            raise
        say(f"interrupted{f': {interrupt}' if str(interrupt) else ''}")
        return INTERRUPTED_STATUS
