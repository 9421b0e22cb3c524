"""A command run in a process of its own, which shows what it shows and never outlives this one's interruption."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lenet_multi.process import environment_for_others

PATIENCE = 30  # seconds that an interrupted command has to put away what it has
KEPT = 10_000  # characters of what it printed last


def run_in_process(command: Sequence[str]) -> str | None:
    """Run a command and pass on what it prints, to standard error, as it comes.

    Returns:
        None when it ends well; else what failed, in a line: its own `error: ...`, or how it ended.

    Raises:
        KeyboardInterrupt: on Ctrl-C, when the command has been interrupted too and is gone.
        SystemExit: likewise when this process is asked to end, or its terminal closes.
    """
    reading, writing = _channel()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    printed = ""
    try:
        with _signals_raise():
            try:
                # In a process group of its own: the terminal's Ctrl-C reaches this one alone, which passes it on once.
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=writing,
                    process_group=0,
                    env=environment_for_others(),
                )
            finally:
                os.close(writing)
            try:
                while part := _read(reading):
                    text = decoder.decode(part)
                    sys.stderr.write(text)
                    sys.stderr.flush()
                    printed = (printed + text)[-KEPT:]
                status = child.wait()
            except BaseException:
                if sys.stderr.isatty():
                    sys.stderr.write("\n")  # leave the line of its progress
                _stop(child, reading)
                raise
    finally:
        os.close(reading)
    return _reason(status, printed) if status else None


def _channel() -> tuple[int, int]:
    """Where the command's words are read, and where it writes them.

    A terminal where standard error is one, for progress is shown on terminals alone; else a pipe.
    """
    if not sys.stderr.isatty():
        return os.pipe()
    reading, writing = pty.openpty()
    termios.tcsetwinsize(writing, termios.tcgetwinsize(sys.stderr.fileno()))
    return reading, writing


def _read(descriptor: int) -> bytes:
    """What has come; nothing at the end, which a terminal tells by an error."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def _stop(child: subprocess.Popen, reading: int) -> None:
    """Interrupt a command, let it put away what it has, and see that it ends."""
    deadline = time.monotonic() + PATIENCE
    try:
        child.send_signal(signal.SIGINT)
        # Read on, or it could wait for ever to be read.
        while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0] and _read(reading):
            pass
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let a polite request to end, or the terminal's closing, end this process as an exception does."""

    def end(number: int, _: Any) -> None:
        sys.exit(128 + number)

    in_main = threading.current_thread() is threading.main_thread()  # signals are the main thread's
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP) if in_main}
    try:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:  # under nohup it is ignored, and stays so
                signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reason(status: int, printed: str) -> str:
    """What failed, of a command that did not end with status 0."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return [f"exit status {status}", *lines[-1:], *errors][-1]
