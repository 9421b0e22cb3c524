"""What is computed faster is the same function of the same parameters, in every backend."""

from dataclasses import replace
from importlib import import_module

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


def fast(name):
    load_backend(name)
    return import_module(f"lenet_multi.backends.fast.{name}")


def pooled(name, architecture):
    """How many convolutions of the network are taken together with their pooling."""
    net = load_backend(name).LeNet(architecture, device="cpu")
    module = fast(name)
    if name == "torch":
        (steps,) = module.faster(net).args
    elif name == "tensorflow":
        steps = module.faster(net).steps
    else:
        steps = list(module.faster(net))
    return sum(isinstance(step, module.PooledConvolution) for step in steps)


@pytest.mark.parametrize(("name", "expected"), [("torch", 1), ("tensorflow", 2), ("mxnet", 1)])
def test_the_chapters_network_is_computed_faster(name, expected):
    assert pooled(name, PRESETS["lenet5"]) == expected


@pytest.mark.parametrize("name", BACKENDS)
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


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(architecture=lenets() | architectures().map(without_bends), batch_size=st.sampled_from([1, 3, 8]))
@example(
    architecture=Architecture((1, 9, 9), (Conv(3, 3), Conv(4, 3), Pool("avg", 2, 2), Flatten(), Dense(10))),
    batch_size=3,
)
def test_a_step_and_the_accuracy_are_the_referees(name, architecture, batch_size):
    """One step of the training loop, which goes the faster way, against the float64 referee."""
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
    indices = BatchIndices(len(data), 2)
    assert recorder.points[-1].test_acc == backend.evaluate_accuracy(net, backend.batches(data, indices))
