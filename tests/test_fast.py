"""In every backend, the fast loop computes the same function of the same parameters."""

import logging
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import EVERY_LOOP, INSTALLED, load, random_split
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_backends import architectures

from lenet_multi import PRESETS, train
from lenet_multi.architecture import Architecture, ArchitectureError, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import load_backend
from lenet_multi.backends.interface import Backend
from lenet_multi.checks import float64_reference
from lenet_multi.data import BatchSampler
from lenet_multi.errors import UserError
from lenet_multi.fast import batch_parts, note_no_fast_loop
from lenet_multi.runs.checkpoint import load_checkpoint
from lenet_multi.training.recorder import Recorder


def fast_backend(name: str) -> Any:
    """The fast backend, typed as a module."""
    return load_backend(name, fast=True)


def fast_layers(name):
    """The module with the fast layers of a backend."""
    load_backend(name, fast=True)
    return import_module(f"lenet_multi.fast.{name}_layers")


def count_combined(name, architecture):
    """The number of convolutions in the network that are combined with their pooling."""
    net = load_backend(name).LeNet(architecture, device="cpu")
    module = fast_layers(name)
    match name:
        case "torch":
            layers, combined = module.layers_of(list(net)), module.StridedConvolution | module.ActivatedPool
        case "tensorflow":
            layers, combined = module.FasterNet(net).steps, module.PooledConvolution
        case "mxnet":
            combined = module.PooledConvolution | module.PairedConvolution | module.MaximumFirst
            layers = module.fast_network(net, architecture.input_shape[1])
        case "jax":
            layers, combined = module.fast_layers(net.layers), module.PooledConvolution
    return sum(isinstance(layer, combined) for layer in layers)


@pytest.mark.parametrize("preset", ["lenet5", "lenet5-max"])
@pytest.mark.parametrize("name", INSTALLED)
def test_convolutions_of_the_presets_are_combined_with_their_pooling(name, preset):
    assert count_combined(name, PRESETS[preset]) == 2


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_fast_loop(name, preset):
    backend = load_backend(name, fast=True)
    assert backend.has_fast_loop(backend.LeNet(PRESETS[preset], device="cpu"))


@pytest.mark.parametrize("name", INSTALLED)
def test_a_fast_backend_differs_from_the_plain_one_only_in_training_and_evaluation(name):
    plain, fast = load_backend(name), load_backend(name, fast=True)
    names = [name for name in vars(Backend) if not name.startswith("_")] + list(Backend.__annotations__)
    different = {name for name in names if getattr(fast, name) is not getattr(plain, name)}
    assert different == {"train", "evaluate_accuracy"}


@pytest.mark.parametrize("name", INSTALLED)
def test_neither_loop_runs_the_other(name, small_data, monkeypatch):
    """The fast loop runs if it is requested, and only then."""
    plain, fast = load_backend(name), load_backend(name, fast=True)

    def fail(*_, **__):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(plain, "train", fail)
        fast.train(fast.LeNet(PRESETS["lenet5"], device="cpu"), small_data.train, small_data.test, 1)
    for module in (fast, fast_layers(name)):
        for part in ("Threads", "FasterNet", "Parts", "step_and_evaluation", "compiled_like"):
            if hasattr(module, part):
                monkeypatch.setattr(module, part, fail)
    plain.train(plain.LeNet(PRESETS["lenet5"], device="cpu"), small_data.train, small_data.test, 1)
    with pytest.raises(AssertionError):
        fast.train(fast.LeNet(PRESETS["lenet5"], device="cpu"), small_data.train, small_data.test, 1)


@st.composite
def lenets(draw):
    convolutions = draw(st.integers(1, 3))
    try:
        return lenet(
            input_shape=(draw(st.integers(1, 3)), draw(st.integers(8, 24)), draw(st.integers(8, 24))),
            activation=draw(st.sampled_from(["sigmoid", "tanh"])),
            pooling=draw(st.sampled_from(["avg", "max"])),
            conv_channels=draw(st.lists(st.integers(1, 8), min_size=convolutions, max_size=convolutions)),
            kernel_sizes=draw(st.lists(st.integers(1, 5), min_size=convolutions, max_size=convolutions)),
            paddings=draw(st.lists(st.integers(0, 3), min_size=convolutions, max_size=convolutions)),
            dense_units=(7,),
        )
    except ArchitectureError:
        return PRESETS["lenet5"]


