"""The code that the documentation shows is the code that runs: by default, commands train with the plain backends."""

import ast
import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, about, needs, write_folder

from lenet_multi import backends, train
from lenet_multi.backends import BACKENDS
from lenet_multi.runs.checkpoint import load_checkpoint

NUM_BATCHES, EPOCHS = 10, 2
BACKEND_FILES = [Path(backends.__file__).parent / f"{name}.py" for name in BACKENDS]


def load_backend(name: str) -> Any:
    """The plain backend, typed as a module."""
    return backends.load_backend(name)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """The arguments for a run with 1,000 examples in batches of 100."""
    folder = write_folder(tmp_path_factory.mktemp("data") / "thousand", num_train=1000, num_test=100)
    return ["--dataset", str(folder), "--batch-size", "100", "--epochs", str(EPOCHS), "--device", "cpu"]


@pytest.fixture
def count_calls(monkeypatch):
    """A function that counts the calls of a method from then on."""
    calls: Counter[str] = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def method(*arguments, **named):
            calls[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, method)
        return calls

    return count


def test_pytorch_takes_every_step_with_autograd_and_its_optimizer(thousand, count_calls):
    import torch

    count_calls(torch.optim.SGD, "step")
    count_calls(torch.optim.SGD, "zero_grad")
    calls = count_calls(torch.Tensor, "backward")
    assert train.main(["--backend", "torch", *thousand]) == 0
    assert calls == dict.fromkeys(("step", "zero_grad", "backward"), NUM_BATCHES * EPOCHS)


@needs("tensorflow")
def test_keras_trains_with_one_fit_and_its_callback(thousand, count_calls):
    backend = load_backend("tensorflow")
    count_calls(backend.keras.Model, "fit")
    count_calls(backend.TrainCallback, "on_train_batch_end")
    calls = count_calls(backend.TrainCallback, "on_epoch_end")
    assert train.main(["--backend", "tensorflow", *thousand]) == 0
    assert calls == {"fit": 1, "on_epoch_end": EPOCHS, "on_train_batch_end": NUM_BATCHES * EPOCHS}


@needs("tensorflow")
def test_fit_gets_the_batches_of_the_shown_function(thousand, monkeypatch):
    backend = load_backend("tensorflow")
    created, passed = [], []
    batches, fit = backend.batches, backend.keras.Model.fit

    def recorded_batches(*arguments):
        created.append(batches(*arguments))
        return created[-1]

    def recorded_fit(net, x, **named):
        passed.append(x)
        return fit(net, x, **named)

    monkeypatch.setattr(backend, "batches", recorded_batches)
    monkeypatch.setattr(backend.keras.Model, "fit", recorded_fit)
    assert train.main(["--backend", "tensorflow", *thousand]) == 0
    assert len(passed) == 1
    assert passed[0] is created[0]


@needs("mxnet")
def test_gluon_takes_every_step_with_its_trainer(thousand, count_calls):
    backend = load_backend("mxnet")
    calls = count_calls(backend.gluon.Trainer, "step")
    assert train.main(["--backend", "mxnet", *thousand]) == 0
    assert calls == {"step": NUM_BATCHES * EPOCHS}


def forget_compiled() -> None:
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(autouse=True)
def nothing_compiled():
    """JAX reuses a step that was compiled before a test changed what it calls."""
    forget_compiled()
    yield
    forget_compiled()


@needs("jax")
def test_jax_takes_every_step_with_one_compiled_function(thousand, count_calls):
    backend = load_backend("jax")
    count_calls(backend, "train_step")
    calls = count_calls(backend.nnx.Optimizer, "update")
    assert train.main(["--backend", "jax", *thousand]) == 0
    assert calls == {"train_step": NUM_BATCHES * EPOCHS, "update": 1}  # it is called while the step is compiled


def disable_updates(name, monkeypatch):
    """Make the framework's update step leave all weights unchanged."""
    backend = load_backend(name)
    match name:
        case "torch":
            monkeypatch.setattr(backend.torch.optim.SGD, "step", lambda *_: None)
        case "tensorflow":
            monkeypatch.setattr(backend.keras.optimizers.SGD, "update_step", lambda *_: None)
        case "mxnet":
            monkeypatch.setattr(backend.gluon.Trainer, "step", lambda *_: None)
        case "jax":
            monkeypatch.setattr(backend.nnx.Optimizer, "update", lambda *_: None)


