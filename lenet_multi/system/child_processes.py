"""Child processes: run a command, pass on its output, and stop it when this process is interrupted or killed."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from lenet_multi.system.parent_watch import PARENT_PIPE
from lenet_multi.system.process import child_environment
from lenet_multi.system.signals import exit_on_termination

SHUTDOWN_SECONDS = 30  # how long an interrupted command may take to save its work
KEPT_CHARACTERS = 10_000  # of its latest output, to find the error message in
# False on Windows: there Ctrl-C reaches this process and the command, one process cannot interrupt another, and a
# command inherits no descriptors.
ON_POSIX = hasattr(os, "setpgid")


def run_in_process(command: Sequence[str]) -> str | None:
    """Run a command and copy its output to standard error as it appears.

    A command of this package ends with this process, even if this process is killed; on Windows it does not.

    Returns:
        None on success; else the reason for the failure in one line: the command's own `error: ...`, or its status.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after the command has been interrupted too and has ended.
        SystemExit: likewise on SIGTERM, or when the terminal closes.
    """
    reading, writing = _channel()
    parent_pipe = os.pipe() if ON_POSIX else ()  # the command ends when this process no longer holds the second end
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    printed = ""
    try:
        with exit_on_termination():
            try:
                # A separate process group: Ctrl-C in the terminal reaches this process only, which passes it on once.
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=writing,
                    process_group=0 if ON_POSIX else None,
                    pass_fds=parent_pipe[:1],
                    env=child_environment()
                    | {"PYTHONIOENCODING": "utf-8"}  # else the locale's, unlike `decoder`
                    | ({PARENT_PIPE: str(parent_pipe[0])} if parent_pipe else {}),
                )
            finally:
                os.close(writing)
            try:
                while part := _read(reading):
                    text = decoder.decode(part)
                    if sys.stderr is not None:
                        sys.stderr.write(text)
                        sys.stderr.flush()
                    printed = (printed + text)[-KEPT_CHARACTERS:]
                status = child.wait()
            except BaseException:
                if _is_terminal():
                    sys.stderr.write("\n")  # end the line of its progress bar
                _stop(child, reading)
                raise
    finally:
        for descriptor in (reading, *parent_pipe):
            os.close(descriptor)
    return _failure_reason(status, printed) if status else None


def _channel() -> tuple[int, int]:
    """File descriptors to read the command's output from, and for the command to write to.

    A pseudo-terminal if standard error is a terminal, so that the command shows its progress bar; else, and on Windows,
    a pipe.
    """
    if not _is_terminal():
        return os.pipe()
    try:
        import pty
        import termios
    except ImportError:
        return os.pipe()
    reading, writing = pty.openpty()
    termios.tcsetwinsize(writing, termios.tcgetwinsize(sys.stderr.fileno()))
    return reading, writing


def _is_terminal() -> bool:
    """Whether standard error is a terminal. A program may have no standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def _read(descriptor: int) -> bytes:
    """Read some output; empty at the end, which a pseudo-terminal reports as an error."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def _stop(child: subprocess.Popen, reading: int) -> None:
    """Interrupt a command, let it save its work, and kill it if it does not end in time."""
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    try:
        if ON_POSIX:
            child.send_signal(signal.SIGINT)
            # Keep reading: a full pipe would block the command. On Windows, `select` takes no pipes.
            while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0] and _read(reading):
                pass
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _failure_reason(status: int, printed: str) -> str:
    """Why a command with a status other than 0 failed."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return [f"exit status {status}", *lines[-1:], *errors][-1]
