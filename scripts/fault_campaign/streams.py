"""Closed, broken and full standard streams, and names that are hard to print or draw."""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from fault_campaign.commands import QUICK, Row, difference, finish, row_of, start, start_words

# How a shell connects a stream. Without a word for standard error, it is read and checked for tracebacks.
STDIN = ["</dev/null", "<&-"]
STDOUT = [">/dev/null", ">&-", ">/dev/full", ">&$BROKEN"]
STDERR = ["", "2>/dev/null", "2>&-", "2>/dev/full", "2>&$BROKEN"]
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


def broken_streams(data: Path, folder: Path, count: int, seed: int, jobs: int) -> Iterator[Row]:
    """A row for each command, run with `count` (at most all) combinations of streams."""
    options = ["--dataset", str(data), "--epochs", "1", *QUICK]
    whole = folder / "streams-whole"
    prepared = Row("trained with its streams in place")
    prepared.note(finish(start("train", *options, "--out", whole)))
    yield prepared

    def train(streams: str) -> list[str]:
        out = folder / f"train-streams-{STREAMS.index(streams)}"
        faults = status_faults("train", [*options, "--out", str(out)], streams) + difference(whole, out)
        return [f"{streams}: {fault}" for fault in faults]

    def compare(streams: str) -> list[str]:
        out = folder / f"compare-streams-{STREAMS.index(streams)}"
        compared = [*options, "--backends", "torch", "--vary", "seed=0,1", "--out", str(out)]
        faults = status_faults("compare", compared, streams)
        return [f"{streams}: {fault}" for fault in faults + ([] if (out / "report.html").exists() else ["no report"])]

    chosen = random.Random(seed).sample(STREAMS, min(count, len(STREAMS)))
    yield row_of("train with closed, broken or full streams", chosen, train, jobs)
    yield row_of("compare with closed, broken or full streams", chosen, compare, jobs)


def status_faults(command: str, arguments: list[str], streams: str) -> list[str]:
    """The faults of a command whose streams a shell connects; $BROKEN is a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", f"lenet_multi.{command}", *arguments]
    script = f'exec "$@" {streams.replace("$BROKEN", str(writing))}'
    try:
        process = start_words(["bash", "-c", script, "-", *words], pass_fds=[writing])
    finally:
        os.close(writing)
    return finish(process)


def hard_names(count: int, data: Path, folder: Path, jobs: int) -> Iterator[Row]:
    """Data folders, run folders and weights with each of the first `count` names."""

    def faults_of(name: str) -> list[str]:
        runs = folder / "names" / str(NAMES.index(name))
        dataset = runs / "data" / name
        shutil.copytree(data, dataset)
        options = [f"--dataset={dataset}", "--epochs", "1", *QUICK]
        faults = finish(start("train", *options, f"--out={name}", cwd=runs))  # relative: a dash can come first
        faults += finish(start("train", "--resume", f"--out={name}", "--epochs", "2", cwd=runs))
        faults += [f"no {file}" for file in FILES if not (runs / name / file).exists()]
        shutil.copytree(runs / name, runs / "other")
        vary = ["--backends", "torch", "--vary", f"weights=./{name},other"]
        faults += finish(start("compare", *options, *vary, "--out=compared", cwd=runs))
        faults += [] if (runs / "compared" / "report.html").exists() else ["no report"]
        return [f"{name!r}: {fault}" for fault in faults]

    yield row_of("train, resume and compare with a hard name", NAMES[:count], faults_of, jobs)
