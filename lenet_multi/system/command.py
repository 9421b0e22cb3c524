"""Runs a command: a user's error becomes one line on standard error, and every outcome an exit status."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from lenet_multi.errors import UserError
from lenet_multi.system.memory import is_lack_of_memory
from lenet_multi.system.parent_watch import end_with_parent
from lenet_multi.system.stderr import say
from lenet_multi.system.streams import output_error, tolerant_streams

USAGE_STATUS, INTERRUPTED_STATUS = 2, 130


Command = Callable[[Sequence[str] | None], int | None]


def run_command(command: Command, argv: Sequence[str] | None = None, result_is_printed: bool = False) -> int:
    """Run a command and return its exit status.

    A `UserError`, an `OSError` or a lack of memory prints `error: ...` and gives status 2; Ctrl-C gives 130. With
    `LENET_MULTI_DEBUG=1` in the environment errors show their traceback. Standard streams that are closed, full, or
    read by nobody change neither the work nor the status.

    Args:
        command: parses the arguments and does the work; returns the exit status, or None for 0.
        argv: its arguments; those of this process when None.
        result_is_printed: whether standard output is all that the command gives: status 2 if a full device loses it.
    """
    end_with_parent()
    with tolerant_streams():
        status = _run(command, argv)
        reason = output_error()
        if reason and result_is_printed and status == 0:
            say(f"error: standard output is incomplete ({reason}): redirect it to another place")
            return USAGE_STATUS
        if reason:
            say(f"warning: standard output is incomplete ({reason})")
        return status


def _run(command: Command, argv: Sequence[str] | None) -> int:
    try:
        return command(argv) or 0
    except (Exception, KeyboardInterrupt) as problem:
        line = None if os.environ.get("LENET_MULTI_DEBUG") == "1" else _in_one_line(problem)
        if line is None:
            raise
        say(line)
        return INTERRUPTED_STATUS if isinstance(problem, KeyboardInterrupt) else USAGE_STATUS


def _in_one_line(problem: BaseException) -> str | None:
    """What is printed for an exception; None if it shows a fault of the program."""
    if isinstance(problem, UserError):
        return f"error: {' '.join(str(problem).split())}"
    if isinstance(problem, KeyboardInterrupt):
        return f"interrupted{f': {problem}' if str(problem) else ''}"
    if is_lack_of_memory(problem):
        return "error: out of memory: close other programs, or raise the limit (ulimit -v)"
    if isinstance(problem, OSError) and problem.strerror is not None:
        where = f"'{problem.filename}': " if problem.filename else ""
        reason = f"{problem.strerror[:1].lower()}{problem.strerror[1:]}"
        return f"error: {where}{reason}: check the permissions or choose another location"
    return None
