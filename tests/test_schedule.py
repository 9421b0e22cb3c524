"""A learning rate that drops: the same in every framework, and nothing but one training after another."""

import numpy as np
import pytest
from conftest import EVERY_LOOP, INSTALLED, load, needs_two

from lenet_multi import train
from lenet_multi.architecture import lenet
from lenet_multi.runs.checkpoint import load_checkpoint
from lenet_multi.runs.weights import load_weights
from lenet_multi.training.recorder import Recorder
from lenet_multi.training.schedule import lr_schedule
from lenet_multi.training.settings import Settings

QUICK = ("--batch-size", "32", "--activation", "tanh", "--lr", "0.2", "--device", "cpu")


def settings(epochs: int, lr_decay_epoch: int | None) -> Settings:
    return Settings("synthetic", "", 200, 50, epochs, 32, 0.5, 0, lr_decay_epoch)


def test_the_rate_is_a_tenth_after_so_many_epochs():
    assert lr_schedule(settings(10, 8)) == [(8, 0.5), (10, pytest.approx(0.05))]


@pytest.mark.parametrize("lr_decay_epoch", [None, 10, 11])
def test_a_rate_that_never_drops_is_one_stage(lr_decay_epoch):
    assert lr_schedule(settings(10, lr_decay_epoch)) == [(10, 0.5)]


def options(backend_and_loop: tuple[str, str]) -> list[str]:
    backend, loop = backend_and_loop
    return ["--backend", backend, "--loop", loop]


@pytest.fixture
def quick(small_folder):
    return ["--dataset", str(small_folder), *QUICK]


@pytest.fixture(params=EVERY_LOOP)
def dropped(request, quick, tmp_path):
    """A backend with its loop, and the folder of its run of three epochs, the last two with a tenth of the rate."""
    out = tmp_path / "dropped"
    assert (
        train.main([*options(request.param), *quick, "--epochs", "3", "--lr-decay-epoch", "1", "--out", str(out)]) == 0
    )
    return request.param, out


def test_the_closing_lines_come_once(quick, capsys):
    assert train.main([*quick, "--epochs", "2", "--lr-decay-epoch", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("test acc") == printed.count("examples/sec") == 1


def test_a_drop_is_one_training_after_another(dropped, small_data):
    backend_and_loop, out = dropped
    run, found = load_checkpoint(out)
    (segment,) = run.segments
    assert (run.settings.lr, run.settings.lr_decay_epoch) == (0.2, 1)
    assert (segment.first_epoch, segment.epochs_done) == (0, 3)
    assert segment.examples_per_sec > 0

    backend = load(backend_and_loop)
    net = backend.LeNet(lenet(activation="tanh"), 0, "cpu")
    data = (small_data.train, small_data.test)
    recorder = backend.train(net, *data, num_epochs=1, lr=0.2, batch_size=32)
    recorder = backend.train(net, *data, num_epochs=3, lr=0.02, batch_size=32, recorder=Recorder(1, recorder.points))
    for parameter, value in backend.get_parameters(net).items():
        np.testing.assert_array_equal(found[parameter], value)
    assert recorder.points == run.points


def test_a_run_that_was_stopped_drops_its_rate_all_the_same(dropped, quick, tmp_path):
    backend_and_loop, straight = dropped
    out = tmp_path / "stopped"
    assert (
        train.main([*options(backend_and_loop), *quick, "--epochs", "2", "--lr-decay-epoch", "1", "--out", str(out)])
        == 0
    )
    assert train.main(["--resume", "--epochs", "3", "--device", "cpu", "--out", str(out)]) == 0
    expected, _ = load_weights(straight / "model.safetensors")
    found, _ = load_weights(out / "model.safetensors")
    for parameter, value in expected.items():
        np.testing.assert_array_equal(found[parameter], value)


def test_without_the_drop_the_run_ends_elsewhere(quick, dropped, tmp_path):
    backend_and_loop, out = dropped
    assert train.main([*options(backend_and_loop), *quick, "--epochs", "3", "--out", str(tmp_path / "steady")]) == 0
    steady, _ = load_weights(tmp_path / "steady" / "model.safetensors")
    found, _ = load_weights(out / "model.safetensors")
    assert np.abs(steady["conv1.weight"] - found["conv1.weight"]).max() > 1e-4


@needs_two
def test_the_frameworks_agree_on_a_run_whose_rate_drops(quick, tmp_path):
    """From the same weights, the losses of three epochs and the final weights."""
    assert train.main(["--backend", "torch", *quick, "--epochs", "1", "--out", str(tmp_path / "start")]) == 0
    weights = ["--weights", str(tmp_path / "start" / "model.safetensors")]
    runs = []
    for name in INSTALLED:
        arguments = ["--backend", name, *quick, *weights, "--epochs", "3", "--lr-decay-epoch", "2"]
        assert train.main([*arguments, "--out", str(tmp_path / name)]) == 0
        runs.append(load_checkpoint(tmp_path / name))
    (first, reference), *others = runs
    for run, parameters in others:
        losses, expected = ([point.train_loss for point in one.points] for one in (run, first))
        np.testing.assert_allclose(losses, expected, atol=1e-4)
        for parameter, value in reference.items():
            np.testing.assert_allclose(parameters[parameter], value, atol=1e-4)


def test_a_run_that_goes_on_keeps_its_drop(dropped, capsys):
    _, out = dropped
    assert train.main(["--resume", "--epochs", "4", "--lr-decay-epoch", "2", "--out", str(out)]) == 2
    assert "has lr-decay-epoch 1: omit --lr-decay-epoch" in capsys.readouterr().err


def test_a_drop_after_no_epoch_is_refused(quick, capsys):
    assert train.main([*quick, "--lr-decay-epoch", "0"]) == 2
    assert "--lr-decay-epoch: invalid value '0', expected a whole number of at least 1" in capsys.readouterr().err
