"""What is computed faster is the same function of the same parameters, in every backend."""

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
from conftest import EVERY_LOOP, load, random_split
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_backends import architectures

from lenet_multi import PRESETS, referee, train
from lenet_multi.architecture import Architecture, ArchitectureError, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.backends.interface import Backend
from lenet_multi.data import BatchIndices
from lenet_multi.errors import UserError
from lenet_multi.fast import note_plain, parts
from lenet_multi.recorder import Recorder
from lenet_multi.run import load_checkpoint


def fast_backend(name: str) -> Any:
    """The fast backend as the module that it is."""
    return load_backend(name, fast=True)


def fast_layers(name):
    """The module with a backend's fast layers."""
    load_backend(name, fast=True)
    return import_module(f"lenet_multi.fast.{name}_layers")


def pooled(name, architecture):
    """How many convolutions of the network are taken together with their pooling."""
    net = load_backend(name).LeNet(architecture, device="cpu")
    module = fast_layers(name)
    match name:
        case "torch":
            layers, together = module.layers_of(list(net)), module.StridedConvolution | module.ActivatedPool
        case "tensorflow":
            layers, together = module.FasterNet(net).steps, module.PooledConvolution
        case "mxnet":
            together = module.PooledConvolution | module.PairedConvolution | module.MaximumFirst
            layers = module.fast_network(net, architecture.input_shape[1])
    return sum(isinstance(layer, together) for layer in layers)


@pytest.mark.parametrize("preset", ["lenet5", "lenet5-max"])
@pytest.mark.parametrize("name", BACKENDS)
def test_the_presets_are_computed_faster(name, preset):
    assert pooled(name, PRESETS[preset]) == 2


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_faster_loop(name, preset):
    backend = load_backend(name, fast=True)
    assert backend.has_faster(backend.LeNet(PRESETS[preset], device="cpu"))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_fast_backend_is_the_plain_one_but_for_training_and_evaluation(name):
    plain, fast = load_backend(name), load_backend(name, fast=True)
    names = [name for name in vars(Backend) if not name.startswith("_")] + list(Backend.__annotations__)
    differ = {name for name in names if getattr(fast, name) is not getattr(plain, name)}
    assert differ == {"train", "evaluate_accuracy"}


@pytest.mark.parametrize("name", BACKENDS)
def test_neither_loop_calls_the_others_step(name, small_data, monkeypatch):
    """The fast loop runs where it is asked for, and only there."""
    plain, fast = load_backend(name), load_backend(name, fast=True)

    def refuse(*_, **__):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(plain, "train", refuse)
        fast.train(fast.LeNet(PRESETS["lenet5"], device="cpu"), small_data.train, small_data.test, 1)
    for module in (fast, fast_layers(name)):
        for part in ("Threads", "FasterNet", "Parts", "step_and_evaluation"):
            if hasattr(module, part):
                monkeypatch.setattr(module, part, refuse)
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


def without_bends(architecture):
    """Averages for maxima and tanh for relu: where these bend, a rounding error may turn a whole gradient."""
    smooth = {"kind": {"max": "avg"}, "activation": {"relu": "tanh"}}
    layers = []
    for layer in architecture.layers:
        found = {name: getattr(layer, name) for name in smooth if hasattr(layer, name)}
        layers.append(replace(layer, **{name: smooth[name].get(value, value) for name, value in found.items()}))
    return Architecture(architecture.input_shape, tuple(layers))


# The second convolution takes rows in pairs: six of them, by a kernel of an even height.
PAIRS_OF_ROWS = lenet(input_shape=(2, 12, 13), conv_channels=(3, 5), kernel_sizes=(3, 4), paddings=(1, 0))


@pytest.mark.parametrize("backend_and_loop", EVERY_LOOP)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(architecture=lenets() | architectures().map(without_bends), batch_size=st.sampled_from([1, 3, 8]))
@example(
    architecture=Architecture((1, 9, 9), (Conv(3, 3), Conv(4, 3), Pool("avg", 2, 2), Flatten(), Dense(10))),
    batch_size=3,
)
@example(architecture=PAIRS_OF_ROWS, batch_size=3)
@example(architecture=replace(PAIRS_OF_ROWS, input_shape=(2, 14, 13)), batch_size=3)
def test_a_step_and_the_accuracy_are_the_referees(backend_and_loop, architecture, batch_size):
    a_step_is_the_referees(load(backend_and_loop), architecture, batch_size)


