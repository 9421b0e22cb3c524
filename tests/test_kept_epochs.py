"""`train --keep-epochs`: the parameters after every epoch are there once, whatever happens to the run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import EVERY_LOOP

from lenet_multi import launch, train
from lenet_multi.runs import trainer
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint, load_run
from lenet_multi.runs.kept_epochs import EPOCHS, kept_epochs
from lenet_multi.runs.weights import load_weights


@pytest.fixture
def quick(small_folder):
    return [
        "--dataset",
        str(small_folder),
        "--batch-size",
        "50",
        "--device",
        "cpu",
        "--activation",
        "tanh",
        "--lr",
        "0.1",
    ]


def trained(out: Path, *arguments: str) -> Path:
    assert train.main([*arguments, "--out", str(out)]) == 0
    return out


def files(out: Path) -> dict[str, bytes]:
    """What stands in the folder of the epochs, and the checkpoint's parameters."""
    content = {path.name: path.read_bytes() for path in sorted((out / EPOCHS).iterdir())}
    return content | {name: value.tobytes() for name, value in load_checkpoint(out)[1].items()}


def names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / EPOCHS).iterdir())


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_a_run_that_keeps_its_epochs_is_the_same_run(backend_and_loop, quick, tmp_path):
    name, loop = backend_and_loop
    options = ["--backend", name, "--loop", loop, *quick, "--epochs", "2"]
    usual = trained(tmp_path / "usual", *options)
    kept = trained(tmp_path / "kept", *options, "--keep-epochs")
    assert (kept / "history.csv").read_bytes() == (usual / "history.csv").read_bytes()
    expected = load_checkpoint(usual)[1]
    assert names(kept) == [f"epoch-000{epoch}.safetensors" for epoch in range(3)]
    for parameters in (load_checkpoint(kept)[1], load_weights(kept_epochs(kept)[2])[0]):
        assert list(parameters) == list(expected)
        for parameter, value in expected.items():
            np.testing.assert_array_equal(parameters[parameter], value)
    assert not (usual / EPOCHS).exists()
    assert {path.name for path in kept.iterdir()} == {path.name for path in usual.iterdir()} | {EPOCHS}


def test_each_file_holds_the_parameters_after_its_epoch(quick, tmp_path):
    kept = trained(tmp_path / "kept", *quick, "--epochs", "3", "--keep-epochs")
    one = trained(tmp_path / "one", *quick, "--epochs", "1")
    for parameter, value in load_checkpoint(one)[1].items():
        np.testing.assert_array_equal(load_weights(kept_epochs(kept)[1])[0][parameter], value)
    start = trained(tmp_path / "start", *quick, "--epochs", "1", "--weights", str(kept_epochs(kept)[0]))
    for parameter, value in load_checkpoint(one)[1].items():
        np.testing.assert_array_equal(load_checkpoint(start)[1][parameter], value)
    assert load_weights(kept_epochs(kept)[0])[1] == {"architecture": load_run(kept).architecture.to_dict()}


def test_a_resumed_run_goes_on_and_ends_with_the_same_files(quick, tmp_path):
    whole = trained(tmp_path / "whole", *quick, "--epochs", "4", "--keep-epochs")
    parts = trained(tmp_path / "parts", *quick, "--epochs", "2", "--keep-epochs")
    trained(parts, "--resume", "--epochs", "4")
    assert files(parts) == files(whole)


def test_a_run_without_epochs_can_keep_them_once_it_is_resumed(quick, tmp_path):
    whole = trained(tmp_path / "whole", *quick, "--epochs", "3", "--keep-epochs")
    late = trained(tmp_path / "late", *quick, "--epochs", "1")
    trained(late, "--resume", "--epochs", "3", "--keep-epochs")
    expected = files(whole)
    del expected["epoch-0000.safetensors"]
    assert files(late) == expected


