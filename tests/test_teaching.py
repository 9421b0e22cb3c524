"""The programs of the lesson's assignments do what docs/teaching.md says."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED

from lenet_multi import compare_networks, load_dataset, train
from lenet_multi.checks.float64_reference import forward
from lenet_multi.runs.checkpoint import load_checkpoint

FOLDER = Path(__file__).parent.parent / "docs" / "teaching"
needs_both = pytest.mark.skipif(
    not {"torch", "tensorflow"} <= set(INSTALLED), reason="the original is in PyTorch and the port in Keras"
)


@pytest.fixture
def there(small_cache, tmp_path, monkeypatch) -> Path:
    """The working directory: with a run in runs/first, and with a small data set that `auto` finds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_cache))
    monkeypatch.delenv("LENET_MULTI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "synthetic", "--batch-size", "32", "--epochs", "1", "--out", "runs/first"]
    assert train.main(["--backend", INSTALLED[0], *options]) == 0
    return tmp_path


def test_one_number_by_hand_is_that_of_the_network(there, capsys):
    runpy.run_path(str(FOLDER / "one_number.py"), run_name="__main__")
    run, parameters = load_checkpoint(there / "runs" / "first")
    outputs = forward(run.architecture, parameters, load_dataset("auto").test.scaled(slice(1)))
    assert capsys.readouterr().out.split()[-1] == f"{outputs['conv1'][0, 0, 14, 14]:.4f}"


@needs_both
def test_the_port_has_the_one_mistake_that_the_answer_names(there):
    original, port = (runpy.run_path(str(FOLDER / name))["net"]() for name in ("torch_original.py", "keras_port.py"))
    X = np.random.default_rng(0).random((8, 1, 28, 28), np.float32)
    report = str(compare_networks(original, port, X))
    assert "(port: conv2): the outputs agree after transposing the port's kernels" in report
    kernels, bias = port.get_layer("conv2").get_weights()
    port.get_layer("conv2").set_weights([kernels.transpose(1, 0, 2, 3), bias])
    assert compare_networks(original, port, X).first_divergence is None


@needs_both
def test_the_port_prints_its_accuracy(there, capsys):
    net = runpy.run_path(str(FOLDER / "keras_port.py"), run_name="__main__")["net"]()
    test = load_dataset("auto").test
    right = net(test.scaled().transpose(0, 2, 3, 1)).numpy().argmax(axis=1) == test.labels
    assert f"accuracy on 50 test images: {right.mean():.3f}\n" in capsys.readouterr().out