def a_step_is_the_referees(backend, architecture, batch_size):
    """One step of the training loop and an evaluation against the float64 referee."""
    parameters = referee.xavier_uniform(architecture, seed=1)
    data = random_split(batch_size, architecture.input_shape)
    X, y = (data.images / np.float32(255)).astype(np.float32), data.labels.astype(np.int64)
    _, gradients = referee.loss_and_gradients(architecture, parameters, X, y)
    expected = referee.sgd_step(parameters, gradients, 0.5)
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, parameters)
    recorder = backend.train(net, data, data, num_epochs=1, lr=0.5, batch_size=batch_size, recorder=Recorder())
    found = backend.get_parameters(net)
    for part, value in expected.items():
        assert np.abs(found[part] - value).max() < 1e-5, part
    logits = referee.forward(architecture, found, X)[list(architecture.named_layers)[-1]]
    assert recorder.points[-1].test_acc == (logits.argmax(axis=1) == y).mean()
    indices = BatchIndices(len(data), 2)
    assert recorder.points[-1].test_acc == backend.evaluate_accuracy(net, backend.batches(data, indices))


@pytest.mark.parametrize("preset", ["lenet5", "lenet5-max"])
@pytest.mark.parametrize("name", BACKENDS)
def test_the_fast_loop_trains_as_the_plain_one(name, preset, small_data):
    runs = []
    for fast in (True, False):
        backend = load_backend(name, fast)
        net = backend.LeNet(PRESETS[preset], device="cpu")
        recorder = backend.train(net, small_data.train, small_data.test, 2, batch_size=30, recorder=Recorder())
        runs.append((recorder.points, backend.get_parameters(net)))
    (points, parameters), (expected_points, expected) = runs
    for found, point in zip(points, expected_points, strict=True):
        assert found.train_loss == pytest.approx(point.train_loss, rel=1e-5)
        assert found.train_acc == pytest.approx(point.train_acc, abs=1e-6)
        assert found.test_acc == point.test_acc
    for name, value in expected.items():
        np.testing.assert_allclose(parameters[name], value, atol=1e-5, err_msg=name)


def standing_twice(which):
    """Layers among which one stands twice: the last, the first, an activation; or none, but with rectifiers."""
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
def test_a_step_is_autograds_whatever_stands_twice(which):
    import torch

    load_backend("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(*standing_twice(which))
    X, y = torch.rand(4, 4, 8, 8), torch.arange(4)
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(net(X), y), list(net.parameters()))
    expected = [p.detach() - 0.5 * g for p, g in zip(net.parameters(), gradients, strict=True)]
    loss_sum, num_correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
    with fast_backend("torch").step_and_evaluation(net, 0.5, loss_sum, num_correct) as (step, _):
        step(X, y)
    for found, value in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(found.detach(), value)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_step_with_rectifiers_is_the_referees(name, pooling, kernel_size):
    """With a fixed seed, with which no sum comes near a bend."""
    architecture = lenet(
        input_shape=(1, 12, 13),
        activation="relu",
        pooling=pooling,
        conv_channels=(3, 5),
        kernel_sizes=(3, kernel_size),
        paddings=(1, 0),
    )
    assert pooled(name, architecture) == 2
    a_step_is_the_referees(load_backend(name, fast=True), architecture, 3)


@pytest.mark.parametrize("name", BACKENDS)
def test_of_equal_numbers_the_first_has_the_gradient(name):
    """A kernel of zeros gives the same number everywhere, and only its own gradient tells places apart."""
    architecture = Architecture((1, 8, 8), (Conv(3, 3, activation="tanh"), Pool("max", 2, 2), Flatten(), Dense(10)))
    parameters = referee.xavier_uniform(architecture, seed=1)
    parameters["conv1.weight"] *= 0
    data = random_split(4, architecture.input_shape)
    X, y = data.images / np.float32(255), data.labels.astype(np.int64)
    _, gradients = referee.loss_and_gradients(architecture, parameters, X, y)
    expected = referee.sgd_step(parameters, gradients, 0.5)
    backend = fast_backend(name)
    assert pooled(name, architecture) == 1
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, parameters)
    backend.train(net, data, data, num_epochs=1, lr=0.5, batch_size=4)
    for part, value in backend.get_parameters(net).items():
        np.testing.assert_allclose(value, expected[part], atol=1e-6, err_msg=part)


