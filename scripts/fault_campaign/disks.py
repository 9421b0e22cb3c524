"""Folders without space, and folders that cannot be written to."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fault_campaign.commands import ENVIRONMENT, QUICK, Row, difference, finish, left_in, row_of, start, start_words
from fault_campaign.kills import continuing

EPOCHS = 3


def full_disks(count: int, data: Path, folder: Path, seed: int, jobs: int) -> Iterator[Row]:
    """A row for each way to be without space: training fails, keeps its last checkpoint, and can be resumed."""
    options = ["--dataset", str(data), "--epochs", str(EPOCHS), *QUICK]
    whole = folder / "disk-whole"
    prepared = Row("trained with space")
    prepared.note(finish(start("train", *options, "--out", whole)))
    yield prepared
    largest = max(path.stat().st_size for path in whole.iterdir())
    # Matplotlib keeps a list of fonts, which takes space too.
    env = ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(folder)}

    def small_files(number: int) -> list[str]:
        out = folder / f"limited-{number}"
        limit = random.Random(f"{seed} limited {number}").randrange(largest * 11 // 10)
        words = ["prlimit", f"--fsize={limit}", sys.executable, "-m", "lenet_multi.train", *options, "--out", str(out)]
        faults = finish(start_words(words, env=env), expected=(0, 2))
        return [f"limit {limit}: {fault}" for fault in faults + left_in(out) + resume(out)]

    def small_disk(number: int) -> list[str]:
        disk = folder / f"disk-{number}"
        # A checkpoint is written beside the one that it replaces.
        size = random.Random(f"{seed} disk {number}").randrange(4096, largest * 22 // 10)
        with mounted(disk, f"size={size}"):
            out = disk / "run"
            faults = finish(start("train", *options, "--out", out), expected=(0, 2)) + left_in(out)
            mount("-o", "remount,size=100m", disk)
            return [f"size {size}: {fault}" for fault in faults + resume(out)]

    def resume(out: Path) -> list[str]:
        return finish(start("train", *continuing(out, options))) + difference(whole, out)

    yield row_of("trained with a limit on the size of files, then resumed without", range(count), small_files, jobs)
    if can_mount(folder):
        yield row_of("trained on a full disk, then resumed with space", range(count), small_disk, jobs)
    else:
        print("note: no full disk, because this user cannot mount one", file=sys.stderr)
    source = folder / "writable"
    shutil.copytree(whole, source / "run")
    yield from read_only_folders(count, data, source, jobs)


def read_only_folders(count: int, data: Path, source: Path, jobs: int) -> Iterator[Row]:
    """A row for `count` (at most all) commands that write to a read-only folder: an error, and nothing changes.

    `source` holds a complete run; a comparison is added to it.
    """
    compared = ["compare", "--dataset", str(data), *QUICK, "--backends", "torch", "--epochs", "1"]
    prepared = Row("compared in a folder that can be written to")
    prepared.note(finish(start(*compared, "--out", source / "compared")))
    yield prepared
    commands = [
        ["train", "--resume", "--epochs", str(EPOCHS + 1), "--out=run"],
        ["train", "--dataset", str(data), *QUICK, "--epochs", "1", "--out=new"],
        ["train", "--resume", "--out=run"],  # it is complete, but writes its outputs again
        [*compared, "--out=new"],
        ["compare", "--resume", "--out=compared"],
    ]

    def faults_of(command: list[str]) -> list[str]:
        copy = source.with_name(f"read-only-{commands.index(command)}")
        with read_only_copy(source, copy):
            faults = finish(start(*command, cwd=copy), expected=(2,))
            if contents(copy) != contents(source):
                faults.append("the folder has changed")
        return [f"{' '.join(command)}: {fault}" for fault in faults]

    if os.geteuid() or can_mount(source.parent):
        yield row_of("commands in a read-only folder", commands[:count], faults_of, jobs)
    else:
        print("note: no read-only folder: root can write to all, and cannot mount one here", file=sys.stderr)


@contextmanager
def read_only_copy(source: Path, copy: Path) -> Iterator[None]:
    """A copy of a folder that cannot be written to: a disk of its own for root, whom permissions do not stop."""
    if os.geteuid() == 0:
        with mounted(copy, "size=100m"):
            shutil.copytree(source, copy, dirs_exist_ok=True)
            mount("-o", "remount,ro", copy)
            yield
    else:
        shutil.copytree(source, copy)
        folders = [copy, *(path for path in copy.rglob("*") if path.is_dir())]
        for each in folders:
            each.chmod(0o555)
        yield
        for each in folders:
            each.chmod(0o755)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A new disk in memory at the name of a folder, which does not exist before and after."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", options, "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.PIPE)


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a disk."""
    try:
        with mounted(Path(tempfile.mkdtemp(dir=folder)) / "disk", "size=1m"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def contents(folder: Path) -> dict[str, bytes]:
    """The files in a folder and its subfolders."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
