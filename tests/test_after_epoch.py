"""A callback after each epoch: it gets the network and the epoch's figures, and may stop the training."""

import csv

import numpy as np
import pytest
from conftest import EVERY_LOOP

from lenet_multi import train
from lenet_multi.architecture import lenet
from lenet_multi.runs.checkpoint import load_checkpoint, load_run
from lenet_multi.training.points import Point
from lenet_multi.training.recorder import Recorder

NET = lenet(activation="tanh")


def trained(backend, small_data, num_epochs, recorder, net=None):
    net = net or backend.LeNet(NET, device="cpu")
    backend.train(net, small_data.train, small_data.test, num_epochs, lr=0.2, batch_size=32, recorder=recorder)
    return backend.get_parameters(net)


def stop_after(epoch: int):
    return lambda net, point: point.epoch == epoch


def test_it_gets_the_network_as_trained_and_the_point_of_each_epoch(backend, small_data):
    calls: list[Point] = []

    def check(net, point):
        assert net is expected
        assert backend.evaluate_accuracy(net, backend.batches(small_data.test)) == point.test_acc
        calls.append(point)

    expected = backend.LeNet(NET, device="cpu")
    recorder = Recorder(after_epoch=check)
    trained(backend, small_data, 2, recorder, expected)
    assert calls == [point for point in recorder.points if point.test_acc is not None]
    assert [point.epoch for point in calls] == [1, 2]


def test_a_stopped_training_is_complete_as_it_stands(backend, small_data, capsys):
    recorder = Recorder(after_epoch=stop_after(2))
    stopped = trained(backend, small_data, 5, recorder)
    closing = capsys.readouterr().out
    assert (recorder.epochs_done, recorder.points[-1].epoch) == (2, 2)
    assert recorder.stop_training
    assert closing.count("test acc") == closing.count("examples/sec") == 1

    expected = Recorder()
    for name, value in trained(backend, small_data, 2, expected).items():
        np.testing.assert_array_equal(stopped[name], value)
    assert recorder.points == expected.points


def test_a_stopped_training_can_go_on(backend, small_data):
    net = backend.LeNet(NET, device="cpu")
    first = Recorder(after_epoch=stop_after(1))
    trained(backend, small_data, 3, first, net)
    second = Recorder(first.epochs_done, first.points, after_epoch=stop_after(7))
    resumed = trained(backend, small_data, 3, second, net)
    assert not second.stop_training
    for name, value in trained(backend, small_data, 3, Recorder()).items():
        np.testing.assert_array_equal(resumed[name], value)


@pytest.fixture
def quick(small_folder):
    data = ["--dataset", str(small_folder), "--batch-size", "32", "--device", "cpu"]
    return [*data, "--activation", "tanh", "--lr", "0.2"]


@pytest.mark.parametrize("decay", [[], ["--lr-decay-epoch", "3"]], ids=["one stage", "two stages"])
@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_a_stopped_run_has_all_its_files_and_can_be_resumed(backend_and_loop, decay, quick, tmp_path, capsys):
    name, loop = backend_and_loop
    out, straight = tmp_path / "run", tmp_path / "straight"
    arguments = ["--backend", name, "--loop", loop, *quick, *decay, "--epochs", "4"]
    assert train.main([*arguments, "--out", str(out)], after_epoch=stop_after(2)) == 0
    printed = capsys.readouterr()
    assert printed.out.count("test acc") == printed.out.count("examples/sec") == 1
    assert "epoch 2 of 4: " in printed.err
    assert "epoch 3" not in printed.err
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.png",
        "history.csv",
        "model.safetensors",
        "summary.json",
    ]
    with (out / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)][-1] == "2.0"
    assert (load_run(out).epochs_done, load_run(out).settings.epochs) == (2, 4)

    assert train.main(["--resume", "--device", "cpu", "--out", str(out)]) == 0
    assert train.main([*arguments, "--out", str(straight)]) == 0
    resumed, expected = load_checkpoint(out), load_checkpoint(straight)
    assert resumed[0].points == expected[0].points
    for parameter, value in expected[1].items():
        np.testing.assert_array_equal(resumed[1][parameter], value)


def test_the_checkpoint_is_saved_before_it_is_called(quick, tmp_path):
    saved = []
    out = tmp_path / "run"
    arguments = [*quick, "--epochs", "2", "--out", str(out)]
    assert train.main(arguments, after_epoch=lambda net, point: saved.append(load_run(out).epochs_done)) == 0
    assert saved == [1, 2]


def test_an_error_in_it_is_raised_as_it_is(quick, tmp_path):
    def fail(net, point):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train.main([*quick, "--epochs", "2", "--out", str(tmp_path / "run")], after_epoch=fail)
    assert load_run(tmp_path / "run").epochs_done == 1
