"""`train --tensorboard`: TensorBoard's reader finds what the other files of the run hold."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, imported_frameworks
from PIL import Image

from lenet_multi import train
from lenet_multi.runs import trainer
from lenet_multi.runs.checkpoint import load_checkpoint, load_run
from lenet_multi.runs.tensorboard import COLUMNS, MAX_KERNELS, SCALE, kernel_picture

TAGS = ["examples_per_sec", "lr", "test_acc", "train_acc", "train_loss"]
LOOPS = [(name, "plain") for name in INSTALLED] + [("torch", "fast")]


@pytest.fixture(autouse=True)
def reader_without_tensorflow(monkeypatch):
    """TensorBoard reads files with TensorFlow where it is installed, unless there is a module of this name."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))


@pytest.fixture
def quick(small_folder):
    data = ["--dataset", str(small_folder), "--batch-size", "32", "--device", "cpu"]
    return [*data, "--activation", "tanh", "--lr", "0.2", "--tensorboard"]


def events(out: Path) -> Any:
    """TensorBoard's reader, with all that it finds in the folder of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(out / "tensorboard"), size_guidance={"images": 0})
    return reader.Reload()


def steps_and_values(out: Path, tag: str) -> tuple[list[int], list[float]]:
    found = events(out).Scalars(tag)
    return [event.step for event in found], [event.value for event in found]


def settings_by_step(out: Path) -> dict[int, Any]:
    """The text of the settings, which Markdown takes for code, read as JSON."""
    return {event.step: json.loads(event.tensor_proto.string_val[0]) for event in events(out).Tensors("settings")}


def require_equal_history(out: Path, epochs: int) -> None:
    """Each epoch is there once, with the figures of `history.csv`."""
    with (out / "history.csv").open() as file:
        ends = [row for row in csv.DictReader(file) if row["test_acc"]]
    for tag in ("train_loss", "train_acc", "test_acc"):
        steps, values = steps_and_values(out, tag)
        assert steps == list(range(1, epochs + 1))
        np.testing.assert_allclose(values, [float(row[tag]) for row in ends], rtol=1e-6)


@pytest.mark.parametrize(("name", "loop"), LOOPS)
def test_tensorboard_reads_the_figures_of_the_history(name, loop, quick, tmp_path):
    out = tmp_path / "run"
    arguments = ["--backend", name, "--loop", loop, *quick, "--epochs", "3", "--lr-decay-epoch", "2"]
    assert train.main([*arguments, "--out", str(out)]) == 0
    found = events(out)
    assert sorted(found.Tags()["scalars"]) == TAGS
    require_equal_history(out, 3)
    assert steps_and_values(out, "lr") == ([1, 2, 3], pytest.approx([0.2, 0.2, 0.02]))
    speeds = steps_and_values(out, "examples_per_sec")[1]
    # Each is that of its epoch; the run's is their harmonic mean.
    mean = 3 / sum(1 / speed for speed in speeds)
    assert mean == pytest.approx(load_run(out).segments[-1].examples_per_sec, rel=1e-3, abs=0.06)  # it is rounded

    assert found.Tags()["images"] == ["conv1.weight"]
    pictures = found.Images("conv1.weight")
    assert [picture.step for picture in pictures] == [1, 2, 3]
    pixels = np.array(Image.open(io.BytesIO(pictures[-1].encoded_image_string)))
    np.testing.assert_array_equal(pixels, kernel_picture(load_checkpoint(out)[1]["conv1.weight"]))

    (settings,) = settings_by_step(out).values()
    assert (settings["backend"], settings["loop"], settings["lr"], settings["epochs"]) == (name, loop, 0.2, 3)


def test_a_resumed_run_goes_on_after_its_last_epoch(quick, tmp_path):
    out = tmp_path / "run"
    assert train.main([*quick, "--epochs", "2", "--out", str(out)]) == 0
    assert train.main(["--resume", "--epochs", "4", "--fast", "--out", str(out)]) == 0
    require_equal_history(out, 4)
    assert {step: settings["loop"] for step, settings in settings_by_step(out).items()} == {1: "plain", 3: "fast"}


def test_a_run_without_tensorboard_can_write_there_once_it_is_resumed(quick, tmp_path):
    out = tmp_path / "run"
    assert train.main([*quick[:-1], "--epochs", "1", "--out", str(out)]) == 0
    assert not (out / "tensorboard").exists()
    assert train.main(["--resume", "--epochs", "2", "--tensorboard", "--out", str(out)]) == 0
    assert steps_and_values(out, "train_loss")[0] == [2]


@pytest.mark.parametrize("killed_after", [0, 1])
def test_an_epoch_that_a_killed_run_wrote_without_a_checkpoint_is_there_once(
    killed_after, quick, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    save = trainer.save_checkpoint

    def killed(folder, run, parameters):
        if run.epochs_done > killed_after:
            raise SystemExit
        save(folder, run, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", killed)
        with pytest.raises(SystemExit):
            train.main([*quick, "--epochs", "3", "--out", str(out)])
    assert steps_and_values(out, "train_loss")[0] == list(range(1, killed_after + 2))
    assert load_run(out).epochs_done == killed_after
    assert train.main(["--resume", "--out", str(out)]) == 0
    require_equal_history(out, 3)
    assert list(settings_by_step(out)) == ([1] if killed_after == 0 else [1, 2])


def test_what_a_killed_process_wrote_in_part_is_skipped(quick, tmp_path):
    out = tmp_path / "run"
    assert train.main([*quick, "--epochs", "1", "--out", str(out)]) == 0
    (file,) = (out / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes() + file.read_bytes()[:50])
    file.rename(file.with_name("events.out.tfevents.1000000000"))  # of a process before
    assert train.main(["--resume", "--epochs", "2", "--out", str(out)]) == 0
    require_equal_history(out, 2)


@pytest.mark.parametrize("name", INSTALLED)
def test_only_the_framework_that_trains_is_imported(name, quick, tmp_path):
    code = f"""
