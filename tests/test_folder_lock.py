"""A folder has one writer: the lock, what it does to the folder, and two processes that want the same one."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import is_locked

from lenet_multi import train
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint
from lenet_multi.system import folder_lock
from lenet_multi.system.folder_lock import locked_folder

PATIENCE = 120  # seconds until a process that does not get anywhere fails the test


@pytest.fixture
def at_once(monkeypatch):
    """A folder that is in use is refused without waiting for the other process to end."""
    monkeypatch.setattr(folder_lock, "PATIENCE_SECONDS", 0.0)


# The lock


def test_a_folder_is_locked_for_as_long_as_the_block_runs(at_once, tmp_path):
    with locked_folder(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(UserError, match="another process is using"), locked_folder(tmp_path):
            pytest.fail("two blocks in one folder")
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_folders_stay_free(at_once, tmp_path):
    with locked_folder(tmp_path), locked_folder(tmp_path / "a"), locked_folder(tmp_path / "b"):
        assert is_locked(tmp_path / "a")


def test_a_block_that_fails_releases_the_folder_and_removes_it_if_it_is_empty_and_new(tmp_path):
    with pytest.raises(ZeroDivisionError), locked_folder(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked_folder(tmp_path):
        raise ZeroDivisionError
    assert tmp_path.exists()
    assert not is_locked(tmp_path)


def test_the_folder_of_another_process_is_not_removed(at_once, tmp_path):
    folder = tmp_path / "run"
    with locked_folder(folder):
        with pytest.raises(UserError), locked_folder(folder):
            pass
        assert folder.is_dir()


def test_a_folder_that_is_removed_while_it_is_being_locked_is_created_again(tmp_path, monkeypatch):
    """As by another process whose start fails."""
    folder, original = tmp_path / "run", fcntl.flock

    def flock(*arguments):
        monkeypatch.setattr(fcntl, "flock", original)
        folder.rmdir()
        original(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_folder(folder):
        assert is_locked(folder)


def test_a_process_that_is_about_to_end_is_waited_for(tmp_path):
    code = "import fcntl, os, sys; d = os.open(sys.argv[1], 0); fcntl.flock(d, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        threading.Timer(0.2, other.kill).start()
        with locked_folder(tmp_path):
            assert is_locked(tmp_path)
            assert other.wait(PATIENCE) == -signal.SIGKILL


def test_processes_that_are_started_in_the_block_do_not_keep_the_lock(tmp_path):
    with locked_folder(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "print('started', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=False,
        )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"started\n"
        assert not is_locked(tmp_path)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("missing", ["the module", "locks on this file system"])
def test_where_there_are_no_locks_the_block_runs_without(missing, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if missing == "the module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".file.part").touch()
    with locked_folder(tmp_path / "new"), locked_folder(tmp_path, ["file"]):
        assert (tmp_path / "new").is_dir()
        assert (tmp_path / ".file.part").exists()  # perhaps of a living process


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_a_folder_that_cannot_be_created_is_refused(place, tmp_path):
    (tmp_path / "file").touch()
    message = f"--to '{tmp_path / place}' cannot be created"
    with pytest.raises(UserError, match=message), locked_folder(tmp_path / place, title="--to"):
        pass


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    stale = [".file.part", ".file.0123456789abcdef.part"]
    others = ["file", "file.part", ".other.part", ".file.mine.part", ".file.0123456789abcdef.part.bak"]
    for name in stale + others:
        (tmp_path / name).write_text(name)
    (tmp_path / ".file.ffffffffffffffff.part").symlink_to(tmp_path / "file")
    with locked_folder(tmp_path, ["file"]):
        assert {path.name for path in tmp_path.iterdir()} == set(others)
    assert (tmp_path / "file").read_text() == "file"


# Two processes


@pytest.fixture
def start(small_folder):
    """Starts training processes; none outlives its test."""
    processes = []

    def start(out: Path, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "lenet_multi.train", "--out", str(out), "--device", "cpu"]
        if "--resume" not in arguments:
            command += ["--dataset", str(small_folder), "--batch-size", "32", "--lr", "0.1"]
        processes.append(
            subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_checkpoint(process: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (out / CHECKPOINT).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_two_runs_that_start_at_once_in_one_folder_one_is_refused(start, tmp_path):
    out = tmp_path / "run"
    both = [start(out, "--epochs", "40", "--seed", seed) for seed in "12"]
    for process in both:
        process.wait(PATIENCE)
    assert sorted(process.returncode for process in both) == [0, 2]
    winner, loser = sorted(both, key=lambda process: process.returncode)
    _, errors = loser.communicate()
    assert len(errors.splitlines()) == 1, errors
    # The other one, where it ended in the meantime, has left its run.
    assert f"another process is using '{out}'" in errors or "already holds a run" in errors
    run, _ = load_checkpoint(out)
    assert (run.epochs_done, run.settings.seed) == (40, 1 + both.index(winner))


@pytest.mark.parametrize("arguments", [["--epochs", "1"], ["--resume"]])
def test_a_run_that_is_being_trained_is_neither_replaced_nor_resumed(arguments, start, tmp_path, at_once, capsys):
    out = tmp_path / "run"
    first = start(out, "--epochs", "10000")
    wait_for_checkpoint(first, out)
    assert train.main([*arguments, "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"error: another process is using '{out}': wait until it ends, or choose another folder\n"
    )
    assert first.poll() is None


def test_the_lock_of_a_killed_run_is_released(start, tmp_path):
    out = tmp_path / "run"
    first = start(out, "--epochs", "10000")
    wait_for_checkpoint(first, out)
    assert is_locked(out)
    first.kill()
    first.wait(PATIENCE)
    assert not is_locked(out)


def test_a_finished_run_writes_its_outputs_again_only_if_nobody_else_is_there(small_folder, tmp_path, at_once, capsys):
    out = tmp_path / "run"
    arguments = ["--dataset", str(small_folder), "--epochs", "1", "--batch-size", "32", "--out", str(out)]
    assert train.main(arguments) == 0
    (out / "summary.json").unlink()
    with locked_folder(out):
        assert train.main(["--resume", "--out", str(out)]) == 2
    assert not (out / "summary.json").exists()
    assert train.main(["--resume", "--out", str(out)]) == 0
    assert (out / "summary.json").exists()


def test_a_resume_without_a_run_creates_no_folder(tmp_path, capsys):
    assert train.main(["--resume", "--out", str(tmp_path / "none")]) == 2
    assert "holds no model.safetensors" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
