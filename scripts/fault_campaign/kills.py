"""Kills training at any moment, once or twice, and resumes it: it must end as if nothing had happened."""

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fault_campaign.commands import PATIENCE, QUICK, Row, difference, finish, start

from lenet_multi.runs.checkpoint import CHECKPOINT

EPOCHS = 4


def kill_and_resume(backends: list[str], count: int, data: Path, folder: Path, seed: int, jobs: int) -> Iterator[Row]:
    """A row for each backend: `count` runs, each killed once or twice and then resumed to its end."""
    for backend in backends:
        options = ["--backend", backend, "--dataset", str(data), "--epochs", str(EPOCHS), *QUICK]
        whole = folder / f"{backend}-whole"
        row = Row(f"{backend}: killed while it trains, then resumed")
        began = time.monotonic()
        process = start("train", *options, "--out", whole)
        while not (whole / CHECKPOINT).exists() and process.poll() is None and time.monotonic() - began < PATIENCE:
            time.sleep(0.01)
        first = time.monotonic() - began
        row.faults += finish(process)
        seconds = time.monotonic() - began

        moments = (0.8 * first, 1.1 * seconds)
        tries = [
            (folder / f"{backend}-{number}", random.Random(f"{seed} {backend} {number}")) for number in range(count)
        ]
        with ThreadPoolExecutor(jobs) as pool:
            results = pool.map(lambda one, options=options, moments=moments: disturb(*one, options, moments), tries)
            for (out, _), faults in zip(tries, results, strict=True):
                row.note([f"{out.name}: {fault}" for fault in faults + difference(whole, out)])
        yield row


def disturb(out: Path, rng: random.Random, options: list[str], moments: tuple[float, float]) -> list[str]:
    """Kill a run once or twice, each time between two moments in seconds after its start, then let it end."""
    for _ in range(rng.choice((1, 2))):
        process = start("train", *continuing(out, options))
        time.sleep(rng.uniform(*moments))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return finish(start("train", *continuing(out, options)))


def continuing(out: Path, options: list[str]) -> list[str]:
    """The arguments that resume a run, or start it if it has no checkpoint yet."""
    return ["--resume", "--out", str(out)] if (out / CHECKPOINT).exists() else [*options, "--out", str(out)]
