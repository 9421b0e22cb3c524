"""Processes that share a machine: the cores of each, and how it knows of the others."""

from __future__ import annotations

import os
import re

from lenet_multi.backends import THREAD_VARIABLES
from lenet_multi.system.machine import CORES, available_cores

# By default glibc returns the memory of large arrays to the system at once, and the
# next batch gets new pages that the system fills with zeros. Where all cores are busy,
# this time is missing elsewhere, most of all in PyTorch.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}
JOBS, NODE = "LENET_MULTI_JOBS", "LENET_MULTI_NODE"
LONGEST_NODE = 64  # characters of a host's name on Linux


def cores_each(num_processes: int) -> int:
    """The cores of each process if several share those of this one; at least 1."""
    return max(1, available_cores() // num_processes)


def thread_variables(num_threads: int) -> dict[str, str]:
    """The environment variables that give a process this many threads.

    Where the user has set one of them, it keeps its value.
    """
    return {
        name: os.environ.get(name, str(num_threads))
        for name in THREAD_VARIABLES.values()
    }


def job_variables(num_threads: int, jobs: int, node: str = "") -> dict[str, str]:
    """The environment of a training process that may share its machine.

    Args:
        num_threads: the cores that it may use.
        jobs: how many such processes may run on its machine at a time.
        node: the name of its machine, if that is not the one that runs the comparison.
    """
    kept = {name: os.environ.get(name, value) for name, value in KEEP_MEMORY.items()}
    own = {CORES: str(num_threads), JOBS: str(jobs), NODE: node[:LONGEST_NODE]}
    return thread_variables(num_threads) | kept | own


def jobs_at_a_time() -> int:
    """How many training processes may run on this machine at a time.

    The process that started this one says it.
    """
    text = os.environ.get(JOBS, "")
    return int(text) if re.fullmatch("[1-9][0-9]{0,5}", text) else 1


def node_name() -> str:
    """The name of this machine in a cluster.

    It is empty if this process was not started for a cluster.
    """
    name = os.environ.get(NODE, "")
    return name[:LONGEST_NODE] if name.isprintable() else ""