# Kills this process at the n-th rename. They are: the first checkpoint, epoch 0, epoch 1, checkpoint 1, epoch 2, ...
KILLED = """
import os, pathlib, signal, sys
from lenet_multi import train

number, after, *arguments = sys.argv[1:]
replace, calls = pathlib.Path.replace, []

def killing(path, target):
    calls.append(target)
    if len(calls) == int(number) and after == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = replace(path, target)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

pathlib.Path.replace = killing
sys.exit(train.main(arguments))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("number", "when", "left"),
    [
        (1, "before", []),
        (1, "after", []),
        (2, "before", [".epoch-0000.safetensors"]),
        (3, "after", ["epoch-0000.safetensors", "epoch-0001.safetensors"]),
        (5, "before", [".epoch-0002.safetensors", "epoch-0000.safetensors", "epoch-0001.safetensors"]),
        (6, "after", ["epoch-0000.safetensors", "epoch-0001.safetensors", "epoch-0002.safetensors"]),
    ],
)
def test_killed_and_resumed_a_run_ends_with_the_same_files(number, when, left, quick, tmp_path):
    options = [*quick, "--epochs", "3", "--keep-epochs"]
    whole, killed = trained(tmp_path / "whole", *options), tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(number), when, *options, "--out", str(killed)]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == -signal.SIGKILL
    assert [name if name[0] == "e" else name[: -len(".0123456789abcdef.part")] for name in names(killed)] == left
    if (killed / CHECKPOINT).exists():
        trained(killed, "--resume")
    else:
        trained(killed, *options)
    assert files(killed) == files(whole)
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}


def test_of_several_workers_one_writes(quick, tmp_path):
    """And the workers compute what one process does, up to rounding."""
    alone = trained(tmp_path / "alone", *quick, "--epochs", "2", "--keep-epochs")
    out = tmp_path / "two"
    arguments = ["train", *quick, "--epochs", "2", "--keep-epochs", "--out", str(out)]
    assert launch.main(["--workers", "2", "--", *arguments]) == 0
    assert names(out) == names(alone)
    for epoch, path in kept_epochs(out).items():
        for parameter, value in load_weights(kept_epochs(alone)[epoch])[0].items():
            np.testing.assert_allclose(load_weights(path)[0][parameter], value, atol=1e-5)


def refused(arguments, capsys) -> str:
    capsys.readouterr()
    assert train.main(list(map(str, arguments))) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_without_a_folder_it_is_refused(quick, capsys):
    line = refused([*quick, "--keep-epochs"], capsys)
    assert line == "error: --keep-epochs needs a folder to write to: add --out DIR\n"


@pytest.mark.parametrize("option", [[], ["--keep-epochs"]])
def test_epochs_of_another_run_are_not_added_to(option, quick, tmp_path, capsys):
    (tmp_path / "run" / EPOCHS).mkdir(parents=True)
    (tmp_path / "run" / EPOCHS / "epoch-0001.safetensors").touch()
    assert "already holds epochs: choose another folder" in refused(
        [*quick, *option, "--out", tmp_path / "run"], capsys
    )
    assert names(tmp_path / "run") == ["epoch-0001.safetensors"]


def test_a_file_in_the_place_of_the_folder_is_an_error_in_one_line(quick, tmp_path, capsys):
    out = trained(tmp_path / "run", *quick, "--epochs", "1")
    (out / EPOCHS).touch()
    line = refused(["--resume", "--epochs", "2", "--keep-epochs", "--out", out], capsys)
    assert "epochs' cannot be created (File exists): remove what is in its place" in line
    assert load_run(out).epochs_done == 1


def test_where_the_first_checkpoint_cannot_be_written_nothing_is_left(quick, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer, "save_first_checkpoint", full)
    assert "no space left" in refused([*quick, "--keep-epochs", "--out", tmp_path / "run"], capsys)
    assert not (tmp_path / "run").exists()


def test_files_with_other_names_are_no_epochs(tmp_path):
    (tmp_path / EPOCHS).mkdir()
    for name in ("epoch-0010.safetensors", "epoch-0002.safetensors", "epoch-10000.safetensors", "epoch-2.safetensors"):
        (tmp_path / EPOCHS / name).touch()
    (tmp_path / EPOCHS / ".epoch-0003.safetensors.0123456789abcdef.part").touch()
    assert list(kept_epochs(tmp_path)) == [2, 10, 10_000]
    assert kept_epochs(tmp_path / "missing") == {}