def without_kinks(architecture):
    """Replace maxima by averages and relu by tanh: at a kink, a rounding error can change a gradient."""
    smooth = {"kind": {"max": "avg"}, "activation": {"relu": "tanh"}}
    layers = []
    for layer in architecture.layers:
        current = {name: getattr(layer, name) for name in smooth if hasattr(layer, name)}
        layers.append(replace(layer, **{name: smooth[name].get(value, value) for name, value in current.items()}))
    return Architecture(architecture.input_shape, tuple(layers))


# The second convolution computes pairs of rows: its input has six rows, and its kernel an even height.
PAIRS_OF_ROWS = lenet(input_shape=(2, 12, 13), conv_channels=(3, 5), kernel_sizes=(3, 4), paddings=(1, 0))


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
def test_a_step_and_the_accuracy_match_the_float64_reference(backend_and_loop):
    backend = load(backend_and_loop)
    num_networks = 12 if backend_and_loop[0] == "jax" else 25  # JAX compiles a program for each, which takes seconds

    @settings(max_examples=num_networks, deadline=None, derandomize=True)
    @given(architecture=lenets() | architectures().map(without_kinks), batch_size=st.sampled_from([1, 3, 8]))
    @example(
        architecture=Architecture((1, 9, 9), (Conv(3, 3), Conv(4, 3), Pool("avg", 2, 2), Flatten(), Dense(10))),
        batch_size=3,
    )
    @example(architecture=PAIRS_OF_ROWS, batch_size=3)
    @example(architecture=replace(PAIRS_OF_ROWS, input_shape=(2, 14, 13)), batch_size=3)
    def steps_match(architecture, batch_size):
        check_step(backend, architecture, batch_size)

    steps_match()


def check_step(backend, architecture, batch_size):
    """Compare one step of the training loop and one evaluation with the float64 reference."""
    parameters = float64_reference.xavier_uniform(architecture, seed=1)
    data = random_split(batch_size, architecture.input_shape)
    X, y = (data.images / np.float32(255)).astype(np.float32), data.labels.astype(np.int64)
    _, gradients = float64_reference.loss_and_gradients(architecture, parameters, X, y)
    expected = float64_reference.sgd_step(parameters, gradients, 0.5)
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, parameters)
    recorder = backend.train(net, data, data, num_epochs=1, lr=0.5, batch_size=batch_size, recorder=Recorder())
    trained = backend.get_parameters(net)
    for parameter, value in expected.items():
        assert np.abs(trained[parameter] - value).max() < 1e-5, parameter
    logits = float64_reference.forward(architecture, trained, X)[list(architecture.named_layers)[-1]]
    assert recorder.points[-1].test_acc == (logits.argmax(axis=1) == y).mean()
    sampler = BatchSampler(len(data), 2)
    assert recorder.points[-1].test_acc == backend.evaluate_accuracy(net, backend.batches(data, sampler))


@pytest.mark.parametrize("preset", ["lenet5", "lenet5-max"])
@pytest.mark.parametrize("name", INSTALLED)
def test_the_fast_loop_trains_like_the_plain_loop(name, preset, small_data):
    runs = []
    for fast in (True, False):
        backend = load_backend(name, fast)
        net = backend.LeNet(PRESETS[preset], device="cpu")
        recorder = backend.train(net, small_data.train, small_data.test, 2, batch_size=30, recorder=Recorder())
        runs.append((recorder.points, backend.get_parameters(net)))
    (points, parameters), (expected_points, expected) = runs
    for point, expected_point in zip(points, expected_points, strict=True):
        assert point.train_loss == pytest.approx(expected_point.train_loss, rel=1e-5)
        assert point.train_acc == pytest.approx(expected_point.train_acc, abs=1e-6)
        assert point.test_acc == expected_point.test_acc
    for name, value in expected.items():
        np.testing.assert_allclose(parameters[name], value, atol=1e-5, err_msg=name)


