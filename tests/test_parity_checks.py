"""The parity checks pass, and each one fails where something is broken, with the right part named."""

import json
import types
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, SECOND, needs, random_split, subset
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backends import architectures

from lenet_multi import backends as backends_module
from lenet_multi import parity
from lenet_multi.architecture import PRESETS, Architecture, Pool, lenet
from lenet_multi.backends import BACKENDS, LOOPS, load_backend
from lenet_multi.checks import parity_run
from lenet_multi.checks.fixture import KINK_MARGIN, TRAINING_BATCH_SIZE, Fixture
from lenet_multi.checks.float64_reference import near_a_kink
from lenet_multi.checks.measurement import Measurement
from lenet_multi.checks.parity_checks import PARITY_CHECKS, run_checks
from lenet_multi.data import Dataset, Split, epoch_order

LENET5 = PRESETS["lenet5"]
NAMES = tuple(map(str, range(10)))
CHECK = {check.number: check for check in PARITY_CHECKS}


@pytest.fixture(scope="module")
def drawn():
    """Random images: 700 for training, a short last batch among them."""
    return Dataset("random", random_split(700, (1, 28, 28)), random_split(300, (1, 28, 28), seed=1), NAMES)


SHORT: dict[str, Any] = {"training_steps": 2, "resume_steps": 2}  # few steps in the training checks


def all_backends(loop):
    return {name: load_backend(name, fast=loop == "fast") for name in INSTALLED}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_check_passes_on_every_backend(preset, loop, drawn):
    results = list(run_checks(Fixture(PRESETS[preset], drawn, **SHORT), all_backends(loop)))
    assert [result.check.number for result in results] == list(range(1, 12))
    assert {result.check.title: result.measurements for result in results if not result.passed} == {}
    assert all(list(result.measurements) == list(INSTALLED) for result in results)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("settings", [{}, {"pooling": "max"}, {"activation": "relu", "pooling": "max"}], ids=str)
def test_every_check_passes_on_fashion_mnist(settings, loop, fashion_mnist):
    fixture = Fixture(lenet(**settings), fashion_mnist, seed=1, **SHORT)
    failed = [
        (result.check.title, result.measurements)
        for result in run_checks(fixture, all_backends(loop))
        if not result.passed
    ]
    assert failed == []


@settings(max_examples=30, deadline=None, derandomize=True)
@given(architecture=architectures(), num_examples=st.integers(1, 5))
def test_any_valid_description_computes_the_same_everywhere(architecture, num_examples):
    """Checks 1, 2, 4, 5 and 6 on random networks: several channels, any kernel, padding, pooling, activation, width."""
    data = random_split(num_examples, architecture.input_shape)
    fixture = Fixture(architecture, Dataset("random", data, data, NAMES))
    backends = {name: load_backend(name) for name in INSTALLED}
    for result in run_checks(fixture, backends, tuple(CHECK[number] for number in (1, 2, 4, 5, 6))):
        assert result.passed, (result.check.title, result.measurements)


# Something broken, the check that must see it, and what it must name.


class Broken(types.SimpleNamespace):
    """A backend with some of its functions replaced."""

    def __init__(self, backend, **changed):
        super().__init__(**{name: getattr(backend, name) for name in dir(backend) if not name.startswith("__")})
        for name, change in changed.items():
            setattr(self, name, change(getattr(backend, name)))


def with_other_layers(change):
    """The network built from a changed description."""

    def broken(build):
        return lambda architecture, *rest: build(
            Architecture(architecture.input_shape, tuple(map(change, architecture.layers))), *rest
        )

    return {"LeNet": broken}


def with_other_parameters(change):
    """The parameters changed on their way in."""
    return {"set_parameters": lambda write: lambda net, parameters: write(net, change(dict(parameters)))}


def padding_off_by_one():
    def change(layer):
        return layer if getattr(layer, "padding", 0) == 0 else type(layer)(6, 5, 1, "sigmoid")

    return with_other_layers(change)


