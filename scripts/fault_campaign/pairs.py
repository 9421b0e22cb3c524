"""Two commands in one folder, and a comparison that is killed and resumed at once."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from fault_campaign.commands import QUICK, Row, difference, finish, left_in, row_of, start

from lenet_multi.comparison.folder import COMPARISON

EPOCHS = 6


def pairs(count: int, data: Path, folder: Path, seed: int, jobs: int) -> Iterator[Row]:
    """A row for each pair of commands."""
    options = ["--dataset", str(data), "--epochs", str(EPOCHS), *QUICK]
    compared = [*options[:2], "--epochs", "2", *QUICK, "--backends", "torch", "--vary", "seed=0,1"]
    whole = folder / "pairs-whole"
    halved = folder / "pairs-halved"
    prepared = Row("trained without a neighbor")
    prepared.note(finish(start("train", *options, "--out", whole)))
    prepared.note(finish(start("train", *options[:2], "--epochs", "1", *QUICK, "--out", halved)))
    began = time.monotonic()
    prepared.note(finish(start("compare", *compared, "--out", folder / "pairs-compared")))
    seconds = time.monotonic() - began
    yield prepared

    def two_new_runs(number: int) -> list[str]:
        out = folder / f"new-{number}"
        command = ["train", *options, "--out", str(out)]
        return both(command, random.Random(f"{seed} new {number}")) + difference(whole, out)

    def resumed_twice(number: int) -> list[str]:
        out = folder / f"resumed-{number}"
        shutil.copytree(halved, out)
        command = ["train", "--resume", "--out", str(out), "--epochs", str(EPOCHS)]
        # The second may find the run complete; then it has nothing to do.
        return both(command, random.Random(f"{seed} resumed {number}"), [0, 0]) + difference(whole, out)

    def two_comparisons(number: int) -> list[str]:
        out = folder / f"compared-{number}"
        command = ["compare", *compared, "--out", str(out)]
        return both(command, random.Random(f"{seed} compared {number}")) + comparison_faults(out)

    def killed_and_resumed(number: int) -> list[str]:
        out = folder / f"killed-{number}"
        process = start("compare", *compared, "--out", out)
        time.sleep(random.Random(f"{seed} killed {number}").uniform(0.1, 1.1) * seconds)
        process.send_signal(signal.SIGKILL)
        begun, planned = out.is_dir(), (out / COMPARISON).exists()
        again = start("compare", *(["--resume"] if begun else compared), "--out", out)
        faults = finish(process, expected=(0, -signal.SIGKILL))
        faults += finish(again, expected=(0, 2) if begun and not planned else (0,))
        if begun and not planned and again.returncode == 2:  # there was no comparison to resume
            faults += finish(start("compare", *compared, "--out", out))
        return [f"{out.name}: {fault}" for fault in faults + comparison_faults(out)]

    yield row_of("two new runs in one folder", range(count), two_new_runs, jobs)
    yield row_of("a run resumed twice at once", range(count), resumed_twice, jobs)
    yield row_of("two comparisons in one folder", range(count), two_comparisons, jobs)
    yield row_of("a comparison killed, and resumed at once", range(count), killed_and_resumed, jobs)


def both(command: list[str], rng: random.Random, *allowed: list[int]) -> list[str]:
    """Run a command twice at nearly the same time: one must end well, and the other must be refused.

    `allowed` are other pairs of statuses that are right.
    """
    processes = [start(*command)]
    time.sleep(rng.uniform(0, 2))
    processes.append(start(*command))
    faults = [fault for process in processes for fault in finish(process, expected=(0, 2))]
    statuses = sorted(process.returncode for process in processes)
    return faults + ([] if statuses in ([0, 2], *allowed) else [f"statuses {statuses}, expected one 0 and one 2"])


def comparison_faults(out: Path) -> list[str]:
    """What a complete comparison lacks."""
    report = (out / "report.html").read_text() if (out / "report.html").exists() else ""
    return ([] if report else ["no report"]) + (["a failed run"] if "FAILED" in report else []) + left_in(out)
