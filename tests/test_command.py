"""The commands, in this process: what they print, what they leave, what they refuse."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import safetensors
from conftest import EVERY_LOOP, INSTALLED, SECOND, UNKNOWN_BACKEND, needs_two
from small_folder import blobs, write_folder

from lenet_multi import __main__, backends, evaluate, parity, shapes, train
from lenet_multi.architecture import PRESETS, lenet
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.checks import layer_shapes
from lenet_multi.data import load_dataset, published
from lenet_multi.data.idx import FILE_NAMES, to_idx
from lenet_multi.runs.checkpoint import load_checkpoint
from lenet_multi.runs.weights import load_weights, save_weights
from lenet_multi.training.points import Point
from lenet_multi.training.recorder import closing_lines

FIGURES = r"loss \d+\.\d{3}, train acc [01]\.\d{3}, test acc [01]\.\d{3}"
CLOSING = re.compile(FIGURES + r"\n\d+\.\d examples/sec on cpu\n\Z")
QUICK = ("--epochs", "2", "--batch-size", "32", "--activation", "tanh", "--lr", "0.2", "--device", "cpu")


@pytest.fixture
def quick(small_folder):
    """Arguments of a run that takes a moment."""
    return ["--dataset", str(small_folder), *QUICK]


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_a_run_prints_two_lines_and_leaves_its_files(backend_and_loop, quick, small_folder, tmp_path, capsys):
    name, loop = backend_and_loop
    out = tmp_path / "new" / "run"
    assert train.main(["--backend", name, "--loop", loop, *quick, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert CLOSING.fullmatch(printed.out)
    assert re.fullmatch(rf"epoch 1 of 2: {FIGURES}\nepoch 2 of 2: {FIGURES}\n", printed.err)  # not a terminal
    assert printed.out.startswith(printed.err.splitlines()[-1].removeprefix("epoch 2 of 2: "))
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.png",
        "history.csv",
        "model.safetensors",
        "summary.json",
    ]

    summary = json.loads((out / "summary.json").read_text())
    expected = {
        "backend": name,
        "framework": BACKENDS[name],
        "loop": loop,
        "dataset": str(small_folder),
        "num_train": 200,
        "num_test": 50,
        "parameters": 61_706,
        "epochs": 2,
        "batch_size": 32,
        "lr": 0.2,
        "seed": 3,
        "device": "cpu",
    }
    assert {key: summary[key] for key in expected} == expected
    assert summary["architecture"] == lenet(activation="tanh").to_dict()
    assert summary["framework_version"] == load_backend(name).VERSION
    assert summary["examples_per_sec"] > 0
    assert 400 / summary["examples_per_sec"] <= summary["wall_seconds"] + 0.01
    assert summary["startup_seconds"] > 0
    assert summary["peak_rss_mb"] > 50
    loss, train_acc, test_acc = (float(number) for number in re.findall(r"\d\.\d{3}", printed.out.splitlines()[0]))
    assert (summary["loss"], summary["train_acc"], summary["test_acc"]) == (
        pytest.approx(loss, abs=6e-4),
        pytest.approx(train_acc, abs=6e-4),
        pytest.approx(test_acc, abs=6e-4),
    )

    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_loss", "train_acc", "test_acc"]
    assert len(rows) == 10
    assert float(rows[-1]["epoch"]) == 2
    assert float(rows[-1]["train_loss"]) == summary["loss"]
    assert [row["test_acc"] != "" for row in rows] == [False, False, False, False, True] * 2

    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    with safetensors.safe_open(out / "model.safetensors", framework="numpy") as file:
        assert {n: file.get_tensor(n).shape for n in file.keys()} == PRESETS["lenet5"].parameter_shapes  # noqa: SIM118
        assert json.loads(file.metadata()["run"])["settings"]["lr"] == 0.2


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_a_run_that_went_on_equals_one_that_never_stopped(backend_and_loop, quick, tmp_path):
    name, loop = backend_and_loop
    quick = ["--backend", name, "--loop", loop, *quick]
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert train.main([*quick, "--epochs", "4", "--out", str(once)]) == 0
    assert train.main([*quick, "--epochs", "1", "--out", str(twice)]) == 0
    assert train.main(["--resume", "--epochs", "4", "--out", str(twice)]) == 0
    (whole, parameters), (resumed, resumed_parameters) = load_checkpoint(once), load_checkpoint(twice)
    assert [point.epoch for point in resumed.points] == [point.epoch for point in whole.points]
    assert resumed.points == whole.points
    for parameter, value in parameters.items():
        np.testing.assert_array_equal(resumed_parameters[parameter], value)


@needs_two
def test_a_run_begun_in_one_framework_goes_on_in_the_others(quick, tmp_path, capsys):
    alone, resumed = tmp_path / "alone", tmp_path / "resumed"
    assert train.main(["--backend", "torch", *quick, "--epochs", str(len(INSTALLED)), "--out", str(alone)]) == 0
    for done, backend in enumerate(INSTALLED):
        begin = ["--resume"] if done else quick
        arguments = [*begin, "--backend", backend, "--epochs", str(done + 1), "--out", str(resumed)]
        assert train.main(arguments) == 0
    summary = json.loads((resumed / "summary.json").read_text())
    assert summary["backend"] == INSTALLED[-1]
    found = [(part["backend"], part["first_epoch"], part["epochs_done"]) for part in summary["segments"]]
    assert found == [(name, done, done + 1) for done, name in enumerate(INSTALLED)]
    _, expected = load_checkpoint(alone)
    _, parameters = load_checkpoint(resumed)
    for name, value in expected.items():
        np.testing.assert_allclose(parameters[name], value, atol=1e-4)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_run_changes_its_loop_and_back_and_ends_where_it_would_have(name, quick, tmp_path):
    alone, resumed = tmp_path / "alone", tmp_path / "resumed"
    assert train.main(["--backend", name, *quick, "--epochs", "3", "--out", str(alone)]) == 0
    assert train.main(["--backend", name, *quick, "--epochs", "1", "--out", str(resumed)]) == 0
    for epochs, loop in (("2", "--fast"), ("3", "--loop=plain")):
        assert train.main(["--resume", "--out", str(resumed), "--epochs", epochs, loop]) == 0
    run, parameters = load_checkpoint(resumed)
    assert [segment.loop for segment in run.segments] == ["plain", "fast", "plain"]
    assert json.loads((resumed / "summary.json").read_text())["loop"] == "plain"
    for parameter, value in load_checkpoint(alone)[1].items():
        np.testing.assert_allclose(parameters[parameter], value, atol=1e-4)


def test_a_run_that_goes_on_keeps_its_fast_loop_and_says_so(quick, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([*quick, "--epochs", "1", "--fast", "--out", str(out)]) == 0
    capsys.readouterr()
    assert train.main(["--resume", "--epochs", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().err.startswith(
        "note: the run continues with the fast loop; for the plain one, pass --loop plain\nepoch 2 of 2: "
    )
    assert [segment.loop for segment in load_checkpoint(out)[0].segments] == ["fast", "fast"]


def test_a_run_whose_file_does_not_name_its_loop_is_read_as_fast(quick, tmp_path):
    out = tmp_path / "run"
    assert train.main([*quick, "--out", str(out)]) == 0
    parameters, metadata = load_weights(out / "model.safetensors")
    del metadata["run"]["loop"]
    for segment in metadata["run"]["segments"]:
        del segment["loop"]
    save_weights(out / "model.safetensors", parameters, metadata)
    run, _ = load_checkpoint(out)
    assert (run.loop, [segment.loop for segment in run.segments]) == ("fast", ["fast"])


def test_a_run_resumes_on_the_same_data_in_another_folder(quick, small_folder, tmp_path):
    out, moved = tmp_path / "run", tmp_path / "moved"
    assert train.main([*quick, "--epochs", "1", "--out", str(out)]) == 0
    shutil.copytree(small_folder, moved)
    assert train.main(["--resume", "--epochs", "2", "--dataset", str(moved), "--out", str(out)]) == 0
    assert load_checkpoint(out)[0].settings.dataset == str(moved.resolve())


def test_the_folder_of_several_runs_is_refused_as_weights(quick, tmp_path, capsys):
    assert train.main([*quick, "--epochs", "1", "--out", str(tmp_path / "several" / "torch")]) == 0
    capsys.readouterr()
    line = refused(evaluate.main, ["--weights", str(tmp_path / "several")], capsys)
    assert f"is a folder of runs: pass one of them, as in {tmp_path / 'several' / 'torch'}" in line
    assert "use python -m lenet_multi.compare --resume" in refused(
        train.main, ["--resume", "--out", str(tmp_path / "several")], capsys
    )


def test_a_network_with_parameters_that_its_description_lacks_trains_and_says_so(quick, tmp_path, monkeypatch, capsys):
    """As when a reader adds a batch normalization to a backend's `LeNet`."""
    torch, out = load_backend("torch"), tmp_path / "run"
    read = torch.get_parameters
    monkeypatch.setattr(torch, "get_parameters", lambda net: read(net) | {"bn.weight": np.ones(6, np.float32)})
    assert train.main([*quick, "--out", str(out)]) == 0
    assert "note: the network has bn.weight, which is not in its description" in capsys.readouterr().err
    assert {"summary.json", "history.csv", "curves.png"} <= {path.name for path in out.iterdir()}
    assert "has bn.weight, which the network does not have" in refused(evaluate.main, ["--weights", str(out)], capsys)


