"""The memory that this process can still get: what the machine, its control groups and its resource limits leave.

The numbers are generous: they count free swap space, and memory of the page cache, which the system gives back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lenet_multi.errors import UserError

ROOT = Path("/")
# How the system, Python and compiled libraries report that memory is lacking, or address space for a thread. The loader
# names a cause, such as a forbidden operation, unless there is no memory.
LACK_OF_MEMORY = re.compile(
    r"(?i)out of memory|OOM when allocating|can(no|')t allocate|failed to allocate|alloc\w* failed|bad_?alloc"
    r"|can't start new thread|failed to map segment from shared object$"
)


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process can still allocate; None where the system does not tell, as on Windows and macOS.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    left = [*_left_on_machine(root), *_left_in_control_groups(root), *_left_by_limits(root).values()]
    return max(min(left), 0) if left else None


def address_space_left(root: Path = ROOT) -> int | None:
    """Bytes of address space that this process can still map under its limit (`ulimit -v`); None without a limit."""
    return _left_by_limits(root).get("RLIMIT_AS")


def require_bytes(size: int, what: str, advice: str) -> None:
    """Check that this many bytes can be allocated.

    Args:
        size: the bytes.
        what: what needs them, the subject of the error.
        advice: what to do, the end of the error.

    Raises:
        UserError: if they are not available.
    """
    available = available_memory()
    if available is not None and size > available:
        raise UserError(f"{what} needs about {in_words(size)}, but {in_words(available)} are available: {advice}")


def is_lack_of_memory(problem: BaseException) -> bool:
    """Whether an exception says that memory is lacking: compiled libraries raise many kinds for it."""
    return isinstance(problem, MemoryError) or LACK_OF_MEMORY.search(" ".join(str(problem).split())) is not None


def in_words(size: int) -> str:
    """`8.1 GB`, `312 MB`."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _numbers(path: Path) -> dict[str, int]:
    """The lines `name number` or `name: number kB` of a file, in bytes; none if it cannot be read."""
    try:
        lines = [line.replace(":", " ").split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return {}
    return {
        line[0]: int(line[1]) * (1024 if line[2:] == ["kB"] else 1)
        for line in lines
        if len(line) > 1 and line[1].isdecimal()
    }


def _left_on_machine(root: Path) -> Iterator[int]:
    meminfo = _numbers(root / "proc/meminfo")
    if "MemAvailable" in meminfo:
        yield meminfo["MemAvailable"] + meminfo.get("SwapFree", 0)


def _left_in_control_groups(root: Path) -> Iterator[int]:
    """What the limit of each group that holds this process leaves; the groups contain each other."""
    swap = _numbers(root / "proc/meminfo").get("SwapFree", 0)
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for group in groups:
        _, controllers, name = group.split(":", 2)
        if controllers == "":  # version 2
            top, limit_file, used = root / "sys/fs/cgroup", "memory.max", "anon"
        elif "memory" in controllers.split(","):
            top, limit_file, used = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss"
        else:
            continue
        # In a container the group's own folder may be missing: its limit is then at the top.
        folder = top / name.lstrip("/")
        for place in (folder, *folder.parents):
            try:
                limit = (place / limit_file).read_text(encoding="utf-8").strip()
            except OSError:
                limit = "max"
            if limit.isdecimal():
                yield int(limit) - _numbers(place / "memory.stat").get(used, 0) + swap
            if place == top:
                break


def _left_by_limits(root: Path) -> dict[str, int]:
    """What the resource limits of this process leave, by the name of the limit."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    used = _numbers(root / "proc/self/status")
    left = {}
    for name, usage in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
        limit, _ = resource.getrlimit(getattr(resource, name))
        if usage in used and limit != resource.RLIM_INFINITY:
            left[name] = limit - used[usage]
    return left
