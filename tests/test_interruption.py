"""A run that is really killed, or interrupted at the keyboard, in a process of its own."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import EVERY_LOOP, INSTALLED, is_locked, write_folder

from lenet_multi import train
from lenet_multi.backends import load_backend
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint

EPOCHS = 6
# As on a user's machine: without what the frameworks of this process have set for themselves.
UNSET = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "TF_", "MXNET_", "GOMP_"))}
PATIENCE = 120  # seconds until a process that does not get anywhere fails the test


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Enough examples that an epoch takes a good part of a second."""
    return write_folder(tmp_path_factory.mktemp("data") / "many", num_train=4000, num_test=500)


@pytest.fixture
def start(folder):
    """Starts training processes; none outlives its test."""
    processes = []

    def start(out: Path, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "lenet_multi.train", "--out", str(out), "--device", "cpu"]
        if "--resume" not in arguments:
            command += ["--dataset", str(folder), "--epochs", str(EPOCHS), "--batch-size", "64", "--lr", "0.1"]
            command += ["--activation", "tanh"]
        processes.append(
            subprocess.Popen(
                [*command, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=UNSET,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_epoch(process: subprocess.Popen, out: Path, epoch: int) -> None:
    """Wait until the checkpoint holds at least `epoch` epochs; the file may be replaced at any moment."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (out / CHECKPOINT).exists() and load_checkpoint(out)[0].epochs_done >= epoch:
            return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"no epoch {epoch} within {PATIENCE} s: {process.communicate()}")


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_killed_and_resumed_a_run_ends_with_the_same_weights_bit_for_bit(backend_and_loop, start, tmp_path):
    name, loop = backend_and_loop
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole, "--backend", name, "--loop", loop).wait(PATIENCE) == 0
    process = start(killed, "--backend", name, "--loop", loop)
    wait_for_epoch(process, killed, 2)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not (killed / "summary.json").exists()
    resumed = start(killed, "--resume")
    _, errors = resumed.communicate(timeout=PATIENCE)
    assert resumed.returncode == 0, errors

    (expected_run, expected), (run, parameters) = load_checkpoint(whole), load_checkpoint(killed)
    assert [(segment.backend, segment.loop) for segment in run.segments] == [backend_and_loop] * 2
    assert run.points == expected_run.points
    for parameter, value in expected.items():
        np.testing.assert_array_equal(parameters[parameter], value)
    for file in ("history.csv", "curves.png"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes()


# Patches that make a process kill itself at one moment of its run.
MOMENTS = {
    "the first checkpoint is there": "kill_after(lenet_multi.runs.trainer, 'save_first_checkpoint', 1)",
    "a batch is being trained": "kill_before(torch.Tensor, 'backward', 100)",
    "a checkpoint is about to take its place": "kill_before(pathlib.Path, 'replace', 3)",
    "a checkpoint has just taken its place": "kill_after(pathlib.Path, 'replace', 3)",
    "the outputs are being written": "kill_before(lenet_multi.runs.outputs, 'png', 1)",
}
KILLING = """
import os, pathlib, signal, sys, torch, lenet_multi.runs.outputs, lenet_multi.runs.trainer, lenet_multi.train

def patched(owner, name, count, before):
    original, calls = getattr(owner, name), []
    def patch(*arguments, **named):
        calls.append(1)
        if before and len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, patch)

def kill_before(owner, name, count): patched(owner, name, count, True)
def kill_after(owner, name, count): patched(owner, name, count, False)

{patch}
sys.exit(lenet_multi.train.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_and_resumed_a_run_ends_with_the_same_weights(moment, tmp_path, small_folder):
    arguments = [
        "--dataset",
        str(small_folder),
        "--epochs",
        "20",
        "--batch-size",
        "16",
        "--lr",
        "0.1",
        "--device",
        "cpu",
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train.main([*arguments, "--out", str(whole)]) == 0
    code = KILLING.format(patch=MOMENTS[moment])
    process = subprocess.run([sys.executable, "-c", code, *arguments, "--out", str(killed)], timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert train.main(["--resume", "--out", str(killed)]) == 0
    (expected_run, expected), (run, parameters) = load_checkpoint(whole), load_checkpoint(killed)
    assert run.points == expected_run.points
    for parameter, value in expected.items():
        np.testing.assert_array_equal(parameters[parameter], value)
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("name", INSTALLED)
def test_a_run_stopped_before_its_first_epoch_goes_on_in_the_framework_it_began_in(
    name, small_folder, tmp_path, monkeypatch
):
    out = tmp_path / "run"

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(load_backend(name), "train", interrupt)
        arguments = ["--backend", name, "--dataset", str(small_folder), "--epochs", "1", "--batch-size", "32"]
        assert train.main([*arguments, "--out", str(out)]) == 130
    assert train.main(["--resume", "--out", str(out)]) == 0
    assert [segment.backend for segment in load_checkpoint(out)[0].segments] == [name]


def test_the_command_that_resumes_a_run_is_accepted_whatever_the_folder_is_called(
    small_folder, tmp_path, monkeypatch, capsys
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(load_backend("torch"), "train", interrupt)
        arguments = ["--dataset", str(small_folder), "--epochs", "1", "--batch-size", "32", "--data-dir=-data"]
        assert train.main([*arguments, "--out=-dash and space"]) == 130
    command = shlex.split(capsys.readouterr().err.partition("continue with: ")[2])
    assert train.main(command[3:]) == 0
    assert load_checkpoint(Path("-dash and space"))[0].epochs_done == 1


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_ctrl_c_keeps_the_last_whole_epoch_says_how_to_go_on_and_exits_130(backend_and_loop, start, tmp_path):
    name, loop = backend_and_loop
    out = tmp_path / "run"
    process = start(out, "--backend", name, "--loop", loop)
    wait_for_epoch(process, out, 1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    run, _ = load_checkpoint(out)
    assert 1 <= run.epochs_done < EPOCHS
    *epochs, last = errors.splitlines()
    # The signal may arrive after an epoch is saved and before its line is printed.
    lines = [f"epoch {n + 1} of {EPOCHS}" for n in range(run.epochs_done)]
    assert [line.partition(":")[0] for line in epochs] in (lines, lines[:-1])
    assert last == (
        f"interrupted: '{out}' holds the run after epoch {run.epochs_done} of {EPOCHS}; "
        f"continue with: {sys.executable} -m lenet_multi.train --resume --out {out} --device cpu"
    )
    assert output == ""
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.png",
        "history.csv",
        "model.safetensors",
        "summary.json",
    ]


def test_ctrl_c_while_the_framework_is_still_loading_is_one_line_too(start, tmp_path):
    out = tmp_path / "run"
    process = start(out)
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + PATIENCE
    while "libtorch" not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    # Python itself ends by the signal, which a shell shows as 130 too, where it struck generated code.
    assert process.returncode in (130, -signal.SIGINT), errors
    assert errors.startswith("interrupted")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_to_end_before_its_first_checkpoint_leaves_no_folder(number, start, tmp_path):
    out = tmp_path / "run"
    process = start(out)
    deadline = time.monotonic() + PATIENCE
    while not (out.exists() and is_locked(out)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", INSTALLED)
def test_a_run_that_is_asked_to_end_leaves_its_last_checkpoint(name, start, tmp_path):
    out = tmp_path / "run"
    process = start(out, "--backend", name)
    wait_for_epoch(process, out, 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert [path.name for path in out.iterdir()] == [CHECKPOINT]
    assert 1 <= load_checkpoint(out)[0].epochs_done < EPOCHS
