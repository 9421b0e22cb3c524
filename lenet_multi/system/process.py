"""This process: the time since its start, its peak memory, and the environment of its child processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IMPORTED = time.monotonic()


def seconds_since_process_start() -> float:
    """Wall-clock seconds since this process started; outside Linux, since this package was imported."""
    try:
        # Field 22, counted after the command's name, which may hold spaces: start in clock ticks since boot.
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _IMPORTED


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in MB (10**6 bytes); None on Windows, where Python cannot tell."""
    try:
        # getrusage would include the memory that the parent process held when it started this one.
        status = Path("/proc/self/status").read_bytes()
        return int(status.partition(b"VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def limit_openmp_spinning() -> None:
    """Make OpenMP's idle threads sleep early. Call it before a framework is imported.

    By default GNU's OpenMP threads spin while they wait. One other busy program on the machine then makes PyTorch and
    MXNet train many times slower.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


_SET_HERE: set[str] = set()


@contextmanager
def track_environment_changes() -> Iterator[None]:
    """Record the environment variables that the block sets: they are meant for this process only."""
    before = set(os.environ)
    try:
        yield
    finally:
        _SET_HERE.update(set(os.environ) - before)


def child_environment() -> dict[str, str]:
    """The environment for a child process: without the variables that backends set for their frameworks here."""
    return {name: value for name, value in os.environ.items() if name not in _SET_HERE}