SIX_CORES = """
import sys
import numpy as np
from lenet_multi import PRESETS, process
process.available_cores = lambda: 6
from lenet_multi import load_backend
from lenet_multi.data import Split
from lenet_multi.fast import parts
assert (parts.NUM_PARTS, parts.THREADS_PER_PART) == (6, 1)
rng = np.random.default_rng(0)
data = Split(rng.integers(0, 256, (100, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 100, dtype=np.uint8))
found = []
for fast in (True, True, False):
    backend = load_backend(sys.argv[1], fast)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    backend.train(net, data, data, num_epochs=3, lr=0.5, batch_size=32)
    found.append(np.concatenate([value.ravel() for value in backend.get_parameters(net).values()]))
assert (found[0] == found[1]).all()
np.testing.assert_allclose(found[0], found[2], atol=1e-5)
"""


@pytest.mark.parametrize("name", BACKENDS)
def test_a_network_that_has_been_used_is_trained_and_used_again(name, small_data):
    """Gluon's networks and their layers are compiled when they are called."""
    backend = fast_backend(name)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    X = small_data.test.images.astype(np.float32) / 255
    before = backend.layer_outputs(net, X)["dense3"]
    plain = load_backend(name).evaluate_accuracy(net, backend.batches(small_data.test))
    assert backend.evaluate_accuracy(net, backend.batches(small_data.test)) == plain
    backend.train(net, small_data.train, small_data.test, num_epochs=1)
    assert (backend.layer_outputs(net, X)["dense3"] != before).any()


@pytest.mark.parametrize("name", BACKENDS)
def test_with_more_cores_the_numbers_are_the_same(name):
    done = subprocess.run([sys.executable, "-c", SIX_CORES, name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("cores", "expected"), [(1, (1, 1)), (2, (2, 1)), (8, (8, 1)), (12, (6, 2)), (64, (8, 8))])
def test_the_parts_and_their_threads_are_as_many_as_the_cores(cores, expected, monkeypatch):
    monkeypatch.setattr("lenet_multi.process.available_cores", lambda: cores)
    source = Path(parts.__file__).read_text()
    found: dict[str, Any] = {}
    exec(compile(source, parts.__file__, "exec"), found)
    assert (found["NUM_PARTS"], found["THREADS_PER_PART"]) == expected


def test_what_a_backend_sets_for_its_framework_is_not_inherited_by_other_processes():
    code = """
import os
before = dict(os.environ)
from lenet_multi import load_backend
from lenet_multi.process import environment_for_others
for name in ("torch", "mxnet", "tensorflow"):
    for fast in (True, False):
        load_backend(name, fast)
        assert environment_for_others() == before, set(environment_for_others().items()) ^ set(before.items())
assert "OMP_NUM_THREADS" in set(os.environ) - set(before)
"""
    given = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=given)
    assert done.returncode == 0, done.stderr


def test_a_backend_without_a_fast_loop_says_so(monkeypatch):
    monkeypatch.setattr("lenet_multi.backends.find_spec", lambda name: None if "fast" in name else find_spec(name))
    with pytest.raises(UserError, match="the torch backend has no fast loop, expected one that has: leave --fast out"):
        load_backend("torch", fast=True)