import sys
from lenet_multi import train
assert train.main({["--backend", name, *quick, "--epochs", "1", "--out", str(tmp_path / "run")]!r}) == 0
assert "tensorboard" in sys.modules
print({imported_frameworks()})
"""
    # TensorFlow itself imports JAX where it is installed.
    alone = f"import sys\nfrom lenet_multi import load_backend\nload_backend({name!r})\nprint({imported_frameworks()})"
    imported = []
    for program in (code, alone):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        imported.append(done.stdout.splitlines()[-1])
    assert imported[0] == imported[1]


def refused(arguments, capsys) -> str:
    assert train.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_without_the_package_nothing_is_trained(quick, tmp_path, monkeypatch, capsys):
    line = 'error: --tensorboard needs TensorBoard: pip install "lenet-multi[tensorboard]"\n'
    out = tmp_path / "run"
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert refused([*quick, "--out", str(out)], capsys) == line
    assert not out.exists()


def test_a_run_that_wrote_there_is_not_resumed_without_the_package(quick, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    assert train.main([*quick, "--epochs", "1", "--out", str(out)]) == 0
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    line = refused(["--resume", "--epochs", "2", "--out", str(out)], capsys)
    assert line.startswith(f"error: the run in '{out}' writes to tensorboard/ and needs TensorBoard: pip install ")
    assert load_run(out).epochs_done == 1


def test_without_a_folder_it_is_refused(quick, capsys):
    assert refused(quick, capsys) == "error: --tensorboard needs a folder to write to: add --out DIR\n"


def test_events_of_another_run_are_not_added_to(quick, tmp_path, capsys):
    (tmp_path / "run" / "tensorboard").mkdir(parents=True)
    assert "already holds tensorboard" in refused([*quick, "--out", str(tmp_path / "run")], capsys)


def test_a_file_that_cannot_be_written_is_an_error_in_one_line(quick, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    first = trainer.save_first_checkpoint

    def with_a_file_in_the_way(*arguments):
        first(*arguments)
        (out / "tensorboard").touch()

    monkeypatch.setattr(trainer, "save_first_checkpoint", with_a_file_in_the_way)
    assert "cannot be written (File exists): choose a writable folder" in refused([*quick, "--out", str(out)], capsys)


def test_a_network_without_a_convolution_has_no_picture(quick, tmp_path):
    out = tmp_path / "run"
    no_convolution = ["--conv-channels", "", "--epochs", "1"]
    assert train.main([*quick, *no_convolution, "--out", str(out)]) == 0
    assert events(out).Tags()["images"] == []
    assert steps_and_values(out, "train_loss")[0] == [1]


def test_the_picture_shows_kernels_in_rows_with_zero_in_gray():
    kernels = np.zeros((10, 1, 3, 2), np.float32)
    kernels[0, 0, 0, 0], kernels[9, 0, 2, 1] = -2, 1
    pixels = kernel_picture(kernels)
    height, width = 3 * SCALE + 2, 2 * SCALE + 2
    assert pixels.shape == (2 * height, COLUMNS * width)
    assert pixels[1, 1] == 0  # the largest
    assert pixels[height - 2, 1] in (127, 128)
    assert pixels[2 * height - 2, 2 * width - 2] == 191  # half as large, and positive
    assert (pixels[height:, 2 * width :] == 255).all()  # no kernels


def test_the_picture_of_many_kernels_is_bounded_and_that_of_zeros_is_gray():
    pixels = kernel_picture(np.zeros((1000, 3, 5, 5), np.float32))
    assert pixels.shape == (MAX_KERNELS // COLUMNS * (5 * SCALE + 2), COLUMNS * (5 * SCALE + 2))
    assert set(np.unique(pixels)) == {128, 255}