def modules_with_repetition(which):
    """Modules of which one occurs twice: the last, the first or an activation; or none, with relu activations."""
    from torch import nn

    pooled = (nn.Sigmoid(), nn.AvgPool2d(2))
    match which:
        case "the last":
            last = (nn.Tanh(), nn.Linear(10, 10))
            return nn.Conv2d(4, 6, 3), *pooled, nn.Flatten(), nn.Linear(54, 10), *last, *last
        case "the first":
            conv = nn.Conv2d(4, 4, 3, padding=1)
            return conv, *pooled, conv, *pooled, nn.Flatten(), nn.Linear(16, 10)
        case "an activation":
            first = (pooled[0], nn.Conv2d(4, 6, 3), *pooled)
            return *first, nn.Conv2d(6, 4, 2), nn.MaxPool2d(2), pooled[0], nn.Flatten(), nn.Linear(4, 10)
    dense = (nn.Linear(54, 12), nn.ReLU(), nn.Linear(12, 10))
    return nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), *dense


@pytest.mark.parametrize("which", ["the last", "the first", "an activation", "none"])
def test_a_step_matches_autograd_if_a_module_occurs_twice(which):
    import torch

    load_backend("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(*modules_with_repetition(which))
    X, y = torch.rand(4, 4, 8, 8), torch.arange(4)
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(net(X), y), list(net.parameters()))
    expected = [p.detach() - 0.5 * g for p, g in zip(net.parameters(), gradients, strict=True)]
    loss_sum, num_correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
    with fast_backend("torch").step_and_evaluation(net, 0.5, loss_sum, num_correct) as (step, _):
        step(X, y)
    for parameter, value in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_step_with_relu_matches_the_float64_reference(name, pooling, kernel_size):
    """With the fixed seed, no value comes near a kink."""
    architecture = lenet(
        input_shape=(1, 12, 13),
        activation="relu",
        pooling=pooling,
        conv_channels=(3, 5),
        kernel_sizes=(3, kernel_size),
        paddings=(1, 0),
    )
    assert count_combined(name, architecture) == 2
    check_step(load_backend(name, fast=True), architecture, 3)


@pytest.mark.parametrize("name", INSTALLED)
def test_among_equal_values_the_first_gets_the_gradient(name):
    """With a kernel of zeros all outputs are equal, and the kernel's gradient shows which one got the gradient."""
    architecture = Architecture((1, 8, 8), (Conv(3, 3, activation="tanh"), Pool("max", 2, 2), Flatten(), Dense(10)))
    parameters = float64_reference.xavier_uniform(architecture, seed=1)
    parameters["conv1.weight"] *= 0
    data = random_split(4, architecture.input_shape)
    X, y = data.images / np.float32(255), data.labels.astype(np.int64)
    _, gradients = float64_reference.loss_and_gradients(architecture, parameters, X, y)
    expected = float64_reference.sgd_step(parameters, gradients, 0.5)
    backend = fast_backend(name)
    assert count_combined(name, architecture) == 1
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, parameters)
    backend.train(net, data, data, num_epochs=1, lr=0.5, batch_size=4)
    for parameter, value in backend.get_parameters(net).items():
        np.testing.assert_allclose(value, expected[parameter], atol=1e-6, err_msg=parameter)


SIX_CORES = """
import sys
import numpy as np
from lenet_multi import PRESETS
from lenet_multi.system import machine
machine.available_cores = lambda: 6
from lenet_multi import load_backend
from lenet_multi.data import Split
from lenet_multi.fast import batch_parts
assert (batch_parts.NUM_PARTS, batch_parts.THREADS_PER_PART) == (6, 1)
rng = np.random.default_rng(0)
data = Split(rng.integers(0, 256, (100, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 100, dtype=np.uint8))
trained = []
for fast in (True, True, False):
    backend = load_backend(sys.argv[1], fast)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    backend.train(net, data, data, num_epochs=3, lr=0.5, batch_size=50)
    trained.append(np.concatenate([value.ravel() for value in backend.get_parameters(net).values()]))
assert (trained[0] == trained[1]).all()
np.testing.assert_allclose(trained[0], trained[2], atol=1e-5)
"""