def max_in_place_of_average():
    return with_other_layers(lambda layer: Pool("max", 2, 2) if isinstance(layer, Pool) else layer)


def dense_rows_unpermuted():
    def change(parameters):
        weight = parameters["dense1.weight"].reshape(-1, 16, 5, 5)
        return parameters | {"dense1.weight": np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(-1, 400)}

    return with_other_parameters(change)


def kernel_transposed():
    def change(parameters):
        return parameters | {"conv2.weight": np.ascontiguousarray(parameters["conv2.weight"].transpose(0, 1, 3, 2))}

    return with_other_parameters(change)


def bias_forgotten():
    return with_other_parameters(lambda parameters: parameters | {"dense2.bias": np.zeros(84, np.float32)})


def parameter_missing():
    def change(read):
        return lambda net: {name: value for name, value in read(net).items() if name != "conv2.bias"}

    return {"get_parameters": change}


def biases_random():
    def change(read):
        return lambda net: {n: v + 0.01 * n.endswith("dense1.bias") for n, v in read(net).items()}

    return {"get_parameters": change}


def scaled(name, factor):
    """One parameter read out scaled."""

    def change(read):
        def broken(net):
            parameters = read(net)
            return parameters | {name: parameters[name] * np.float32(factor)}

        return broken

    return {"get_parameters": change}


def weights_twice_too_wide():
    return scaled("conv2.weight", 2)


def weights_drawn_from_a_normal():
    """Of the right mean and variance: only the bound is broken."""

    def change(read):
        def broken(net):
            rng, found = np.random.default_rng(0), read(net)
            return {n: v if v.ndim == 1 else rng.normal(0, v.std(), v.shape) for n, v in found.items()}

        return broken

    return {"get_parameters": change}


def weights_all_positive():
    def change(read):
        return lambda net: {n: np.abs(v) for n, v in read(net).items()}

    return {"get_parameters": change}


def weights_from_a_narrower_draw():
    return scaled("dense1.weight", 0.8)


def summed_not_averaged():
    def change(measure):
        def broken(net, X, y):
            loss, gradients = measure(net, X, y)
            return loss, {name: value * len(y) for name, value in gradients.items()}

        return broken

    return {"loss_and_gradients": change}


def loss_summed():
    def change(measure):
        def broken(net, X, y):
            loss, gradients = measure(net, X, y)
            return loss * len(y), gradients

        return broken

    return {"loss_and_gradients": change}


def trained(change):
    """The loop on other data or with other settings."""

    def broken(train):
        def loop(net, train_data, test_data, **settings):
            train_data, settings = change(train_data, settings)
            return train(net, train_data, test_data, **settings)

        return loop

    return {"train": broken}


def gradients_summed_by_the_loop():
    """Which steps as if the rate were as many times larger as a batch has examples."""
    return trained(lambda data, settings: (data, settings | {"lr": settings["lr"] * settings["batch_size"]}))


def training_forgets_the_first_convolution():
    backend = load_backend("torch")

    def broken(train):
        def loop(net, *rest, **settings):
            start = {n: v for n, v in backend.get_parameters(net).items() if n.startswith("conv1")}
            recorder = train(net, *rest, **settings)
            backend.set_parameters(net, backend.get_parameters(net) | start)
            return recorder

        return loop

    return {"train": broken}


def weights_decay():
    """As with `weight_decay=1e-3` in one step; hard to see beside the weights, easy beside the step."""
    backend = load_backend("torch")

    def broken(train):
        def loop(net, *rest, lr, **settings):
            start = backend.get_parameters(net)
            recorder = train(net, *rest, lr=lr, **settings)
            found = backend.get_parameters(net)
            backend.set_parameters(net, {n: v - np.float32(lr * 1e-3) * start[n] for n, v in found.items()})
            return recorder

        return loop

    return {"train": broken}


