"""Runs the package's commands as a user does, each in a session of its own, and says what went wrong with one."""

import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lenet_multi.data.idx import FILE_NAMES, to_idx
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint

# A command hangs if its processes use less CPU time than PROGRESS in SILENCE seconds, or take longer than PATIENCE.
SILENCE, PROGRESS, PATIENCE = 30, 0.05, 240
TICKS = os.sysconf("SC_CLK_TCK")
QUICK = ("--batch-size", "64", "--activation", "tanh", "--lr", "0.1", "--device", "cpu")
OUT_OF_MEMORY = "error: out of memory"  # of the line that a command prints without enough memory
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


Try = TypeVar("Try")


def row_of(what: str, tries: Iterable[Try], faults_of: Callable[[Try], Sequence[str]], jobs: int) -> Row:
    """A row of tries, `jobs` of them at a time; an exception of a try is a fault."""

    def tried(this: Try) -> Sequence[str]:
        try:
            return faults_of(this)
        except Exception as problem:
            return [f"{this}: {described(problem)}"]

    row = Row(what)
    with ThreadPoolExecutor(jobs) as pool:
        for faults in pool.map(tried, tries):
            row.note(faults)
    return row


def described(problem: BaseException) -> str:
    """The last line of a traceback."""
    return traceback.format_exception_only(problem)[-1].strip()


def write_data(folder: Path, num_train: int = 1500, num_test: int = 200) -> Path:
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


def start(command: str, *arguments: str | Path, **options: Any) -> subprocess.Popen:
    """Start `python -m lenet_multi.COMMAND` in a session of its own."""
    return start_words([sys.executable, "-m", f"lenet_multi.{command}", *map(str, arguments)], **options)


def start_words(words: Sequence[str], **options: Any) -> subprocess.Popen:
    """Start a process in a session of its own, with its output in pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, start_new_session=True, **({"env": ENVIRONMENT} | pipes | options))


def finish(
    process: subprocess.Popen, expected: Sequence[int] = (0,), saying: str = "", silence: float | None = None
) -> list[str]:
    """Wait for a command; its faults: a hang, a traceback, another exit status, or processes that outlive it.

    Args:
        process: from `start`.
        expected: the exit statuses that are right. Status 2 comes with one error line, of whatever but memory.
        saying: what the error line holds.
        silence: seconds without progress until it counts as hanging; SILENCE when None.
    """
    module = re.search(r"lenet_multi[.]\w+", str(process.args))
    name = module[0] if module else "process"
    text, hang = wait_for(process, SILENCE if silence is None else silence)
    if hang:
        return [f"{name}: {hang}"]
    last = (text.strip().splitlines() or ["nothing printed"])[-1]
    faults = []
    if "Traceback" in text:
        faults.append(f"{name}: a traceback: {last}")
    if process.returncode not in expected:
        faults.append(f"{name}: status {process.returncode}, expected {expected}: {last}")
    if process.returncode == 2 and "Traceback" not in text:
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        if len(errors) != 1:
            faults.append(f"{name}: status 2 with {len(errors)} error lines")
        elif saying not in errors[0] or OUT_OF_MEMORY in errors[0]:
            faults.append(f"{name}: another error: {errors[0]}")
    if members := session_members(process.pid):
        kill_session(process.pid)
        faults.append(f"{name}: processes left: {members}")
    return faults


def wait_for(process: subprocess.Popen, silence: float) -> tuple[str, str]:
    """What a command printed on standard error, and how it hung; it is killed then."""
    began = progressed = time.monotonic()
    used = 0.0
    hang = ""
    while True:
        try:
            _, errors = process.communicate(timeout=1)
            return (errors or b"").decode(errors="replace"), hang
        except subprocess.TimeoutExpired:
            now, seconds = time.monotonic(), sum(session_processes(process.pid).values())
            if abs(seconds - used) >= PROGRESS:  # below 0 when a process has ended
                used, progressed = seconds, now
            if now - progressed > silence:
                hang = f"no progress for {silence:g} s"
            elif now - began > PATIENCE:
                hang = f"no end within {PATIENCE} s"
            if hang:
                kill_session(process.pid)


def session_processes(session: int) -> dict[int, float]:
    """The processes of a session that are alive, and the seconds of CPU time that each has used."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != b"Z":
            found[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def session_members(session: int) -> list[int]:
    """The processes of a session that are alive, after a moment to end."""
    for _ in range(50):
        if not session_processes(session):
            return []
        time.sleep(0.1)
    return list(session_processes(session))


def kill_session(session: int) -> None:
    for member in session_processes(session):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def difference(expected: Path, actual: Path) -> list[str]:
    """How the run in one folder differs from that in another; empty if they are equal bit for bit."""
    if not (actual / CHECKPOINT).exists():
        return ["no checkpoint"]
    expected_run, expected_parameters = load_checkpoint(expected)
    try:
        run, parameters = load_checkpoint(actual)
    except UserError as problem:
        return [f"damaged checkpoint: {problem}"]
    faults = [] if run.points == expected_run.points else ["other points"]
    for name, value in expected_parameters.items():
        if name not in parameters or not np.array_equal(parameters[name], value):
            faults.append(f"{name} differs")
    faults += [f"no {name}" for name in ("summary.json", "history.csv", "curves.png") if not (actual / name).exists()]
    return faults + left_in(actual)


def left_in(folder: Path) -> list[str]:
    """The temporary files in a folder."""
    return [f"{path.name} left" for path in folder.rglob("*.part")]
