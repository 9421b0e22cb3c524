"""What is computed faster is the same function of the same parameters, in every backend."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import random_split
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_backends import architectures

from lenet_multi import PRESETS, referee
from lenet_multi.architecture import Architecture, ArchitectureError, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.data import BatchIndices
from lenet_multi.recorder import Recorder

FAST = [name for name in BACKENDS if find_spec(f"lenet_multi.backends.fast.{name}")]


def fast(name):
    load_backend(name)
    return import_module(f"lenet_multi.backends.fast.{name}")


def pooled(name, architecture):
    """How many convolutions of the network are taken together with their pooling."""
    net = load_backend(name).LeNet(architecture, device="cpu")
    module = fast(name)
    if name == "torch":
        layers = module.layers_of(list(net))
        return sum(isinstance(layer, module.StridedConvolution | module.ActivatedPool) for layer in layers)
    if name == "mxnet":
        found = module.faster(net)
        if found is net:
            return 0
        found(import_module("mxnet").np.zeros((1, *architecture.input_shape)))  # from here on it knows the height
        steps = [step for made in found.nets.values() for step in made]
        return sum(isinstance(step, module.PooledConvolution | module.PairedConvolution) for step in steps)
    return sum(isinstance(step, module.PooledConvolution) for step in module.faster(net).steps)


@pytest.mark.parametrize(("name", "expected"), [("torch", 2), ("tensorflow", 2), ("mxnet", 2)])
def test_the_chapters_network_is_computed_faster(name, expected):
    assert pooled(name, PRESETS["lenet5"]) == expected


@pytest.mark.parametrize("name", FAST)
def test_maxima_are_left_alone(name):
    assert pooled(name, PRESETS["lenet5-max"]) == 0


@st.composite
def lenets(draw):
    convolutions = draw(st.integers(1, 3))
    try:
        return lenet(
            input_shape=(draw(st.integers(1, 3)), draw(st.integers(8, 24)), draw(st.integers(8, 24))),
            activation=draw(st.sampled_from(["sigmoid", "tanh"])),
            pooling=draw(st.sampled_from(["avg", "avg", "max"])),
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


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(architecture=lenets() | architectures().map(without_bends), batch_size=st.sampled_from([1, 3, 8]))
@example(
    architecture=Architecture((1, 9, 9), (Conv(3, 3), Conv(4, 3), Pool("avg", 2, 2), Flatten(), Dense(10))),
    batch_size=3,
)
@example(architecture=PAIRS_OF_ROWS, batch_size=3)
@example(architecture=replace(PAIRS_OF_ROWS, input_shape=(2, 14, 13)), batch_size=3)
def test_a_step_and_the_accuracy_are_the_referees(name, architecture, batch_size):
    a_step_is_the_referees(name, architecture, batch_size)


def a_step_is_the_referees(name, architecture, batch_size):
    """One step of the training loop, which goes the faster way, and an evaluation against the float64 referee."""
    backend = load_backend(name)
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


def step_of(net):
    import torch

    return fast("torch").faster_step(net, 0.5, torch.zeros(()), torch.zeros((), dtype=torch.long))


def test_the_loop_that_is_read_trains_as_the_step_that_is_run(small_data, monkeypatch):
    backend = load_backend("torch")
    runs = []
    for step in (fast("torch").faster_step, lambda *arguments: None):
        monkeypatch.setattr("lenet_multi.backends.torch.faster_step", step)
        net = backend.LeNet(PRESETS["lenet5"], device="cpu")
        recorder = backend.train(net, small_data.train, small_data.test, 2, batch_size=30, recorder=Recorder())
        runs.append((recorder.points, backend.get_parameters(net)))
    (points, parameters), (expected_points, expected) = runs
    for found, point in zip(points, expected_points, strict=True):
        assert found.train_loss == pytest.approx(point.train_loss, rel=1e-5)
        assert (found.train_acc, found.test_acc) == (point.train_acc, point.test_acc)
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
    step_of(net)(X, y)
    for found, value in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(found.detach(), value)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("kernel_size", [3, 4])
def test_a_step_with_rectifiers_is_the_referees(name, kernel_size):
    """With averages, so that the faster way is taken, and a fixed seed, with which no sum comes near a bend."""
    architecture = lenet(
        input_shape=(1, 12, 13), activation="relu", conv_channels=(3, 5), kernel_sizes=(3, kernel_size), paddings=(1, 0)
    )
    assert pooled(name, architecture) == 2
    a_step_is_the_referees(name, architecture, 3)


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
    net = load_backend("torch").LeNet(PRESETS["lenet5"], device="cpu")
    assert step_of(net) is not None
    change(net)
    assert step_of(net) is None


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

    backend, cuda_graph = load_backend("torch"), import_module("lenet_multi.backends.fast.cuda_graph")
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
    assert import_module("lenet_multi.backends.fast.cuda_graph").as_graph(step, torch.device("cpu")) is step