def images_shifted_by_a_pixel():
    """As where all the padding is on one side; the shapes are right."""
    return {"layer_outputs": lambda measure: lambda net, X: measure(net, np.roll(X, 1, axis=3))}


def batches_shuffled_differently():
    return trained(lambda data, settings: (data, settings | {"seed": settings["seed"] + 1}))


def second_epoch_shuffled_like_the_first():
    def change(data, settings):
        if settings["recorder"].first_epoch == 1:
            first, second = (epoch_order(len(data), settings["seed"], epoch) for epoch in (0, 1))
            place = np.empty_like(first)
            place[second] = first
            data = Split(data.images[place], data.labels[place])
        return data, settings

    return trained(change)


def last_batch_left_out():
    def change(evaluate):
        return lambda net, data_iter, *rest: evaluate(net, list(data_iter)[:-1], *rest)

    return {"evaluate_accuracy": change}


BREAKS = [
    (padding_off_by_one, 1, "conv1"),
    (parameter_missing, 2, "conv2.bias"),
    (biases_random, 3, "dense1.bias"),
    (weights_twice_too_wide, 3, "conv2.weight"),
    (weights_from_a_narrower_draw, 3, "dense1.weight"),
    (weights_all_positive, 3, "conv1.weight"),
    (weights_drawn_from_a_normal, 3, "conv1.weight"),
    (max_in_place_of_average, 4, "pool1"),
    (dense_rows_unpermuted, 4, "dense1"),
    (kernel_transposed, 4, "conv2"),
    (bias_forgotten, 4, "dense2"),
    (images_shifted_by_a_pixel, 4, "conv1"),
    (loss_summed, 5, "loss"),
    (summed_not_averaged, 6, "conv1.weight"),
    (gradients_summed_by_the_loop, 7, "conv1.weight"),
    (weights_decay, 7, "conv1.weight"),
    (batches_shuffled_differently, 8, "step 1"),
    (training_forgets_the_first_convolution, 8, "final weights"),
    (last_batch_left_out, 9, "correct predictions"),
    (dense_rows_unpermuted, 10, "saved by torch"),
    (second_epoch_shuffled_like_the_first, 11, "after torch"),
]


@pytest.mark.parametrize(("broken", "number", "named"), BREAKS, ids=lambda value: getattr(value, "__name__", None))
def test_what_is_broken_turns_its_check_red_and_is_named(broken, number, named, drawn):
    backends = {"torch": load_backend("torch"), "broken": Broken(load_backend("torch"), **broken())}
    (result,) = run_checks(Fixture(LENET5, drawn, **SHORT), backends, (CHECK[number],))
    # On check 10 the sound one loads what the broken one saved, too.
    assert result.measurements["torch"].passed == (number != 10)
    assert not result.measurements["broken"].passed
    assert result.measurements["broken"].first_failing == named


@needs("mxnet")
def test_a_short_batch_stepped_like_a_whole_one_is_seen_in_the_epoch_after(drawn, monkeypatch):
    """Gluon's classic: `trainer.step(batch_size)` where the last batch has fewer examples."""
    mxnet: Any = load_backend("mxnet")
    step = mxnet.gluon.Trainer.step
    monkeypatch.setattr(mxnet.gluon.Trainer, "step", lambda trainer, _: step(trainer, TRAINING_BATCH_SIZE))
    results = run_checks(Fixture(LENET5, drawn, **SHORT), {"mxnet": mxnet}, tuple(CHECK[number] for number in (8, 11)))
    assert [result.measurements["mxnet"].first_failing for result in results] == ["step 3", "after mxnet"]


