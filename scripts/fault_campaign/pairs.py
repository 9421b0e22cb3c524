"""Two commands in one folder, and a comparison that is killed and resumed at once."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from fault_campaign.commands import QUICK, Row, difference, finish, left_in, session_members, start

EPOCHS = 3


def pairs(count: int, data: Path, folder: Path, seed: int) -> Iterator[Row]:
    """A row for each pair of commands."""
    options = ["--dataset", str(data), "--epochs", str(EPOCHS), *QUICK]
    whole = folder / "pairs-whole"
    halved = folder / "pairs-halved"
    prepared = Row("training runs without a neighbor")
    prepared.note(finish(start("train", *options, "--out", whole)))
    prepared.note(finish(start("train", *options[:2], "--epochs", "1", *QUICK, "--out", halved)))
    yield prepared

    row = Row("two new runs in one folder")
    for number in range(count):
        out = folder / f"new-{number}"
        command = ["train", *options, "--out", str(out)]
        row.note(both(command, command, random.Random(f"{seed} new {number}")) + difference(whole, out))
    yield row

    row = Row("a run resumed twice at once")
    for number in range(count):
        out = folder / f"resumed-{number}"
        shutil.copytree(halved, out)
        command = ["train", "--resume", "--out", str(out), "--epochs", str(EPOCHS)]
        faults = both(command, command, random.Random(f"{seed} resumed {number}"), [0, 0])  # one after the other
        row.note(faults + difference(whole, out))
    yield row

    compared = [*options[:2], "--epochs", "2", *QUICK, "--backends", "torch", "--vary", "seed=0,1"]
    row = Row("two comparisons in one folder")
    for number in range(count):
        out = folder / f"compared-{number}"
        command = ["compare", *compared, "--out", str(out)]
        row.note(both(command, command, random.Random(f"{seed} compared {number}")) + comparison_faults(out))
    yield row

    row = Row("a comparison killed, and resumed at once")
    for number in range(count):
        out = folder / f"killed-{number}"
        rng = random.Random(f"{seed} killed {number}")
        process = start("compare", *compared, "--out", out)
        time.sleep(rng.uniform(1.0, 12.0))
        process.send_signal(signal.SIGKILL)
        again = start("compare", *(["--resume"] if out.is_dir() else compared), "--out", out)
        process.communicate()
        faults = finish(again, expected=(0, 2))
        if again.returncode == 2:  # it was killed before it had written its plan
            faults += finish(start("compare", *compared, "--out", out))
        faults += [f"processes left: {members}"] if (members := session_members(process.pid)) else []
        row.note(faults + comparison_faults(out))
    yield row


def both(first: list[str], second: list[str], rng: random.Random, *allowed: list[int]) -> list[str]:
    """Run two commands at nearly the same time: one must end well, and the other must be refused.

    `allowed` are other pairs of statuses that are right.
    """
    processes = [start(*first)]
    time.sleep(rng.uniform(0, 2))
    processes.append(start(*second))
    faults = [fault for process in processes for fault in finish(process, expected=(0, 2))]
    statuses = sorted(process.returncode for process in processes)
    return faults + ([] if statuses in ([0, 2], *allowed) else [f"statuses {statuses}, expected one 0 and one 2"])


def comparison_faults(out: Path) -> list[str]:
    """What a complete comparison lacks."""
    report = (out / "report.html").read_text() if (out / "report.html").exists() else ""
    return ([] if report else ["no report"]) + (["a failed run"] if "FAILED" in report else []) + left_in(out)
