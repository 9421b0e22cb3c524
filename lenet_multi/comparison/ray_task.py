"""A case on a node of a Ray cluster: trains it in a temporary folder there, and returns the files of its run."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from lenet_multi.backends import THREAD_VARIABLES
from lenet_multi.backends.sharing import job_variables
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT
from lenet_multi.runs.options import DEFAULTS, run_parser
from lenet_multi.runs.selection import dataset_from, shape_of_weights
from lenet_multi.system.child_processes import run_quietly
from lenet_multi.system.machine import version_of

PACKAGE = "lenet-multi"
Files = dict[str, bytes]  # content by path in the run's folder


@dataclass(frozen=True)
class RemoteCase:
    """A case as it travels to a node.

    Args:
        name: of the run.
        folder: of the run, on the machine that runs the comparison; for messages.
        arguments: of `train`, without `--out` and `--weights`.
        files: those of the run if it is resumed.
        weights: name and content of the file that the run starts from.
        uses_gpu: whether it may be trained on a GPU.
    """

    name: str
    folder: str
    arguments: list[str]
    files: Files
    weights: tuple[str, bytes] | None
    uses_gpu: bool


@dataclass(frozen=True)
class Terms:
    """The settings that all cases share.

    Args:
        digest: of the data.
        version: of this package where the comparison runs.
        threads: the numbers of threads that the user has set, by environment variable.
        num_threads: the cores of a case.
        jobs: how many cases run at a time on this machine; 0 for a cluster, whose nodes the runs name.
        cores: the cores that Ray has on each node of a cluster, by its id.
    """

    digest: str
    version: str | None
    threads: dict[str, str] = field(
        default_factory=lambda: {name: os.environ[name] for name in THREAD_VARIABLES.values() if name in os.environ}
    )
    num_threads: int = 1
    jobs: int = 0
    cores: Mapping[str, int] = field(default_factory=dict)

    def at_a_time(self, node_id: str) -> int:
        """How many cases may run at a time on a node, as far as anyone there can tell: Ray may not have all cores."""
        return self.jobs or max(1, max(self.cores.get(node_id, 0), os.cpu_count() or 1) // self.num_threads)


class Setup(NamedTuple):
    """What the comparison asks for: see `case_runs.SweepEngine`."""

    jobs: int | None
    address: str | None
    terms: Terms


@dataclass(frozen=True)
class Outcome:
    """How a case ended: the reason why it failed, or None; what it printed at the end; the files of its run."""

    reason: str | None
    printed: str = ""
    files: Files = field(default_factory=dict)


def train_case(case: RemoteCase, terms: Terms, node_id: str) -> Outcome:
    """Train a case on this node.

    Args:
        case: the run to train.
        terms: those of all cases.
        node_id: of this node.
    """
    host = socket.gethostname()
    with TemporaryDirectory(prefix="lenet_multi-") as temporary:
        out = Path(temporary, "run")
        arguments = [*case.arguments, f"--out={out}"]
        if case.weights:
            name, content = case.weights
            Path(temporary, name).write_bytes(content)
            arguments.append(f"--weights={Path(temporary, name)}")
        try:
            require_same_package(terms.version)
            if not case.files:  # the checkpoint of a resumed run has the digest
                require_same_data(tuple(arguments), terms.digest)
        except UserError as problem:
            return Outcome(f"node {host}: {problem}")
        for name, content in case.files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
        node = "" if terms.jobs else host
        variables = job_variables(terms.num_threads, terms.at_a_time(node_id), node) | terms.threads
        # Ray's processes block it, and those that they start inherit that.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            reason, printed = run_quietly([sys.executable, "-m", "lenet_multi.train", *arguments], variables)
        except KeyboardInterrupt:  # the comparison has been interrupted; the run has saved its last epoch
            return Outcome("interrupted", files=files_of(out))
        reason = reason and reason.replace(str(out), case.folder)
        return Outcome(reason, printed.replace(str(out), case.folder), files_of(out))


def require_same_package(version: str | None) -> None:
    """Check that this node has the version of this package that runs the comparison.

    Raises:
        UserError: when it has another one.
    """
    if version_of(PACKAGE) != version:
        raise UserError(f"{PACKAGE} is {version_of(PACKAGE)} here, but {version} where compare runs: install that")


def require_same_data(arguments: tuple[str, ...], digest: str) -> None:
    """Check that the options select the same data on this node.

    Raises:
        UserError: when they do not, or the data cannot be loaded.
    """
    data = tuple(text for text in arguments if not text.startswith(("--out=", "--seed=", "--lr=")))
    if digest_of(data) != digest:
        raise UserError("the data set differs from that of the comparison: copy the same files to each node")


@cache
def digest_of(arguments: tuple[str, ...]) -> str:
    """The digest of the data that options of `train` select; this process reads them once."""
    args = run_parser("python -m lenet_multi.train", "").parse_args(arguments)
    return dataset_from(args, DEFAULTS["dataset"], shape=shape_of_weights(args.weights)).digest


def files_of(folder: Path) -> Files:
    """The files of a run; none if it has no checkpoint."""
    if not (folder / CHECKPOINT).exists():
        return {}
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".part")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