@pytest.mark.parametrize("name", INSTALLED)
def test_a_network_can_be_evaluated_trained_and_evaluated_again(name, small_data):
    """Gluon compiles a network and its layers when they are called."""
    backend = fast_backend(name)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    X = small_data.test.images.astype(np.float32) / 255
    before = backend.layer_outputs(net, X)["dense3"]
    plain = load_backend(name).evaluate_accuracy(net, backend.batches(small_data.test))
    assert backend.evaluate_accuracy(net, backend.batches(small_data.test)) == plain
    backend.train(net, small_data.train, small_data.test, num_epochs=1)
    assert (backend.layer_outputs(net, X)["dense3"] != before).any()


@pytest.mark.parametrize("name", INSTALLED)
def test_with_more_cores_the_results_are_the_same(name):
    done = subprocess.run([sys.executable, "-c", SIX_CORES, name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("cores", "expected"), [(1, (1, 1)), (2, (2, 1)), (8, (8, 1)), (12, (6, 2)), (64, (8, 8))])
def test_the_parts_and_their_threads_use_all_cores(cores, expected, monkeypatch):
    monkeypatch.setattr("lenet_multi.system.machine.available_cores", lambda: cores)
    source = Path(batch_parts.__file__).read_text()
    namespace: dict[str, Any] = {}
    exec(compile(source, batch_parts.__file__, "exec"), namespace)
    assert (namespace["NUM_PARTS"], namespace["THREADS_PER_PART"]) == expected


def test_child_processes_do_not_inherit_a_backends_settings():
    code = """
import os
before = dict(os.environ)
from lenet_multi import installed_backends, load_backend
from lenet_multi.system.process import child_environment
for name in sorted(installed_backends(), key=lambda name: name == "tensorflow"):
    for fast in (True, False):
        load_backend(name, fast)
        assert child_environment() == before, set(child_environment().items()) ^ set(before.items())
assert "OMP_NUM_THREADS" in set(os.environ) - set(before)
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


def test_requesting_the_fast_loop_of_a_backend_without_one_is_refused(monkeypatch):
    monkeypatch.setattr("lenet_multi.backends.find_spec", lambda name: None if "fast" in name else find_spec(name))
    with pytest.raises(UserError, match="the torch backend has no fast loop: omit --fast"):
        load_backend("torch", fast=True)


def test_a_dense_layer_with_an_input_that_is_not_flat_runs_with_autograd():
    import torch

    backend = fast_backend("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Flatten(), torch.nn.Linear(12, 10))
    assert not backend.has_fast_loop(net)


def test_an_unsupported_network_runs_the_plain_loop_with_a_single_note(small_data, capsys, monkeypatch):
    note_no_fast_loop.cache_clear()
    backend = load_backend("torch", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    net[0].register_forward_hook(lambda *_: None)
    assert not backend.has_fast_loop(net)
    for _ in range(2):
        backend.train(net, small_data.train, small_data.test, 1)
    assert capsys.readouterr().err == (
        "note: PyTorch has no fast loop for this network on this device: running the plain loop\n"
    )


JAX_CHANGES = {
    "strides": ("strides", 2),
    "a dilated kernel": ("kernel_dilation", 2),
    "a dilated input": ("input_dilation", 2),
    "groups": ("feature_group_count", 3),
    "another padding": ("padding", "SAME"),
    "no bias": ("use_bias", False),
    "a mask": ("mask", "any"),
    "an oblong kernel": ("kernel_size", (5, 3)),
    "half precision": ("dtype", "bfloat16"),
    "parameters of half precision": ("param_dtype", "bfloat16"),
}


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
@pytest.mark.parametrize(("setting", "value"), JAX_CHANGES.values(), ids=JAX_CHANGES.keys())
def test_convolutions_with_other_settings_run_the_plain_loop_of_jax(setting, value):
    backend = load_backend("jax", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    assert backend.has_fast_loop(net)
    setattr(net.layers[0], setting, value)
    assert not backend.has_fast_loop(net)


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
@pytest.mark.parametrize(
    "options",
    [
        {"window_shape": (2, 2), "strides": (2, 2), "padding": ((1, 1), (1, 1))},
        {"window_shape": (2, 2)},
        {"window_shape": (2, 2), "strides": (2, 2), "count_include_pad": False},
    ],
    ids=["padding", "default stride", "zeros that do not count"],
)
def test_poolings_with_other_settings_run_the_plain_loop_of_jax(options):
    backend: Any = load_backend("jax", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    net.layers[2] = partial(backend.nnx.avg_pool, **options)
    assert not backend.has_fast_loop(net)


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
def test_a_subclass_of_a_layer_runs_the_plain_loop_of_jax():
    backend: Any = load_backend("jax", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")

    class Doubled(backend.nnx.Linear):
        def __call__(self, x):
            return 2 * super().__call__(x)

    net.layers[-1] = Doubled(84, 10, rngs=backend.nnx.Rngs(0))
    assert not backend.has_fast_loop(net)


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_jax_compiles_a_step_for_each_batch_size_and_equal_networks_share_it(fast, small_data, caplog):
    backend: Any = load_backend("jax", fast=fast)
    counts = []
    with caplog.at_level(logging.WARNING, "jax"), backend.jax.log_compiles():
        for seed in range(2):
            net = backend.LeNet(lenet(dense_units=(11,)), seed=seed, device="cpu")
            backend.train(net, small_data.train, small_data.test, 2, lr=0.1, batch_size=60)
            counts.append(sum("XLA compilation of jit(" in text and "step" in text for text in caplog.messages))
    assert counts == [2, 2]


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
def test_an_unknown_layer_runs_the_plain_loop_of_jax(small_data, capsys):
    note_no_fast_loop.cache_clear()
    backend = load_backend("jax", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    net.layers[1] = abs
    assert not backend.has_fast_loop(net)
    backend.train(net, small_data.train, small_data.test, 1)
    assert "note: JAX has no fast loop for this network on this device" in capsys.readouterr().err


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
@pytest.mark.parametrize("layer", ["BatchNorm", "Dropout"])
def test_layers_with_other_state_than_parameters_run_the_plain_loop_of_jax(layer, monkeypatch):
    """On a GPU too, where the fast loop takes any other layer."""
    backend: Any = load_backend("jax", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    monkeypatch.setattr(backend, "device_of", lambda net: "gpu:0")
    assert backend.has_fast_loop(net)
    nnx = backend.nnx
    net.layers[1] = nnx.data(getattr(nnx, layer)({"BatchNorm": 6, "Dropout": 0.5}[layer], rngs=nnx.Rngs(0)))
    assert not backend.has_fast_loop(net)


@pytest.mark.skipif("jax" not in INSTALLED, reason="needs JAX")
def test_steps_in_one_scan_train_like_single_steps(small_data):
    """On a GPU one call scans the batches up to a report, with the network's own layers."""
    backend: Any = load_backend("jax", fast=True)
    trained = []
    for on_cpu in (True, False):
        net = backend.LeNet(PRESETS["lenet5"], device="cpu")
        compiled = backend.CompiledNetwork(backend.nnx.graphdef(net), on_cpu)
        data = backend.on_device(small_data.train, backend.framework_device("cpu"))
        sums = (np.float32(0), np.int32(0))
        indices = list(BatchSampler(100, 30, seed=0))  # the last batch is smaller
        parameters, sums = compiled.steps(backend.nnx.state(net), sums, data, indices, 0.5)
        backend.nnx.update(net, parameters)
        trained.append((float(sums[0]), int(sums[1]), backend.get_parameters(net)))
    assert trained[0][0] == pytest.approx(trained[1][0], rel=1e-5)
    assert trained[0][1] == trained[1][1]
    for name, value in trained[0][2].items():
        np.testing.assert_allclose(value, trained[1][2][name], atol=1e-5, err_msg=name)


def test_a_run_of_an_unsupported_network_is_recorded_as_plain(small_folder, tmp_path, monkeypatch):
    backend = load_backend("torch", fast=True)
    monkeypatch.setattr(backend, "has_fast_loop", lambda net: False)
    arguments = ["--fast", "--dataset", str(small_folder), "--batch-size", "50", "--epochs", "1"]
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert [segment.loop for segment in load_checkpoint(tmp_path / "run")[0].segments] == ["plain"]


@pytest.mark.parametrize("num_examples", [1, 2, 3, 7, 256])
def test_the_parts_of_a_batch_make_up_the_batch(num_examples, monkeypatch):
    monkeypatch.setattr(batch_parts, "NUM_PARTS", 3)
    batch = np.arange(num_examples)
    parts = batch_parts.split(batch)
    assert len(parts) == min(3, num_examples)
    assert np.concatenate(parts).tolist() == batch.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_an_exception_in_a_part_is_raised_for_the_batch(monkeypatch):
    monkeypatch.setattr(batch_parts, "NUM_PARTS", 2)

    def fail_in_second(number):
        if number == 1:
            raise ValueError(number)
        return number

    with batch_parts.Threads() as threads:
        assert threads.map(fail_in_second, [0, 2]) == [0, 2]
        with pytest.raises(ValueError, match="1"):
            threads.map(fail_in_second, [0, 1])


CHANGES = {
    "a forward hook": lambda net: net[0].register_forward_hook(print),
    "a forward pre-hook": lambda net: net[0].register_forward_pre_hook(print),
    "a backward hook": lambda net: net[0].register_full_backward_hook(print),
    "a backward pre-hook": lambda net: net[0].register_full_backward_pre_hook(print),
    "a gradient hook": lambda net: net[0].weight.register_hook(print),
    "a post-accumulate-gradient hook": lambda net: net[0].weight.register_post_accumulate_grad_hook(print),
    "a frozen parameter": lambda net: net[0].weight.requires_grad_(False),
    "an in-place layer": lambda net: setattr(net[1], "inplace", True),
    "another dtype": lambda net: net.double(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_networks_that_need_autograd_run_the_plain_loop(change):
    backend = load_backend("torch", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    assert backend.has_fast_loop(net)
    change(net)
    assert not backend.has_fast_loop(net)


class FakeCuda:
    """A replacement for `torch.cuda` on the CPU: recording changes no tensor, and a replay runs the step again."""

    def __init__(self, step, tensors):
        self.step, self.tensors = step, tensors
        self.events = []

    CUDAGraph = SimpleNamespace
    Stream = current_stream = staticmethod(lambda: SimpleNamespace(wait_stream=lambda other: None))

    @contextmanager
    def device(self, device):
        self.current = device
        yield
        self.current = None

    def stream(self, stream):
        self.events.append("side stream")
        assert self.current == "the GPU"
        return nullcontext()

    @contextmanager
    def graph(self, graph):
        before = [tensor.detach().clone() for tensor in self.tensors]
        self.events.append("recording")
        assert self.current == "the GPU"
        yield
        graph.replay = partial(self.replay, self.recorded_arguments)
        for tensor, value in zip(self.tensors, before, strict=True):
            tensor.detach().copy_(value)

    def replay(self, inputs):
        self.events.append("replay")
        self.step(*inputs)

    def recorded_step(self, *arguments):
        """Run the step and store its arguments: a graph always reads the tensors of its recording."""
        self.recorded_arguments = arguments
        self.step(*arguments)


def test_a_step_as_a_graph_trains_like_the_step(small_data):
    """Each batch trains once, and the smaller last batch has a separate recording."""
    import torch

    backend, cuda_graph = load_backend("torch"), import_module("lenet_multi.fast.cuda_graph")
    weights = []
    for graphed in (False, True):
        net = backend.LeNet(lenet(conv_channels=(2,), dense_units=(12,)), device="cpu")
        count = torch.zeros(())

        def step(X, y, net=net, count=count):
            gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(net(X), y), list(net.parameters()))
            with torch.no_grad():
                count.add_(len(y))
                for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                    parameter.sub_(gradient)

        cuda = FakeCuda(step, [*net.parameters(), count])
        run = cuda_graph.GraphedStep(cuda.recorded_step, "the GPU", cuda) if graphed else step
        sampler = BatchSampler(100, 30, 0, range(6))
        for X, y in backend.batches(small_data.train, sampler):
            run(X, y)
        assert count == 600
        weights.append(backend.get_parameters(net))
    assert cuda.events.count("recording") == 2
    assert cuda.events.count("side stream") == 2 * cuda_graph.WARM_UP
    assert cuda.events.count("replay") == len(sampler) - 2 * cuda_graph.WARM_UP
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value)


def test_without_a_gpu_a_step_is_not_recorded():
    import torch

    load_backend("torch")
    step = print
    assert import_module("lenet_multi.fast.cuda_graph").as_graph(step, torch.device("cpu")) is step