def test_a_checkpoint_with_the_names_of_earlier_versions_is_read(quick, tmp_path):
    out = tmp_path / "run"
    assert train.main([*quick, "--lr-decay-epoch", "1", "--out", str(out)]) == 0
    expected = load_checkpoint(out)[0]
    parameters, metadata = load_weights(out / "model.safetensors")
    metadata["run"]["legs"] = metadata["run"].pop("segments")
    metadata["run"]["settings"]["lr_drop"] = metadata["run"]["settings"].pop("lr_decay_epoch")
    save_weights(out / "model.safetensors", parameters, metadata)
    assert load_checkpoint(out)[0] == expected
    assert expected.settings.lr_decay_epoch == 1


def test_going_on_with_a_finished_run_repeats_its_closing_lines(quick, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([*quick, "--out", str(out)]) == 0
    first = capsys.readouterr().out
    (out / "summary.json").unlink()  # as if killed just before the end
    assert train.main(["--resume", "--out", str(out)]) == 0
    assert capsys.readouterr().out == first
    assert (out / "summary.json").exists()


def test_a_loss_far_above_the_chance_loss_is_noted(small_folder, capsys):
    data = ["--dataset", str(small_folder), "--epochs", "1", "--batch-size", "32"]
    assert train.main([*data, "--lr", "100"]) == 0
    assert re.fullmatch(
        rf"epoch 1 of 1: {FIGURES}\n"
        r"note: the loss of \d+\.\d{3} is far above the chance loss of 2\.303: try a smaller --lr\n",
        capsys.readouterr().err,
    )


def test_weights_given_are_where_training_starts(quick, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train.main([*quick, "--epochs", "1", "--out", str(first)]) == 0
    start = ["--weights", str(first / "model.safetensors"), "--lr", "1e-30"]
    assert train.main(["--backend", SECOND, *quick, *start, "--out", str(second)]) == 0
    for name, value in load_checkpoint(first)[1].items():
        np.testing.assert_array_equal(load_checkpoint(second)[1][name], value)


def test_weights_bring_their_own_architecture_when_no_network_option_is_given(small_folder, tmp_path, capsys):
    out, again = tmp_path / "run", tmp_path / "again"
    data = ["--dataset", str(small_folder), "--epochs", "1", "--batch-size", "32"]
    assert train.main([*data, "--conv-channels", "4", "--dense-units", "20", "--out", str(out)]) == 0
    weights = ["--weights", str(out)]
    assert train.main([*data, *weights, "--out", str(again)]) == 0
    assert load_checkpoint(again)[0].architecture == lenet(conv_channels=(4,), dense_units=(20,))
    assert evaluate.main(weights) == 0


def test_a_network_option_given_with_weights_does_not_reset_the_others(quick, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([*quick, "--pooling", "max", "--out", str(out)]) == 0
    weights = ["--weights", str(out / "model.safetensors")]
    capsys.readouterr()
    assert evaluate.main([*weights, "--pooling", "max", "--activation", "tanh"]) == 0
    capsys.readouterr()
    line = refused(evaluate.main, [*weights, "--pooling", "max"], capsys)
    assert "conv1 has activation tanh, not sigmoid" in line
    assert "omit the network options" in line


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_the_evaluator_alone_repeats_a_runs_test_accuracy(backend_and_loop, quick, tmp_path, capsys):
    name, loop = backend_and_loop
    out = tmp_path / "run"
    assert train.main([*quick, "--out", str(out)]) == 0
    closing = capsys.readouterr().out
    assert evaluate.main(["--backend", name, "--loop", loop, "--weights", str(out / "model.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert re.fullmatch(r"test acc [01]\.\d{3}\n", printed)
    assert printed.strip() in closing


def test_a_lack_of_memory_is_a_one_line_error(capsys, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(shapes, "layer_shapes_of", fail)
    assert shapes.main([]) == 2
    assert capsys.readouterr().err.startswith("error: out of memory: close other programs, or raise the limit")


def test_the_shape_table_agrees_for_all_backends(capsys):
    assert shapes.main(["--backend", "all", "--conv-channels", "4,8,12", "--paddings", "2", "--pooling", "max"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split("  ")[0] == "layer"
    layouts = {name: load_backend(name).LAYOUT for name in INSTALLED}
    assert all(f"{name} ({layout})" in rows[0] for name, layout in layouts.items())
    assert rows[1].startswith("conv1    (1, 4, 28, 28) ")
    assert rows[1].count("(1, 28, 28, 4)") == list(layouts.values()).count("NHWC")
    everything = len(INSTALLED) == len(BACKENDS)
    assert rows[-1] == ("all agree" if everything else f"in agreement: {', '.join(INSTALLED)}")


def test_the_shape_table_shows_where_a_backend_differs(capsys, monkeypatch):
    measured = layer_shapes.measured_shapes

    def wrong(name, architecture):
        layout, found = measured(name, architecture)
        return layout, found | ({"pool2": (1, 16, 6, 6)} if name == SECOND else {})

    monkeypatch.setattr(layer_shapes, "measured_shapes", wrong)
    assert shapes.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"differs: pool2 in {SECOND}"


def test_the_shape_table_says_which_framework_is_not_installed(capsys, monkeypatch):
    monkeypatch.setattr(backends, "installed_backends", lambda: ("torch",))
    assert shapes.main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].count("not installed") == len(BACKENDS) - 1
    assert printed.err.startswith("note: left out: tensorflow (")
    assert len(printed.err.splitlines()) == 1


def test_a_data_set_that_was_drawn_is_said_to_be_in_the_summary(tmp_path, monkeypatch, empty_cache, capsys):
    """`auto` without Fashion-MNIST: the fallback is named in every output."""
    small = published.Published("Fashion-MNIST", (), published.FASHION_MNIST.digests, ())
    monkeypatch.setitem(published.PUBLISHED, "fashion-mnist", small)
    draw = load_dataset.__globals__["synthetic"].generate
    monkeypatch.setattr(load_dataset.__globals__["synthetic"], "generate", lambda: draw(400, 100))
    out = tmp_path / "run"
    assert train.main(["--epochs", "1", "--out", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["dataset"] == "synthetic"
    assert load_checkpoint(out)[0].settings.dataset == "synthetic"
    assert "NOT for Fashion-MNIST" in capsys.readouterr().err


def test_every_command_is_there_under_the_one_name(capsys):
    assert __main__.main(["shapes", "--backend", "torch"]) == 0
    assert __main__.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("train", "evaluate", "shapes"))


# Bad input: status 2, one line that begins with `error: `, nothing printed besides, nothing left behind.


def refused(main, arguments, capsys) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--backend", "caffe"], UNKNOWN_BACKEND),
        (["--epochs", "0"], "--epochs: invalid value '0', expected a whole number of at least 1"),
        (["--epochs", "ten"], "--epochs: invalid value 'ten', expected a whole number"),
        (["--epochs", "1.5"], "--epochs: invalid value '1.5', expected a whole number"),
        (["--batch-size", "-256"], "--batch-size: invalid value '-256', expected a whole number of at least 1"),
        (["--batch-size", "201"], "--batch-size 201 is larger than the 200 training examples"),
        (["--lr", "0"], "--lr: invalid value '0', expected a number above 0"),
        (["--lr", "nan"], "--lr: invalid value 'nan', expected a number above 0"),
        (["--lr", "inf"], "--lr: invalid value 'inf', expected a number above 0"),
        (["--lr", "1e39"], "--lr: invalid value '1e39', expected a number above 0 and below 3.4e38"),
        (
            ["--dense-units", "1000000000000"],
            "layer dense1: 400,000,000,000,000 weights, expected fewer than 2,147",
        ),
        (["--conv-channels", "6,,16"], "--conv-channels: invalid value '6,,16', expected whole numbers"),
        (["--dataset", ""], "dataset '': choose one of auto"),
        (["--out", ""], "--out: invalid value '', expected the path"),
        (["--epo", "3"], "unrecognized arguments: --epo"),
        (["--loop", "quick"], "--loop"),
        (["--fast", "--loop", "plain"], "not allowed with argument"),
        (["--lr", "fast"], "--lr: invalid value 'fast', expected a number above 0"),
        (["--seed", "-1"], "--seed: invalid value '-1', expected a whole number from 0"),
        (["--epoch", "2"], "unrecognized arguments: --epoch 2 (did you mean --epochs?)"),
        (["--device", "gpu:99"], "device 'gpu:99' is not available in PyTorch"),
        (["--device", "toaster"], "unknown device 'toaster': choose auto, cpu, gpu"),
        (["--dataset", "nowhere"], "dataset 'nowhere' is neither a known data set nor a folder: choose one of auto"),
        (["--kernel-sizes", "40"], "layer conv1: a 40 x 40 window is larger than its padded input"),
        (["--conv-channels", "6,0"], "layer conv2: channels 0"),
        (["--conv-channels", "six"], "--conv-channels: invalid value 'six', expected whole numbers"),
        (["--activation", "swish"], "--activation"),
        (["--weights", "nowhere.safetensors"], "weights file 'nowhere.safetensors' does not exist"),
        (["--resume"], "--resume needs the folder of a run"),
        (["--colour", "red"], "unrecognized arguments"),
        ([""], "unrecognized arguments"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, told, small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = [] if "--resume" in arguments else ["--out", "runs/new"]
    line = refused(train.main, ["--dataset", str(small_folder), "--batch-size", "32", *out, *arguments], capsys)
    assert told in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", INSTALLED)
def test_a_device_that_is_not_there_is_refused_in_every_framework(name, small_folder, capsys):
    arguments = ["--backend", name, "--device", "gpu:99", "--dataset", str(small_folder), "--batch-size", "32"]
    assert "is not available in " in refused(train.main, arguments, capsys)


@pytest.mark.parametrize("main", [shapes.main, parity.main])
def test_a_named_backend_that_is_not_installed_is_refused(main, monkeypatch, capsys):
    monkeypatch.setattr(backends, "installed_backends", lambda: ("torch",))
    line = refused(main, ["--backends", "torch,mxnet"], capsys)
    assert line.startswith("error: the mxnet backend needs MXNet")


def test_images_of_another_size_than_the_networks_are_refused(tmp_path, capsys):
    folder, weights = write_folder(tmp_path / "data", size=32), tmp_path / "lenet5.safetensors"
    parameters = {name: np.zeros(shape, np.float32) for name, shape in lenet().parameter_shapes.items()}
    save_weights(weights, parameters, {"architecture": lenet().to_dict()})
    line = refused(train.main, ["--dataset", str(folder), "--weights", str(weights), "--batch-size", "32"], capsys)
    assert "images of 1 x 32 x 32, expected 1 x 28 x 28" in line


def test_a_dataset_folder_that_lacks_a_file_is_refused(tmp_path, capsys):
    folder = write_folder(tmp_path / "data")
    (folder / FILE_NAMES["test labels"]).unlink()
    assert "lacks t10k-labels-idx1-ubyte" in refused(train.main, ["--dataset", str(folder)], capsys)


def test_weights_that_are_no_safetensors_are_refused(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"something else altogether")
    line = refused(evaluate.main, ["--weights", str(tmp_path / "model.safetensors")], capsys)
    assert "is truncated or not a safetensors file" in line


def test_weights_that_are_cut_short_are_refused(quick, tmp_path, capsys):
    assert train.main([*quick, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    content = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(content[: len(content) // 2])
    line = refused(train.main, [*quick, "--weights", str(tmp_path / "short.safetensors")], capsys)
    assert "is truncated or not a safetensors file" in line


def parameters_like(architecture, **changed):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in architecture.parameter_shapes.items()}
    return arrays | changed


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (parameters_like(lenet(dense_units=(100, 84))), "dense1.weight has shape (100, 400), expected (120, 400)"),
        (parameters_like(lenet(dense_units=(120,))), "dense2.weight has shape (10, 120), expected (84, 120)"),
        (parameters_like(lenet(), extra=np.zeros(1, np.float32)), "has extra, which the network does not have"),
    ],
)
def test_weights_of_another_architecture_are_refused_by_the_first_that_differs(parameters, told, tmp_path, capsys):
    save_weights(tmp_path / "other.safetensors", parameters, {})
    assert told in refused(evaluate.main, ["--weights", str(tmp_path / "other.safetensors")], capsys)


def test_weights_of_another_type_or_not_finite_are_refused(tmp_path, capsys):
    import safetensors.numpy

    path = tmp_path / "wrong.safetensors"
    doubles = {name: value.astype(np.float64) for name, value in parameters_like(lenet()).items()}
    safetensors.numpy.save_file(doubles, path)
    assert "conv1.weight is float64, expected float32" in refused(evaluate.main, ["--weights", str(path)], capsys)
    save_weights(path, parameters_like(lenet(), **{"conv1.bias": np.full(6, np.nan, np.float32)}), {})
    assert "conv1.bias is not finite everywhere" in refused(evaluate.main, ["--weights", str(path)], capsys)


def test_a_folder_that_holds_a_run_is_not_overwritten(quick, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert train.main([*quick, *out]) == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert "already holds a run" in refused(train.main, [*quick, *out], capsys)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["summary.json", "history.csv", "curves.png"])
def test_a_file_in_an_outputs_place_is_not_overwritten(name, quick, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert f"already holds {name}" in refused(train.main, [*quick, "--out", str(tmp_path)], capsys)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_an_output_folder_that_cannot_be_made_is_refused(quick, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be created" in refused(train.main, [*quick, "--out", str(tmp_path / "file" / "run")], capsys)


def test_an_output_folder_that_cannot_be_written_is_refused(quick, tmp_path, capsys):
    """A device is no folder, and nobody can make one in it, not even root."""
    assert "--out '/dev/null/run' cannot be created" in refused(train.main, [*quick, "--out", "/dev/null/run"], capsys)


@pytest.mark.parametrize("name", ["model.safetensors", "summary.json", "curves.png"])
def test_a_folder_in_the_place_of_an_output_is_refused_before_training(name, quick, tmp_path, capsys):
    in_the_way = tmp_path / "run" / name
    in_the_way.mkdir(parents=True)
    line = refused(train.main, [*quick, "--out", str(tmp_path / "run")], capsys)
    assert name in line
    assert list((tmp_path / "run").iterdir()) == [in_the_way]


def test_what_the_system_refuses_is_told_in_one_line(quick, tmp_path, capsys):
    line = refused(train.main, [*quick, "--out", str(tmp_path / ("long" * 100))], capsys)
    assert "file name too long" in line.lower()


def test_nothing_to_resume_is_refused(tmp_path, capsys):
    line = refused(train.main, ["--resume", "--out", str(tmp_path)], capsys)
    assert "holds no model.safetensors, so there is no run to resume" in line


def test_weights_that_are_no_run_cannot_be_resumed(tmp_path, capsys):
    save_weights(tmp_path / "model.safetensors", parameters_like(lenet()), {})
    assert "does not describe a training run" in refused(train.main, ["--resume", "--out", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--lr", "0.3"], "has lr 0.2: omit --lr"),
        (["--batch-size", "64"], "has batch-size 32: omit --batch-size"),
        (["--seed", "1"], "has seed 0: omit --seed"),
        (["--epochs", "1"], "has 2 epochs, 2 of them done: omit --epochs"),
        (
            ["--pooling", "max"],
            "than the options describe (conv1 has activation tanh, not sigmoid): omit",
        ),
        (["--dense-units", "20"], "is for a different network than the options describe"),
        (["--weights", "other.safetensors"], "--resume and --weights cannot be combined"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(changed, told, quick, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert train.main([*quick, *out]) == 0
    before = (tmp_path / "run" / "summary.json").read_bytes()
    capsys.readouterr()
    assert told in refused(train.main, ["--resume", *out, *changed], capsys)
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_a_run_does_not_go_on_with_other_data(tmp_path, capsys):
    folder, out = write_folder(tmp_path / "data"), ["--out", str(tmp_path / "run")]
    assert train.main(["--dataset", str(folder), *QUICK, *out]) == 0
    capsys.readouterr()
    images, _ = blobs(200, seed=9)
    (folder / FILE_NAMES["train images"]).write_bytes(to_idx(images))
    assert "has changed since the run in" in refused(train.main, ["--resume", "--epochs", "3", *out], capsys)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_loss_that_is_not_finite_stops_a_run_that_keeps_nothing_too(name, small_folder, capsys):
    data = ["--backend", name, "--dataset", str(small_folder), "--batch-size", "32"]
    assert "try a smaller --lr" in refused(train.main, [*data, "--activation", "relu", "--lr", "1e20"], capsys)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    name, small_folder, tmp_path, capsys
):
    out = tmp_path / "run"
    data = ["--backend", name, "--dataset", str(small_folder), "--batch-size", "32", "--out", str(out)]
    assert train.main([*data, "--activation", "relu", "--lr", "1e20"]) == 2
    printed = capsys.readouterr()
    assert re.match(r"error: (train loss is|the weights are) .* try a smaller --lr; .* epoch 0 of 10\n", printed.err)
    assert len(printed.err.splitlines()) == 1
    _, parameters = load_checkpoint(out)
    assert all(np.isfinite(value).all() for value in parameters.values())


def test_a_loss_that_rounding_made_negative_is_printed_as_zero():
    assert closing_lines(Point(1, -4e-8, 1, 1), 10, "cpu").startswith("loss 0.000, train acc 1.000")


def test_debug_shows_the_trace(monkeypatch):
    from lenet_multi.errors import UserError

    monkeypatch.setenv("LENET_MULTI_DEBUG", "1")
    with pytest.raises(UserError):
        train.main(["--backend", "caffe"])


def test_metadata_that_is_not_ours_does_not_hinder_loading(tmp_path):
    import safetensors.numpy

    path = tmp_path / "others.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(2, np.float32)}, path, metadata={"format": "pt", "run": "{"})
    parameters, metadata = load_weights(path)
    assert list(parameters) == ["x"]
    assert metadata == {}


@pytest.mark.parametrize(
    "run", [[1], None, {"settings": 3}, {"settings": {"dataset": 3}}, {"settings": {"dataset": "gone"}}]
)
def test_metadata_of_another_form_does_not_hinder_evaluation(run, small_folder, tmp_path, capsys):
    save_weights(tmp_path / "model.safetensors", parameters_like(lenet()), {"run": run})
    weights = ["--weights", str(tmp_path / "model.safetensors"), "--dataset", str(small_folder)]
    assert evaluate.main(weights) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["points"].clear(),
        lambda run: run["points"][-1].update(test_acc=None),
        lambda run: run["points"][0].update(train_loss="x"),
        lambda run: run["settings"].update(epochs="10"),
        lambda run: run["settings"].update(batch_size=0),
        lambda run: run["settings"].update(lr=None),
        lambda run: run["settings"].update(lr=float("nan")),
        lambda run: run["settings"].update(seed=-3),
        lambda run: run["settings"].update(dataset=3),
        lambda run: run["settings"].pop("dataset"),
        lambda run: run["segments"][0].update(epochs_done=7),
        lambda run: run["segments"][0].update(epochs_done="2"),
        lambda run: run["segments"][0].update(workers=0),
        lambda run: run.update(backend="caffe"),
        lambda run: run.update(segments=3),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(change, quick, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([*quick, "--out", str(out)]) == 0
    parameters, metadata = load_weights(out / "model.safetensors")
    change(metadata["run"])
    save_weights(out / "model.safetensors", parameters, metadata)
    capsys.readouterr()
    assert "does not describe a training run" in refused(train.main, ["--resume", "--out", str(out)], capsys)


def test_a_run_that_is_about_to_go_on_has_no_stale_outputs(quick, tmp_path, monkeypatch):
    out = tmp_path / "run"
    assert train.main([*quick, "--out", str(out)]) == 0

    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    monkeypatch.setattr(load_backend("torch"), "train", stop)
    with pytest.raises(StopError):
        train.main(["--resume", "--epochs", "3", "--out", str(out)])
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]
