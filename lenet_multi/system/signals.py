"""Signals: ignoring Ctrl-C for a moment, and exiting cleanly when this process is asked to end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Windows has no SIGHUP.
TERMINATION_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Ignore Ctrl-C while files that belong together are written."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def exit_on_termination() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that cleanup code runs."""

    def end(number: int, _: Any) -> None:
        sys.exit(128 + number)

    in_main = threading.current_thread() is threading.main_thread()  # only the main thread may set signal handlers
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS if in_main}
    try:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:  # under nohup it stays ignored
                signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
