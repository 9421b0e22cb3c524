"""Kills training at any moment, once or twice, and resumes it: it must end as if nothing had happened."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from fault_campaign.commands import PATIENCE, QUICK, Row, difference, finish, row_of, start

from lenet_multi.runs.checkpoint import CHECKPOINT

EPOCHS = 4


def kill_and_resume(backend: str, count: int, data: Path, folder: Path, seed: int, jobs: int) -> Iterator[Row]:
    """A row for runs without a kill, and one for `count` runs that are killed and then resumed to their end."""
    options = ["--backend", backend, "--dataset", str(data), "--epochs", str(EPOCHS), *QUICK]
    whole = folder / f"{backend}-whole-0"
    firsts, ends = [], []  # seconds until the first checkpoint, and until the end

    def undisturbed(number: int) -> list[str]:
        out = folder / f"{backend}-whole-{number}"
        began = time.monotonic()
        process = start("train", *options, "--out", out)
        while not (out / CHECKPOINT).exists() and process.poll() is None and time.monotonic() - began < PATIENCE:
            time.sleep(0.01)
        firsts.append(time.monotonic() - began)
        faults = finish(process)
        ends.append(time.monotonic() - began)
        return faults

    # As many at a time as later, so that the moments below are those of runs that share the machine.
    yield row_of(f"{backend}: trained without a kill", range(jobs), undisturbed, jobs)
    moments = (0.8 * min(firsts), 1.1 * max(ends))

    def faults_of(number: int) -> list[str]:
        out = folder / f"{backend}-{number}"
        faults = disturb(out, random.Random(f"{seed} {backend} {number}"), options, moments)
        return [f"{out.name}: {fault}" for fault in faults + difference(whole, out)]

    yield row_of(f"{backend}: killed while it trains, then resumed", range(count), faults_of, jobs)


def disturb(out: Path, rng: random.Random, options: list[str], moments: tuple[float, float]) -> list[str]:
    """Kill a run once or twice, each time between two moments in seconds after its start, then let it end."""
    faults = []
    for _ in range(rng.choice((1, 2))):
        process = start("train", *continuing(out, options))
        time.sleep(rng.uniform(*moments))
        process.send_signal(signal.SIGKILL)
        faults += finish(process, expected=(0, -signal.SIGKILL))
    return faults + finish(start("train", *continuing(out, options)))


def continuing(out: Path, options: list[str]) -> list[str]:
    """The arguments that resume a run, or start it if it has no checkpoint yet."""
    return ["--resume", "--out", str(out)] if (out / CHECKPOINT).exists() else [*options, "--out", str(out)]
