"""The progress of runs that are trained at the same time: how many are done, running and failed."""

from __future__ import annotations

import re
import sys

from lenet_multi.system.stderr import say

ERASE = "\r\x1b[K"  # go to the start of a terminal's line, and clear it


class Progress:
    """Counts the runs on standard error: in one line of a terminal, else in a line for each run that ends.

    A context manager: at its end the terminal's line is complete.

    Args:
        total: the number of all runs.
        done: of them, those that were complete before.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self.running = self.failed = 0
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._is_shown = False

    @property
    def line(self) -> str:
        return f"done {self.done}, running {self.running}, failed {self.failed} of {self.total}"

    def started(self) -> None:
        self.running += 1
        self._redraw()

    def ended(self, name: str, reason: str | None, printed: str = "") -> None:
        """Count a run that has ended, and pass on its warnings.

        Args:
            name: of the run.
            reason: why it failed, or None.
            printed: what it has printed.
        """
        self.running -= 1
        self.failed += reason is not None
        self.done += reason is None
        self._erase()
        for warning in re.findall("^warning: (.*)$", printed, flags=re.M):
            say(f"warning: {name}: {warning.rstrip()}")
        if reason:
            say(f"failed: {name}: {reason}")
        if not self._on_terminal:
            say(f"{self.line}: {name}")
        self._redraw()

    def _erase(self) -> None:
        if self._is_shown:
            sys.stderr.write(ERASE)
        self._is_shown = False

    def _redraw(self) -> None:
        if self._on_terminal:
            self._erase()
            sys.stderr.write(self.line)
            sys.stderr.flush()
            self._is_shown = True

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\n")
        self._is_shown = False
