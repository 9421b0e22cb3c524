"""Kills one of several workers at any moment: the others must end, and the run must go on with another number."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fault_campaign.commands import (
    PATIENCE,
    QUICK,
    Row,
    finish,
    row_of,
    session_members,
    start,
    start_words,
    wait_for,
)

from lenet_multi.checks.measurement import relative_error
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint

EPOCHS = 60
END_SECONDS = 30  # for the other workers, after one was killed
TOLERANCE = 1e-3  # of parameters, as in the tests, but after many more steps


def killed_workers(backend: str, count: int, data: Path, folder: Path, seed: int) -> Iterator[Row]:
    """A row for a run in one process, and for each way of starting workers one for `count` runs."""
    # Few steps in an epoch: rounding errors grow from step to step.
    options = ["--backend", backend, "--dataset", str(data), "--epochs", str(EPOCHS), *QUICK, "--batch-size", "500"]
    whole = folder / f"{backend}-one-process"
    yield row_of(f"{backend}: trained in one process", [0], lambda _: train_alone(options, whole), jobs=1)
    for starter in ("launch", "torchrun") if backend == "torch" else ("launch",):

        def faults_of(number: int, starter: str = starter) -> list[str]:
            rng = random.Random(f"{seed} {backend} {starter} {number}")
            out = folder / f"{backend}-{starter}-{number}"
            faults = disturb(starter, options, out, rng)
            return [f"{out.name}: {fault}" for fault in faults + difference(whole, out)]

        title = f"{backend}: a worker killed under {starter}, then resumed with another number of workers"
        yield row_of(title, range(count), faults_of, jobs=1)


def train_alone(options: list[str], out: Path) -> list[str]:
    return finish(start("train", *options, "--out", out))


def disturb(starter: str, options: list[str], out: Path, rng: random.Random) -> list[str]:
    """Kill a worker between its start and the end of the run, and resume the run."""
    train = ["--out", str(out), *options]
    process = start_words(words_of(starter, 2, train))
    wait_for_checkpoint(process, out)
    time.sleep(rng.uniform(0, 1.5))
    workers = workers_of(process.pid)
    if not workers:
        return [*finish(process), "the run ended before a worker could be killed"]
    with suppress(ProcessLookupError):
        os.kill(rng.choice(workers), signal.SIGKILL)
    began = time.monotonic()
    text, hang = wait_for(process, silence=END_SECONDS)
    seconds = time.monotonic() - began
    faults = [hang] if hang else []
    if seconds > END_SECONDS:
        faults.append(f"the other workers ended after {seconds:.0f} s")
    if process.returncode != 0 and starter == "launch":
        told = [line for line in text.splitlines() if line.startswith("error: ")]
        if len(told) != 1 or "was killed by SIGKILL" not in told[0]:
            faults.append(f"{len(told)} error lines: {told}")
    if left := [pid for pid in (*workers, *session_members(process.pid)) if is_running(pid)]:
        faults.append(f"processes left: {left}")
    resume = ["--resume", "--out", str(out), "--device", "cpu"]
    workers_then = rng.choice((1, 2, 3))
    if workers_then == 1:
        return faults + finish(start("train", *resume))
    return faults + finish(start("launch", "--workers", str(workers_then), "--", "train", *resume))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def words_of(starter: str, num_workers: int, train: list[str]) -> list[str]:
    """The command that starts workers."""
    python = [sys.executable, "-m"]
    if starter == "launch":
        return [*python, "lenet_multi.launch", "--workers", str(num_workers), "--", "train", *train]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(num_workers)]
    return [*python, *torchrun, "-m", "lenet_multi.train", *train]


def wait_for_checkpoint(process: subprocess.Popen, out: Path) -> None:
    """Wait until the run has begun: a worker that is killed earlier leaves nothing to resume."""
    began = time.monotonic()
    while not (out / CHECKPOINT).exists() and process.poll() is None and time.monotonic() - began < PATIENCE:
        time.sleep(0.01)


def workers_of(starter: int) -> list[int]:
    """The processes that a command has started and that train. MXNet's scheduler and server are not among them."""
    found = []
    for pid in descendants(starter):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        roles = {variable for variable in variables if variable.startswith(b"DMLC_ROLE=")}
        if b"lenet_multi.train" in words and roles <= {b"DMLC_ROLE=worker"}:
            found.append(pid)
    return sorted(found)


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have started; torchrun gives each a session."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    found: set[int] = set()
    level = {pid}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found |= level
    return found


def difference(expected: Path, actual: Path) -> list[str]:
    """How the parameters of a run differ from those of a run in one process."""
    if not (actual / CHECKPOINT).exists():
        return ["no checkpoint"]
    (_, parameters), (run, found) = load_checkpoint(expected), load_checkpoint(actual)
    faults = [] if run.epochs_done == EPOCHS else [f"{run.epochs_done} epochs"]
    for name, value in parameters.items():
        error = relative_error(found[name], value, least=0.1)
        if not error < TOLERANCE:
            faults.append(f"{name} differs by {error:.1e}")
    return faults
