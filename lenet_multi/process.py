"""What this process has used so far, time since its start and memory; and the machine that it runs on."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_IMPORTED = time.monotonic()


def seconds_since_process_start() -> float:
    """Wall-clock seconds since this process started; elsewhere than on Linux, since this package was imported."""
    try:
        # Field 22, counted after the command's name, which may hold spaces: start in clock ticks since boot.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _IMPORTED


def peak_rss_mb() -> float:
    """The most memory that this process has held at once, in MB (10**6 bytes)."""
    try:
        # getrusage would also count what the parent process held before it started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def share_cores() -> None:
    """Let OpenMP's threads sleep soon when they wait; to be called before a framework is imported.

    By itself GNU's OpenMP has them wait busily, at the cost of what else wants the cores: one other busy program, and
    PyTorch and MXNet train many times slower.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


_OWN_SETTINGS: set[str] = set()


@contextmanager
def own_settings() -> Iterator[None]:
    """Note which environment variables are set meanwhile: they are for this process alone."""
    before = set(os.environ)
    try:
        yield
    finally:
        _OWN_SETTINGS.update(set(os.environ) - before)


def environment_for_others() -> dict[str, str]:
    """The environment for a process that this one starts: without what backends have set for their frameworks here."""
    return {name: value for name, value in os.environ.items() if name not in _OWN_SETTINGS}


def describe_machine(*packages: str) -> str:
    """The machine in words: processor, cores, memory, Python, and the versions of these packages, if they are there."""
    try:
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        models = []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {found}" for name in packages if (found := version_of(name))]
    processor = models[0].partition(": ")[2] if models else platform.processor() or platform.machine()
    return f"{processor} with {available_cores()} cores and {memory:.0f} GiB; {', '.join(versions)}"


def version_of(package: str) -> str | None:
    """The version of an imported or installed package; a package may be installed under another name (mxnet-cu112)."""
    try:
        return version(package)
    except PackageNotFoundError:
        return getattr(sys.modules.get(package), "__version__", None)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