@pytest.mark.parametrize("name", INSTALLED)
def test_without_the_update_step_the_weights_do_not_change(name, thousand, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        disable_updates(name, patch)
        assert train.main(["--backend", name, *thousand, "--out", str(tmp_path / "stays")]) == 0
    forget_compiled()
    assert train.main(["--backend", name, *thousand, "--out", str(tmp_path / "moves")]) == 0
    backend = load_backend(name)
    stays, moves = (load_checkpoint(tmp_path / which)[1] for which in ("stays", "moves"))
    run, _ = load_checkpoint(tmp_path / "stays")
    start = backend.get_parameters(backend.LeNet(run.architecture, run.settings.seed, "cpu"))
    for parameter, value in start.items():
        np.testing.assert_array_equal(stays[parameter], value)
        assert (moves[parameter] != value).any()


def imported_modules(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", BACKEND_FILES, ids=lambda path: path.name)
def test_the_plain_backends_import_and_mention_no_fast_code(path):
    source = path.read_text()
    assert not [name for name in imported_modules(source) if name.startswith("lenet_multi.fast")]
    assert "fast" not in source
    assert "type: ignore" not in source


def test_an_import_of_fast_code_would_be_found():
    assert "lenet_multi.fast.torch" in imported_modules("def f():\n    from lenet_multi.fast import torch")


def edited_line(source: str, function: str, old: str, new: str) -> str:
    """A backend's source with one text in a function replaced."""
    functions = [part for part in ast.walk(ast.parse(source)) if isinstance(part, ast.FunctionDef)]
    (node,) = [part for part in functions if part.name == function]
    lines = source.splitlines()
    start, stop = node.lineno - 1, node.end_lineno
    body = "\n".join(lines[start:stop])
    assert body.count(old) == 1, old
    return "\n".join([*lines[:start], body.replace(old, new), *lines[stop:]])


EDITS = [
    ("torch", "train", "l.backward()", "print('EDITED'); l.backward()", NUM_BATCHES * EPOCHS),
    ("torch", "train", "optimizer.step()", "print('EDITED'); optimizer.step()", NUM_BATCHES * EPOCHS),
    ("torch", "train", "y_hat = net(X)", "print('EDITED'); y_hat = net(X)", NUM_BATCHES * EPOCHS),
    ("torch", "evaluate_accuracy", "net.eval()", "print('EDITED'); net.eval()", EPOCHS),
    ("tensorflow", "train", "net.fit(", "print('EDITED'); net.fit(", 1),
    ("tensorflow", "on_epoch_end", "self.recorder.timer.stop()", "print('EDITED')", EPOCHS),
    ("tensorflow", "on_train_batch_end", "if batch in", "print('EDITED')\n        if batch in", NUM_BATCHES * EPOCHS),
    ("mxnet", "train", "trainer.step(len(y))", "print('EDITED'); trainer.step(len(y))", NUM_BATCHES * EPOCHS),
    ("mxnet", "train", "l = loss(y_hat, y)", "print('EDITED'); l = loss(y_hat, y)", NUM_BATCHES * EPOCHS),
    ("mxnet", "evaluate_accuracy", "num_examples += len(y)", "print('EDITED'); num_examples += len(y)", EPOCHS),
    ("jax", "train", "num_examples += len(y)", "print('EDITED'); num_examples += len(y)", NUM_BATCHES * EPOCHS),
    # A compiled function runs in Python once, while it is compiled.
    ("jax", "train_step", "optimizer.update(", "print('EDITED'); optimizer.update(", 1),
    ("jax", "loss", "y_hat = net(X)", "print('EDITED'); y_hat = net(X)", 1),
    ("jax", "evaluate_accuracy", "num_examples += len(y)", "print('EDITED'); num_examples += len(y)", EPOCHS),
]


@pytest.mark.parametrize(("name", "function", "old", "new", "times"), about(*EDITS), ids=lambda value: str(value)[:20])
def test_an_edited_line_of_the_shown_code_runs(name, function, old, new, times, thousand, monkeypatch, capsys):
    backend = load_backend(name)
    source = edited_line(Path(backend.__file__ or "").read_text(), function, old, new)
    with contextlib.suppress(RuntimeError):  # TensorFlow refuses to change its settings a second time
        before = dict(vars(backend))
        exec(compile(source, str(backend.__file__), "exec"), vars(backend))
    try:
        assert train.main(["--backend", name, *thousand]) == 0
    finally:
        vars(backend).update(before)
    assert capsys.readouterr().out.count("EDITED") == times
