"""Closed, broken and full standard streams, a disk that is full, and names that are hard to print or draw."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from fault_campaign.commands import ENVIRONMENT, PATIENCE, QUICK, Row, difference, finish, left_in, start
from fault_campaign.kills import continuing

# How a shell connects a stream.
STDIN = ["</dev/null", "<&-"]
STDOUT = [">/dev/null", ">&-", ">/dev/full", ">&$BROKEN"]
STDERR = ["2>/dev/null", "2>&-", "2>/dev/full", "2>&$BROKEN"]
STREAMS = [" ".join(streams) for streams in product(STDIN, STDOUT, STDERR)]
FILES = ["model.safetensors", "summary.json", "history.csv", "curves.png"]
NAMES = [
    "x$y^$z",
    "$\\frac{1}{0}$",
    "a b",
    "-dash",
    "new\nline",
    "%s{0}",
    "<b>&amp;'\"",
    "\x1b[31mred",
    "日本語",
    os.fsdecode(b"not-utf8-\xff\xfe"),
    "x" * 200,
    "_$_",
]


def broken_streams(data: Path, folder: Path, count: int, seed: int) -> Iterator[Row]:
    """A row for each command, run with `count` (at most all) combinations of streams."""
    options = ["--dataset", str(data), "--epochs", "1", *QUICK]
    whole = folder / "streams-whole"
    row = Row("training with its streams in place")
    row.note(finish(start("train", *options, "--out", whole)))
    yield row
    commands = {
        "train": lambda out: [*options, "--out", str(out)],
        "compare": lambda out: [*options, "--backends", "torch", "--vary", "seed=0,1", "--out", str(out)],
    }
    for command, arguments in commands.items():
        row = Row(f"{command} with closed, broken or full streams")
        for number, streams in enumerate(random.Random(seed).sample(STREAMS, min(count, len(STREAMS)))):
            out = folder / f"{command}-streams-{number}"
            status = run_in_shell(command, arguments(out), streams)
            faults = [] if status == 0 else [f"status {status}"]
            if command == "train":
                faults += difference(whole, out)
            elif not (out / "report.html").exists():
                faults.append("no report")
            row.note([f"{command} {streams}: {fault}" for fault in faults])
        yield row


def run_in_shell(command: str, arguments: list[str], streams: str) -> int | None:
    """The status of a command whose streams a shell connects; None if it hangs. $BROKEN is a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", f"lenet_multi.{command}", *arguments]
    script = f'exec "$@" {streams.replace("$BROKEN", str(writing))}'
    try:
        shell = ["bash", "-c", script, "-", *words]
        return subprocess.run(shell, pass_fds=[writing], env=ENVIRONMENT, timeout=PATIENCE).returncode
    except subprocess.TimeoutExpired:
        return None
    finally:
        os.close(writing)


def full_disk(count: int, data: Path, folder: Path, seed: int) -> Iterator[Row]:
    """Training whose files may not grow beyond a size: it fails, keeps its last checkpoint, and can be resumed."""
    options = ["--dataset", str(data), "--epochs", "3", *QUICK]
    whole = folder / "disk-whole"
    row = Row("training with no space left, then resumed with space")
    row.faults += finish(start("train", *options, "--out", whole))
    largest = max(path.stat().st_size for path in whole.iterdir())
    for number in range(count):
        out = folder / f"disk-{number}"
        limit = random.Random(f"{seed} disk {number}").randrange(largest * 11 // 10)
        process = subprocess.Popen(
            ["prlimit", f"--fsize={limit}", sys.executable, "-m", "lenet_multi.train", *options, "--out", str(out)],
            env=ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(folder)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        faults = finish(process, expected=(0, 2)) + left_in(out)
        faults += finish(start("train", *continuing(out, options))) + difference(whole, out)
        row.note([f"limit {limit}: {fault}" for fault in faults])
    yield row


def hard_names(data: Path, folder: Path) -> Iterator[Row]:
    """Data folders, run folders and weights with each of the names."""
    trained, compared = Row("train with a hard name"), Row("compare with a hard name")
    for number, name in enumerate(NAMES):
        runs = folder / "names" / str(number)
        dataset = runs / "data" / name
        shutil.copytree(data, dataset)
        options = [f"--dataset={dataset}", "--epochs", "1", *QUICK]
        faults = finish(start("train", *options, f"--out={name}", cwd=runs))  # relative: a dash can come first
        faults += finish(start("train", "--resume", f"--out={name}", "--epochs", "2", cwd=runs))
        faults += [f"no {file}" for file in FILES if not (runs / name / file).exists()]
        trained.note([f"{name!r}: {fault}" for fault in faults])
        shutil.copytree(runs / name, runs / "other")
        vary = ["--backends", "torch", "--vary", f"weights=./{name},other"]
        faults = finish(start("compare", *options, *vary, "--out=compared", cwd=runs))
        faults += [] if (runs / "compared" / "report.html").exists() else ["no report"]
        compared.note([f"{name!r}: {fault}" for fault in faults])
    yield trained
    yield compared
