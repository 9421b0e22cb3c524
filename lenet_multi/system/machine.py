"""The machine: its processor, cores and memory, and the versions of installed packages."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe_machine(*packages: str) -> str:
    """Processor, cores, memory and Python version in words, then the versions of these packages where installed."""
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
    """The version of an installed or imported package; it may be installed under another name (mxnet-cu112)."""
    try:
        return version(package)
    except PackageNotFoundError:
        return getattr(sys.modules.get(package), "__version__", None)


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