@pytest.mark.parametrize(("found", "error"), [(2, 0), (3, 0), (1, 1), (4, 1)])
def test_ties_may_count_as_correct_or_not_and_nothing_else_may(found, error, drawn):
    logits = np.zeros((4, 10))
    logits[range(3), range(3)] = 1  # two are right, the third ties with another class, the fourth is wrong
    logits[2, 5] = 1 - 1e-9
    logits[3, 4] = 1
    images = np.zeros((4, 1, 28, 28), np.uint8)
    fixture = Fixture(LENET5, Dataset("ties", drawn.train, Split(images, np.arange(4, dtype=np.uint8)), NAMES))
    fixture.__dict__["test_logits"] = logits
    backend = Broken(load_backend("torch"), evaluate_accuracy=lambda _: lambda *_: found / 4)
    (result,) = run_checks(fixture, {"torch": backend}, (CHECK[9],))
    assert result.measurements["torch"].error == error
    assert result.measurements["torch"].values == {
        "correct": found,
        "expected, ties wrong": 2,
        "expected, ties right": 3,
    }


def test_logits_that_are_the_small_rest_of_large_terms_tie_by_the_terms(drawn):
    labels = np.zeros(2, np.uint8)
    fixture = Fixture(LENET5, Dataset("t", drawn.train, Split(np.zeros((2, 1, 28, 28), np.uint8), labels), NAMES))
    fixture.parameters["dense3.bias"][:] = 1000
    logits = np.zeros((2, 10))
    logits[0, 1], logits[1, 1] = 1e-4, 1e-2
    fixture.__dict__["test_logits"] = logits
    backend = Broken(load_backend("torch"), evaluate_accuracy=lambda _: lambda *_: 0.5)
    (result,) = run_checks(fixture, {"torch": backend}, (CHECK[9],))
    assert result.measurements["torch"].values == {"correct": 1, "expected, ties wrong": 0, "expected, ties right": 1}


def test_gradients_are_compared_on_examples_that_rounding_turns_nothing_of(drawn):
    fixture = Fixture(PRESETS["lenet5-max"], drawn)
    near = near_a_kink(fixture.architecture, fixture.parameters, fixture.inputs, KINK_MARGIN)
    assert len(near) > 100
    assert not near.any()


@pytest.mark.parametrize("name", INSTALLED)
def test_a_flatten_left_unpermuted_is_seen_in_every_framework(name, drawn):
    broken = Broken(load_backend(name), **dense_rows_unpermuted())
    (result,) = run_checks(Fixture(LENET5, drawn), {name: broken}, (CHECK[4],))
    assert result.measurements[name].first_failing == "dense1"


def test_a_backend_that_raises_an_error_fails_the_check_and_the_next_check_runs(drawn):
    def fails(*_, **__):
        raise RuntimeError("out of\npaper")

    broken = Broken(load_backend("torch"), layer_outputs=lambda _: fails, train=lambda _: fails)
    backends = {"torch": load_backend("torch"), "broken": broken}
    results = list(run_checks(Fixture(LENET5, drawn, **SHORT), backends))
    failed = {
        result.check.number: result.measurements["broken"].first_failing for result in results if not result.passed
    }
    assert failed == dict.fromkeys((1, 4, 7, 8, 10, 11), "RuntimeError (out of paper)")
    # On check 11 the sound one cannot go on after the broken one.
    assert [result.check.number for result in results if not result.measurements["torch"].passed] == [11]


def test_a_network_of_other_shapes_fails_every_check_that_it_touches(drawn):
    broken = Broken(load_backend("torch"), **padding_off_by_one())
    failed = [
        result.check.number
        for result in run_checks(Fixture(LENET5, drawn, **SHORT), {"b": broken})
        if not result.passed
    ]
    assert {1, 2, 4} <= set(failed)


def test_the_learning_rate_is_the_chapters_for_sigmoids_alone(drawn):
    assert Fixture(LENET5, drawn).lr == 0.9
    assert Fixture(lenet(activation="relu"), drawn).lr == 0.005
    assert Fixture(lenet(activation="relu"), drawn, given_lr=0.3).lr == 0.3


