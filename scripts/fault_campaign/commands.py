"""Runs the package's commands as a user does, each in a session of its own, and says what went wrong with one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenet_multi.data.idx import FILE_NAMES, to_idx
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint

PATIENCE = 180  # seconds, imports included, until a command counts as hanging
QUICK = ("--batch-size", "64", "--activation", "tanh", "--lr", "0.1", "--device", "cpu")
# As in a terminal: without what this process's frameworks have set for themselves.
SET_HERE = ("OMP_", "TF_", "MXNET_", "GOMP_")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(SET_HERE)}


@dataclass
class Row:
    """A line of the campaign's table: what was tried, how often, and what was found, a text for each fault."""

    what: str
    tries: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, faults: Sequence[str]) -> None:
        """Count a try with the faults that it showed."""
        self.tries += 1
        self.faults += faults


def write_data(folder: Path, num_train: int = 4000, num_test: int = 500) -> Path:
    """A data set of noise with a bright square at a place that depends on the label."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for which, number in (("train", num_train), ("test", num_test)):
        labels = rng.integers(0, 10, number, dtype=np.uint8)
        images = rng.integers(0, 60, (number, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[9 * row : 9 * row + 8, 7 * column : 7 * column + 6] += 180
        (folder / FILE_NAMES[f"{which} images"]).write_bytes(to_idx(images))
        (folder / FILE_NAMES[f"{which} labels"]).write_bytes(to_idx(labels))
    return folder


def start(command: str, *arguments: str | Path, **options) -> subprocess.Popen:
    """Start `python -m lenet_multi.COMMAND` in a session of its own."""
    words = [sys.executable, "-m", f"lenet_multi.{command}", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, start_new_session=True, env=ENVIRONMENT, **(pipes | options))


def finish(process: subprocess.Popen, expected: Sequence[int] = (0,)) -> list[str]:
    """Wait for a command; its faults: a hang, a traceback, another exit status, or processes that outlive it."""
    name = " ".join(map(str, process.args[2:4]))
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        process.communicate()
        return [f"{name}: no end within {PATIENCE} s"]
    text = (errors or b"").decode(errors="replace")
    faults = []
    if "Traceback" in text:
        faults.append(f"{name}: a traceback: {text.strip().splitlines()[-1]}")
    if process.returncode not in expected:
        last = (text.strip().splitlines() or ["nothing printed"])[-1]
        faults.append(f"{name}: status {process.returncode}, expected {expected}: {last}")
    if process.returncode == 2 and "Traceback" not in text:
        errors_printed = [line for line in text.splitlines() if line.startswith("error: ")]
        if len(errors_printed) != 1:
            faults.append(f"{name}: status 2 with {len(errors_printed)} error lines")
    if members := session_members(process.pid):
        kill_session(process.pid)
        faults.append(f"{name}: processes left: {members}")
    return faults


def session_members(session: int) -> list[int]:
    """The processes of a session that are alive, after a moment to end."""
    for _ in range(50):
        members = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != b"Z":
                members.append(int(stat.parent.name))
        if not members:
            return []
        time.sleep(0.1)
    return members


def kill_session(session: int) -> None:
    for member in session_members(session):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def difference(expected: Path, actual: Path) -> list[str]:
    """How the run in one folder differs from that in another; empty if they are equal bit for bit."""
    if not (actual / CHECKPOINT).exists():
        return ["no checkpoint"]
    (expected_run, expected_parameters), (run, parameters) = load_checkpoint(expected), load_checkpoint(actual)
    faults = [] if run.points == expected_run.points else ["other points"]
    for name, value in expected_parameters.items():
        if not np.array_equal(parameters[name], value):
            faults.append(f"{name} differs")
    faults += [f"no {name}" for name in ("summary.json", "history.csv", "curves.png") if not (actual / name).exists()]
    return faults + left_in(actual)


def left_in(folder: Path) -> list[str]:
    """The temporary files in a folder."""
    return [f"{path.name} left" for path in folder.rglob("*.part")]
