"""Standard streams of a command that may be closed, full, or read by nobody.

What cannot be printed is lost, and nothing else: a command does its work, writes its files, and keeps its exit status.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Nobody reads the pipe any longer, as in `| head`: no error. On Windows it is EINVAL.
UNREAD = (errno.EPIPE, errno.EINVAL)


class _TolerantWriter(io.RawIOBase):
    """Writes to an unbuffered file, drops what it does not take, and keeps the first reason."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.problem: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest:
                written = self._file.write(rest)
                if written is None:  # the file is a pipe that does not block, and full
                    select.select([], [self._file], [])
                rest = rest[written or 0 :]
        except OSError as problem:
            self.problem = self.problem or problem
        return len(data)


class _TolerantStream(io.TextIOWrapper):
    """A text stream that loses what cannot be written."""

    def __init__(self, file: Any, buffered: bool, **settings: Any) -> None:
        self.writer = _TolerantWriter(file)
        super().__init__(io.BufferedWriter(self.writer) if buffered else self.writer, **settings)  # type: ignore[arg-type]


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Make printing safe in the block: it raises nothing, whatever standard output and standard error are.

    - A closed descriptor from 0 to 2 is opened on the null device, for good. Otherwise the next file of the process
      takes its place, and what a framework or a child process prints lands in that file.
    - Output that cannot be written is dropped.
    - Characters that the encoding lacks, and bytes of file names that are not UTF-8, are escaped.

    Streams that a program has replaced, as notebooks and tests do, are left as they are.
    """
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _tolerant(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _tolerant(sys.stderr, 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _TolerantStream):
                stream.flush()
        sys.stdout, sys.stderr = before


def output_error() -> str | None:
    """Why standard output is incomplete, in a few words, once; None if it is complete, or nobody read it."""
    if not isinstance(sys.stdout, _TolerantStream):
        return None
    sys.stdout.flush()
    problem, sys.stdout.writer.problem = sys.stdout.writer.problem, None
    if problem is None or problem.errno in UNREAD:
        return None
    reason = problem.strerror or str(problem)
    return f"{reason[:1].lower()}{reason[1:]}"


def _open_missing_descriptors() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The system takes the lowest free number. Child processes shall have it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _tolerant(stream: Any, descriptor: int) -> _TolerantStream:
    """A stream that writes to the same file as `stream`, or to the descriptor if it is None."""
    if stream is None:
        opened = io.FileIO(descriptor, "w", closefd=False)
        return _TolerantStream(opened, buffered=False, encoding="utf-8", errors="backslashreplace", write_through=True)
    with suppress(OSError):
        stream.flush()
    file = getattr(stream.buffer, "raw", None)
    return _TolerantStream(
        file or stream.buffer,  # with `python -u` it has no buffer
        buffered=file is not None,
        encoding=stream.encoding,
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