def test_what_is_no_number_fails():
    assert not Measurement({"a": 0.0, "b": float("nan"), "c": 1.0}, tolerance=2.0).passed
    assert Measurement({"a": 0.0, "b": float("nan")}, tolerance=2.0).worst == "b"


def test_every_tolerance_has_a_reason():
    assert all(check.reason for check in PARITY_CHECKS)


# The command


@pytest.fixture
def quick_checks(monkeypatch, drawn):
    """The command on random data with the first four checks alone."""
    monkeypatch.setattr(parity, "dataset_from", lambda *_: drawn)
    monkeypatch.setattr(parity_run, "Fixture", partial(Fixture, **SHORT))
    monkeypatch.setattr(parity_run, "PARITY_CHECKS", PARITY_CHECKS[:4])


def test_the_command_prints_a_table_and_writes_every_number(quick_checks, tmp_path, capsys):
    assert parity.main(["--activation", "relu", "--json", str(tmp_path / "parity.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(name in lines[1] for name in INSTALLED)
    assert [line.count(" pass") for line in lines[2:6]] == [len(INSTALLED)] * 4
    report = json.loads((tmp_path / "parity.json").read_text())
    assert report["architecture"] == lenet(activation="relu").to_dict()
    assert list(report["checks"][3]["backends"][SECOND]["errors"]) == list(LENET5.named_layers)
    assert list(report["checks"][2]["backends"]["torch"]["errors"]) == list(LENET5.parameter_shapes)


def test_the_command_checks_the_fast_loops_and_says_so(quick_checks, tmp_path, capsys):
    assert parity.main(["--fast", "--json", str(tmp_path / "parity.json")]) == 0
    assert " fast loop, " in capsys.readouterr().out.splitlines()[0]
    assert json.loads((tmp_path / "parity.json").read_text())["loops"] == dict.fromkeys(INSTALLED, "fast")


def test_a_loss_that_is_no_number_fails_its_check_and_is_text_in_the_report(quick_checks, monkeypatch, tmp_path):
    def diverges(measure):
        return lambda *batch: (float("nan"), measure(*batch)[1])

    broken = Broken(load_backend("torch"), loss_and_gradients=diverges)
    monkeypatch.setattr(parity_run, "load_backend", lambda name, fast: broken)
    monkeypatch.setattr(parity_run, "PARITY_CHECKS", (CHECK[5],))
    assert parity.main(["--backends", "torch", "--json", str(tmp_path / "parity.json")]) == 1
    report = json.loads((tmp_path / "parity.json").read_text(), parse_constant=pytest.fail)
    found = report["checks"][0]["backends"]["torch"]
    assert (found["loss"], found["errors"]) == ("nan", {"loss": "nan"})
    assert 2 < found["expected"] < 4


def test_the_command_says_which_framework_is_not_installed(quick_checks, monkeypatch, capsys):
    monkeypatch.setattr(backends_module, "installed_backends", lambda: ("torch",))
    assert parity.main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("not installed") == (len(BACKENDS) - 1) * 4
    assert printed.err.startswith("note: left out: tensorflow (")
    assert len(printed.err.splitlines()) == 1


def test_the_command_exits_1_where_a_check_fails_and_names_the_layer(quick_checks, monkeypatch, capsys):
    broken = Broken(load_backend(SECOND), **dense_rows_unpermuted())
    monkeypatch.setattr(
        parity_run, "load_backend", lambda name, fast: broken if name == SECOND else load_backend(name, fast)
    )
    assert parity.main([]) == 1
    printed = capsys.readouterr().out
    assert "FAIL" in printed
    assert f"check 4, {SECOND}: dense1 is off by" in printed


def test_the_command_refuses_data_that_is_too_small(drawn, monkeypatch, capsys):
    monkeypatch.setattr(parity, "dataset_from", lambda *_: subset(drawn, 100, 100))
    assert parity.main([]) == 2
    assert "has 100 training examples, but the checks need 3168" in capsys.readouterr().err