def test_a_dense_layer_of_arrays_that_are_not_flat_is_left_to_autograd():
    import torch

    backend = fast_backend("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Flatten(), torch.nn.Linear(12, 10))
    assert not backend.has_faster(net)


def test_a_network_with_nothing_faster_runs_the_plain_loop_and_says_so_once(small_data, capsys, monkeypatch):
    note_plain.cache_clear()
    backend = load_backend("torch", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    net[0].register_forward_hook(lambda *_: None)
    assert not backend.has_faster(net)
    for _ in range(2):
        backend.train(net, small_data.train, small_data.test, 1)
    assert capsys.readouterr().err == (
        "note: PyTorch has no faster loop for this network on this device: the plain loop runs\n"
    )


def test_a_run_with_nothing_faster_is_kept_as_plain(small_folder, tmp_path, monkeypatch):
    backend = load_backend("torch", fast=True)
    monkeypatch.setattr(backend, "has_faster", lambda net: False)
    arguments = ["--fast", "--dataset", str(small_folder), "--batch-size", "50", "--epochs", "1"]
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert [leg.loop for leg in load_checkpoint(tmp_path / "run")[0].legs] == ["plain"]


@pytest.mark.parametrize("num_examples", [1, 2, 3, 7, 256])
def test_the_parts_of_a_batch_are_the_batch(num_examples, monkeypatch):
    monkeypatch.setattr(parts, "NUM_PARTS", 3)
    batch = np.arange(num_examples)
    found = parts.split(batch)
    assert len(found) == min(3, num_examples)
    assert np.concatenate(found).tolist() == batch.tolist()
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_what_fails_in_a_part_fails_the_batch(monkeypatch):
    monkeypatch.setattr(parts, "NUM_PARTS", 2)

    def fail_in_second(number):
        if number == 1:
            raise ValueError(number)
        return number

    with parts.Threads() as threads:
        assert threads.map(fail_in_second, [0, 2]) == [0, 2]
        with pytest.raises(ValueError, match="1"):
            threads.map(fail_in_second, [0, 1])


CHANGES = {
    "a hook": lambda net: net[0].register_forward_hook(print),
    "a hook before": lambda net: net[0].register_forward_pre_hook(print),
    "a backward hook": lambda net: net[0].register_full_backward_hook(print),
    "a backward hook before": lambda net: net[0].register_full_backward_pre_hook(print),
    "a gradient's hook": lambda net: net[0].weight.register_hook(print),
    "a hook after a gradient": lambda net: net[0].weight.register_post_accumulate_grad_hook(print),
    "a frozen parameter": lambda net: net[0].weight.requires_grad_(False),
    "a layer that overwrites": lambda net: setattr(net[1], "inplace", True),
    "other numbers": lambda net: net.double(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_autograd_alone_can_do_is_left_to_it(change):
    backend = load_backend("torch", fast=True)
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    assert backend.has_faster(net)
    change(net)
    assert not backend.has_faster(net)


class Recorded:
    """What `torch.cuda` has for graphs, played on the CPU: a recording leaves no trace, a replay is the step again."""

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
        self.events.append("aside")
        assert self.current == "the GPU"
        return nullcontext()

    @contextmanager
    def graph(self, graph):
        before = [tensor.detach().clone() for tensor in self.tensors]
        self.events.append("recording")
        assert self.current == "the GPU"
        yield
        graph.replay = partial(self.replay, self.given)
        for tensor, value in zip(self.tensors, before, strict=True):
            tensor.detach().copy_(value)

    def replay(self, inputs):
        self.events.append("replay")
        self.step(*inputs)

    def noted_step(self, *arguments):
        """The step, with its arguments noted: a graph reads those of its recording ever after."""
        self.given = arguments
        self.step(*arguments)


def test_a_step_as_a_graph_trains_as_the_step_does(small_data):
    """The GPU's way, as far as a CPU can go: each batch trains once, the short last one has a recording of its own."""
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

        cuda = Recorded(step, [*net.parameters(), count])
        run = cuda_graph.GraphedStep(cuda.noted_step, "the GPU", cuda) if graphed else step
        indices = BatchIndices(100, 30, 0, range(6))
        for X, y in backend.batches(small_data.train, indices):
            run(X, y)
        assert count == 600
        weights.append(backend.get_parameters(net))
    assert cuda.events.count("recording") == 2
    assert cuda.events.count("aside") == 2 * cuda_graph.WARM_UP
    assert cuda.events.count("replay") == len(indices) - 2 * cuda_graph.WARM_UP
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value)


def test_a_step_is_itself_where_there_is_no_gpu():
    import torch

    load_backend("torch")
    step = print
    assert import_module("lenet_multi.fast.cuda_graph").as_graph(step, torch.device("cpu")) is step
