"""The machine: its processor, cores and memory, and the versions of installed packages."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CORES = "LENET_MULTI_CORES"  # the environment variable with this process's share of the cores


def describe_machine(*packages: str) -> str:
    """Processor, cores, memory and Python version in words, then the versions of these packages where installed.

    The memory is left out on Windows.
    """
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        models = [line for line in cpuinfo if line.startswith("model name")]
    except OSError:
        models = []
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {found}" for name in packages if (found := version_of(name))]
    processor = models[0].partition(": ")[2] if models else platform.processor() or platform.machine()
    return f"{processor} with {available_cores()} cores{_and_memory()}; {', '.join(versions)}"


def _and_memory() -> str:
    """` and 24 GiB`; empty where the system does not tell its memory."""
    try:
        return f" and {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf; elsewhere a name may be unknown
        return ""


def version_of(package: str) -> str | None:
    """The version of an installed or imported package; it may be installed under another name (mxnet-cu112)."""
    try:
        return version(package)
    except PackageNotFoundError:
        return getattr(sys.modules.get(package), "__version__", None)


def available_cores() -> int:
    """The number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get(CORES, "")
    return min(cores, int(share)) if re.fullmatch("[1-9][0-9]{0,5}", share) else cores
