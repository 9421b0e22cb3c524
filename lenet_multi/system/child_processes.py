"""Child processes: run commands, read their output, and stop them when this process is interrupted or killed."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from lenet_multi.system.parent_watch import PARENT_PIPE
from lenet_multi.system.process import child_environment
from lenet_multi.system.signals import exit_on_termination

SHUTDOWN_SECONDS = 30  # how long an interrupted command may take to save its work
KEPT_CHARACTERS = 10_000  # of its latest output, to find the error message in
# False on Windows: there Ctrl-C reaches this process and the command, one process cannot interrupt another, and a
# command inherits no descriptors.
ON_POSIX = hasattr(os, "setpgid")


class ChildProcess:
    """A running command, whose output can be read as it appears. A context manager that ends with the command.

    A command of this package ends with this process, even if this process is killed; on Windows it does not.

    Args:
        command: its words.
        variables: environment variables of the command, besides those of this process.
        on_terminal: whether the command sees a terminal if standard error is one, so that it shows its progress bar.
        pass_fds: file descriptors of this process that the command has too.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
        on_terminal: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._reading, writing = _channel() if on_terminal else os.pipe()
        # The command ends when this process no longer holds the second end.
        self._parent_pipe = os.pipe() if ON_POSIX else ()
        self.printed = ""
        try:
            # A separate process group: Ctrl-C in the terminal reaches this process only, which passes it on once.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                process_group=0 if ON_POSIX else None,
                pass_fds=(*self._parent_pipe[:1], *pass_fds),
                env=child_environment()
                | {"PYTHONIOENCODING": "utf-8"}  # else the locale's, unlike the decoder
                | ({PARENT_PIPE: str(self._parent_pipe[0])} if self._parent_pipe else {})
                | dict(variables or {}),
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(writing)

    def output(self) -> Iterator[str]:
        """The command's output in parts, until it ends. `printed` keeps the latest of it."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while part := _read(self._reading):
            text = decoder.decode(part)
            self.printed = (self.printed + text)[-KEPT_CHARACTERS:]
            yield text

    def read_all(self) -> None:
        """Read the command's output until it ends."""
        for _ in self.output():
            pass

    def failure(self) -> str | None:
        """Wait for the end of the command; why it failed, in one line, or None."""
        status = self._process.wait()
        return _failure_reason(status, self.printed) if status else None

    def interrupt(self) -> None:
        """Ask the command to save its work and end. On Windows the terminal has done so."""
        if ON_POSIX:
            self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """Interrupt the command, let it save its work, and kill it if it does not end in time."""
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        try:
            self.interrupt()
            # Keep reading: a full pipe would block the command. On Windows, `select` takes no pipes.
            while ON_POSIX and select.select([self._reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
                if not _read(self._reading):
                    break
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self, with_group: bool = False) -> None:
        """End the command at once, and wait for that.

        Args:
            with_group: whether all processes end that the command has started, and that are still in its group.
        """
        if with_group:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Give up the pipes to the command."""
        for descriptor in (self._reading, *self._parent_pipe):
            os.close(descriptor)

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.close()


def run_in_process(command: Sequence[str]) -> str | None:
    """Run a command and copy its output to standard error as it appears.

    A command of this package ends with this process, even if this process is killed; on Windows it does not.

    Returns:
        None on success; else the reason for the failure in one line: the command's own `error: ...`, or its status.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after the command has been interrupted too and has ended.
        SystemExit: likewise on SIGTERM, or when the terminal closes.
    """
    with exit_on_termination(), ChildProcess(command, on_terminal=True) as child:
        try:
            for text in child.output():
                if sys.stderr is not None:
                    sys.stderr.write(text)
                    sys.stderr.flush()
            return child.failure()
        except BaseException:
            if _is_terminal():
                sys.stderr.write("\n")  # end the line of its progress bar
            child.stop()
            raise


def run_quietly(command: Sequence[str], variables: Mapping[str, str] | None = None) -> tuple[str | None, str]:
    """Run a command of this package and show nothing of its output.

    Returns:
        None or the reason for the failure, as `run_in_process`, and the latest of its output.

    Raises:
        KeyboardInterrupt: as `run_in_process`; also if another thread has interrupted this one.
    """
    child = ChildProcess(command, variables)
    reader = threading.Thread(target=child.read_all, daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(0.1)  # an interrupt by another thread does not wake this one
    except BaseException:
        stop_all([child], [reader])
        raise
    with child:
        return child.failure(), child.printed


def stop_all(children: Sequence[ChildProcess], readers: Sequence[threading.Thread]) -> None:
    """Interrupt commands, let them save their work, and kill those that do not end in time.

    Args:
        children: the commands; they are closed.
        readers: threads that read their output, until it ends.
    """
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    try:
        for child in children:
            child.interrupt()
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))
    finally:
        for child in children:
            child.kill()
        for reader in readers:
            reader.join(1)
        for child in children:
            child.close()


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


def _failure_reason(status: int, printed: str) -> str:
    """Why a command with a status other than 0 failed."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return [f"exit status {status}", *lines[-1:], *errors][-1]
