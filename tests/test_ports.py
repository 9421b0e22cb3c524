"""Tests of `compare_networks`: correct ports agree, and the hint identifies each known mistake."""

# The frameworks have no type hints. A report without a first divergence or hint fails its test with an exception.
# mypy: disable-error-code="union-attr,operator,name-defined,arg-type"

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED, framework, needs, needs_two

from lenet_multi.ports import PortError, compare_networks
from lenet_multi.ports.networks import network_of, run_network
from lenet_multi.ports.recording import Collector

# A test that uses a framework that is not installed is skipped.
torch = framework("torch", "torch")
keras = framework("tensorflow", "keras")
mxnet = framework("mxnet", "mxnet")

X = np.random.default_rng(0).random((4, 1, 12, 12), np.float32)
IMAGES = np.random.default_rng(1).random((2, 3, 6, 5), np.float32)


class TorchNet(torch.nn.Module):
    """Two convolutions and two dense layers, flattened in `forward`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(1, 3, 3, padding=1)
        self.second = torch.nn.Conv2d(3, 5, 3)
        self.pool = torch.nn.AvgPool2d(2)
        self.act = torch.nn.Sigmoid()
        self.last_act = torch.nn.Tanh()
        self.hidden = torch.nn.Linear(20, 20)
        self.out = torch.nn.Linear(20, 4)
        self.calls = torch.nn.ModuleList()

    def forward(self, x):
        x = self.pool(self.act(self.first(x)))
        x = self.pool(self.second(x))
        return self.out(self.last_act(self.hidden(x.flatten(1))))


def torch_weights(net):
    """Layer name to weight and bias."""
    layers = {name: getattr(net, name) for name in ("first", "second", "hidden", "out")}
    return {name: [array.detach().numpy() for array in (layer.weight, layer.bias)] for name, layer in layers.items()}


def keras_port(weights, padding="same", activation="sigmoid", scale=1.0, unpermuted=False, flip=False):
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            *([layers.Rescaling(scale)] if scale != 1 else []),
            *([layers.ZeroPadding2D(2)] if padding == "too much" else []),
            layers.Conv2D(3, 3, padding="valid" if padding == "too much" else padding, activation=activation, name="a"),
            layers.AveragePooling2D(2, name="b"),
            layers.Conv2D(5, 3, name="c"),
            layers.AveragePooling2D(2, name="d"),
            layers.Flatten(),
            layers.Dense(20, activation="tanh", name="e"),
            layers.Dense(4, name="f"),
        ]
    )
    for name, (weight, bias) in zip("acef", weights.values(), strict=True):
        if weight.ndim == 4:
            kernel = weight[:, :, ::-1, ::-1] if flip else weight
            kernel = kernel.transpose(2, 3, 1, 0)
        elif name == "e" and not unpermuted:
            kernel = weight.reshape(-1, 5, 2, 2).transpose(2, 3, 1, 0).reshape(20, -1)
        else:
            kernel = weight.T
        net.get_layer(name).set_weights([kernel, bias])
    return net


def gluon_port(weights):
    nn, mx_np = mxnet.gluon.nn, mxnet.np
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(3, 3, padding=1, activation="sigmoid"),
        nn.AvgPool2D(),
        nn.Conv2D(5, 3),
        nn.AvgPool2D(),
        nn.Dense(20, activation="tanh"),
        nn.Dense(4),
    )
    net.initialize()
    net(mx_np.array(X))
    for block, (weight, bias) in zip((net[0], net[2], net[4], net[5]), weights.values(), strict=True):
        block.weight.set_data(mx_np.array(weight))
        block.bias.set_data(mx_np.array(bias))
    net.hybridize(static_alloc=True, static_shape=True)
    return net


@pytest.fixture(scope="module")
def original():
    return TorchNet()


@pytest.fixture(scope="module")
def weights(original):
    return torch_weights(original)


@needs_two
def test_correct_ports_agree_in_every_pair_of_frameworks(original, weights):
    ports = {"tensorflow": keras_port, "mxnet": gluon_port}
    networks = [original, *(build(weights) for name, build in ports.items() if name in INSTALLED)]
    for reference in networks:
        for port in networks:
            report = compare_networks(reference, port, X)
            assert report.first_divergence is None, str(report)
            assert len(report.layers) == 8
            assert str(report).endswith("all layers agree")


def test_the_report_names_the_layers_of_both_networks(original, weights):
    report = compare_networks(original, keras_port(weights), X)
    assert [(layer.reference, layer.port) for layer in report.layers] == [
        ("first", "a"),
        ("act", "a.sigmoid"),
        ("pool", "b"),
        ("second", "c"),
        ("pool:2", "d"),
        ("hidden", "e"),
        ("last_act", "e.tanh"),
        ("out", "f"),
    ]
    assert report.layers[0].reference_shape == report.layers[0].port_shape == (4, 3, 12, 12)


@pytest.mark.parametrize(
    ("mistake", "layer", "hint"),
    [
        (
            {"unpermuted": True},
            "hidden",
            r"after the flatten permutation: .*\(C, H, W\) to \(H, W, C\), with \(C, H, W\) = \(5, 2, 2\)",
        ),
        ({"flip": True}, "first", "the outputs agree after flipping the port's kernels"),
        (
            {"padding": "too much"},
            "first",
            r"with the reference's padding, \(\(1, 1\), \(1, 1\)\): the port's is \(\(2, 2\), \(2, 2\)\)",
        ),
        (
            {"activation": None},
            "pool",
            "the inputs of pool agree after a sigmoid of the port's: the port lacks it there",
        ),
    ],
)
def test_a_mistake_in_a_keras_port_is_identified(mistake, layer, hint, original, weights):
    report = compare_networks(original, keras_port(weights, **mistake), X)
    assert report.first_divergence.reference == layer
    assert re.search(hint, report.hint)
    assert report.hint in str(report)


def test_the_advice_of_the_flatten_hint_corrects_the_port(original, weights):
    port = keras_port(weights, unpermuted=True)
    kernel, bias = port.get_layer("e").get_weights()
    order = np.arange(20).reshape(5, 2, 2).transpose(1, 2, 0).ravel()
    port.get_layer("e").set_weights([kernel[order], bias])
    assert compare_networks(original, port, X).first_divergence is None


def test_the_flatten_mistake_is_identified_with_keras_as_the_reference(original, weights):
    reference = keras_port(weights)
    port = TorchNet()
    with torch.no_grad():
        port.hidden.weight.copy_(torch.from_numpy(reference.get_layer("e").get_weights()[0].T.copy()))
    report = compare_networks(reference, port, X)
    assert report.first_divergence.reference == "e"
    assert "(H, W, C) to (C, H, W)" in report.hint


def with_changed_parameter(original, name, change):
    """A copy of the network with one parameter changed."""
    net = TorchNet()
    with torch.no_grad():
        parameter = net.get_parameter(name)
        parameter.copy_(change(parameter.clone()))
    return net


@pytest.mark.parametrize(
    ("name", "change", "hint"),
    [
        ("second.weight", lambda w: w.transpose(2, 3), "height and width are swapped"),
        ("hidden.weight", lambda w: w.T, "its inputs and outputs are swapped"),
        ("second.bias", lambda b: b + 1, "with the reference's bias: the port's values differ"),
        ("out.bias", lambda b: b + 1, None),
        ("out.weight", lambda w: w + torch.rand(w.shape), None),
    ],
)
def test_the_first_difference_is_the_layer_of_a_changed_parameter(name, change, hint, original):
    report = compare_networks(original, with_changed_parameter(original, name, change), X)
    assert report.first_divergence.reference == name.partition(".")[0]
    if hint:
        assert hint in report.hint


def test_a_wrong_activation_is_identified(original):
    port = TorchNet()
    port.last_act = torch.nn.ReLU()
    report = compare_networks(original, port, X)
    assert report.first_divergence.reference == "last_act"
    assert report.hint == "the outputs agree with the reference's activation, tanh: the port's is relu"


@pytest.mark.parametrize(
    ("port", "hint"),
    [
        (
            lambda x: x.transpose(0, 2, 3, 1),
            "after transposing the port's axes (NHWC/NCHW): port.transpose(0, 3, 1, 2)",
        ),
        (lambda x: 255 * x, "constant factor: the reference is 0.00392157 times the port"),
        (lambda x: x[:, :, 1:-1, 1:-1], "except for a border that only one of them has"),
        (lambda x: x**2 - x, None),
        (lambda x: x * np.nan, "the port's output contains NaN or infinity"),
    ],
)
def test_differences_between_functions_are_identified(port, hint):
    report = compare_networks(lambda x: x, port, IMAGES)
    assert report.first_divergence is not None
    assert report.hint is None if hint is None else hint in report.hint


def test_exchanged_axes_of_square_images_are_identified():
    square = IMAGES[..., :5, :]
    assert (
        "the port's axes (height/width)"
        in compare_networks(lambda x: x, lambda x: x.transpose(0, 1, 3, 2), square).hint
    )


def test_a_function_can_return_named_layers():
    report = compare_networks(lambda x: {"half": x / 2, "all": x}, lambda x: {"h": x / 2, "a": x + 1}, IMAGES)
    assert report.first_divergence.reference == "all"


def test_a_mapping_selects_the_layers_to_compare(original, weights):
    report = compare_networks(original, keras_port(weights), X, mapping={"out": "f", "hidden": "e"})
    assert [(layer.reference, layer.port) for layer in report.layers] == [("hidden", "e"), ("out", "f")]
    assert report.first_divergence is None


def test_layers_without_a_counterpart_are_listed(original):
    port = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4))
    report = compare_networks(original, port, X)
    assert report.unmatched == {"reference": ("first", "second", "out")}
    assert "unmatched in the reference: first, second, out" in str(report)


def test_networks_without_a_layer_of_one_kind_are_refused(original):
    with pytest.raises(PortError, match="no layer of the port has the kind of a layer of the reference"):
        compare_networks(torch.nn.Conv2d(1, 2, 3), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4)), X)


def test_a_mapping_that_names_no_layer_is_refused(original):
    port = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4))
    with pytest.raises(
        PortError, match="mapping names 'nothing', which is not a layer of the reference: choose from first, "
    ):
        compare_networks(original, port, X, mapping={"nothing": "1"})


def test_an_object_that_is_not_a_network_is_refused():
    with pytest.raises(PortError, match=r"the reference is a list, expected a torch.nn.Module"):
        compare_networks([], [], X)


def test_a_mapping_that_is_empty_or_repeats_a_layer_is_refused(original):
    with pytest.raises(PortError, match="mapping is empty: name layers"):
        compare_networks(original, original, X, mapping={})
    with pytest.raises(PortError, match="mapping names the port's layer 'out' more than once"):
        compare_networks(original, original, X, mapping={"hidden": "out", "out": "out"})


class Functional(torch.nn.Module):
    """Two convolutions and a dense layer; all other operations are in functions."""

    def __init__(self, activation=torch.relu):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(1, 4, 3)
        self.second = torch.nn.Conv2d(4, 6, 3, padding=1)
        self.out = torch.nn.Linear(24, 5)
        self.activation = activation

    def forward(self, x):
        x = torch.max_pool2d(self.activation(self.first(x)), 2)
        x = torch.max_pool2d(self.activation(self.second(x)), 2)
        return self.out(x.flatten(1))


def subclassed_keras():
    """The same network in Keras, with a pooling layer that is called twice."""

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = keras.layers.Conv2D(4, 3)
            self.second = keras.layers.Conv2D(6, 3, padding="same")
            self.pool = keras.layers.MaxPooling2D(name="pool")
            self.flatten = keras.layers.Flatten()
            self.out = keras.layers.Dense(5)

        def call(self, x):
            x = self.pool(keras.ops.relu(self.first(x)))
            x = self.pool(keras.ops.relu(self.second(x)))
            return self.out(self.flatten(x))

    return Subclassed()


def functional_gluon():
    """The same network in Gluon, whose dense layer flattens its input."""

    class FunctionalGluon(mxnet.gluon.nn.HybridBlock):
        def __init__(self):
            super().__init__()
            self.first = mxnet.gluon.nn.Conv2D(4, 3, in_channels=1)
            self.second = mxnet.gluon.nn.Conv2D(6, 3, padding=1, in_channels=4)
            self.out = mxnet.gluon.nn.Dense(5, in_units=24)

        def hybrid_forward(self, F, x):
            for conv in (self.first, self.second):
                x = F.npx.pooling(F.npx.relu(conv(x)), kernel=(2, 2), stride=(2, 2), pool_type="max")
            return self.out(x)

    return FunctionalGluon()


def functional_keras(kind):
    """The same network in Keras: with operations, nested models, subclassed, or from layers with an activation."""
    layers, ops = keras.layers, keras.ops
    first, second, out = layers.Conv2D(4, 3), layers.Conv2D(6, 3, padding="same"), layers.Dense(5)
    inputs = keras.Input((12, 12, 1))
    if kind == "operations":
        x = ops.max_pool(ops.relu(first(inputs)), 2)
        x = ops.max_pool(ops.relu(second(x)), 2)
        return keras.Model(inputs, out(ops.reshape(x, (-1, 24))))
    if kind == "nested":
        inner = keras.Sequential([keras.Input((12, 12, 1)), first, layers.ReLU(), layers.MaxPooling2D()])
        x = layers.MaxPooling2D()(layers.ReLU()(second(inner(inputs))))
        return keras.Model(inputs, out(layers.Flatten()(x)))
    if kind == "subclassed":
        net = subclassed_keras()
        net(X.transpose(0, 2, 3, 1))
        return net
    first.activation = second.activation = keras.activations.get(kind)
    pools = [layers.MaxPooling2D(), layers.MaxPooling2D()]
    return keras.Sequential([inputs, first, pools[0], second, pools[1], layers.Flatten(), out])


def with_weights_of(original, port, unpermuted=False):
    """The Keras or Gluon port of `Functional`, with the original's weights."""
    modules = [original.first, original.second, original.out]
    values = [[array.detach().numpy() for array in (module.weight, module.bias)] for module in modules]
    if hasattr(port, "hybrid_forward"):
        port.initialize()
        for block, value in zip((port.first, port.second, port.out), values, strict=True):
            block.weight.set_data(mxnet.np.array(value[0]))
            block.bias.set_data(mxnet.np.array(value[1]))
        return port
    layers = [layer for layer in port._flatten_layers() if hasattr(layer, "kernel")]
    for layer, (weight, bias) in zip(layers, values, strict=True):
        if weight.ndim == 2 and not unpermuted:
            weight = weight.reshape(5, 6, 2, 2).transpose(0, 2, 3, 1).reshape(5, 24)
        layer.set_weights([weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T, bias])
    return port


@pytest.fixture(scope="module")
def functional():
    return Functional()


@pytest.mark.parametrize("kind", ["operations", "nested", "subclassed", "relu", "gluon"])
def test_operations_in_functions_are_skipped(kind, functional):
    port = with_weights_of(functional, functional_gluon() if kind == "gluon" else functional_keras(kind))
    for report in (compare_networks(functional, port, X), compare_networks(port, functional, X)):
        assert report.first_divergence is None, str(report)
        assert len(report.layers) == 3
    # Both networks have pooling layers, so these are compared. The layer that is called twice has two names.
    if kind == "subclassed":
        names = [
            layer.port
            for layer in compare_networks(with_weights_of(functional, functional_keras("relu")), port, X).layers
        ]
        assert names[1::2] == ["pool", "pool:2"]


def test_a_wrong_activation_in_a_function_shows_in_the_next_layer(functional):
    report = compare_networks(functional, with_weights_of(functional, functional_keras("tanh")), X)
    assert report.first_divergence.reference == "second"
    assert report.hint.startswith("the inputs of second already differ: the operations between first and second differ")


def test_a_function_after_the_last_layer_shows_in_the_output(functional):
    class Doubled(Functional):
        def forward(self, x):
            return super().forward(x) ** 2

    report = compare_networks(functional, Doubled(), X)
    assert report.first_divergence.reference == report.first_divergence.port == "output"
    assert report.hint == "the operations after out differ"


def test_a_softmax_at_the_end_of_one_network_is_identified(functional):
    port = with_weights_of(functional, functional_keras("relu"))
    port.layers[-1].activation = keras.activations.softmax
    report = compare_networks(functional, port, X)
    assert report.hint == "the outputs agree after a softmax of the reference's: only the port has it there"
    report = compare_networks(port, functional, X)
    assert report.hint == "the outputs agree after a softmax of the port's: the port lacks it there"


@pytest.mark.parametrize("function", ["activation", "pooling"])
def test_a_pooling_may_move_across_an_activation_that_commutes_with_it(function):
    torch.manual_seed(0)
    conv, pool, out = torch.nn.Conv2d(1, 2, 3), torch.nn.MaxPool2d(2), torch.nn.Linear(50, 3)
    port = torch.nn.Sequential(conv, torch.nn.ReLU(), pool, torch.nn.Flatten(), out)

    class PoolFirst(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool, self.out, self.act = conv, pool, out, torch.nn.ReLU()

        def forward(self, x):
            if function == "activation":
                x = torch.relu(self.pool(self.conv(x)))
            else:
                x = self.act(torch.max_pool2d(self.conv(x), 2))
            return self.out(x.flatten(1))

    report = compare_networks(PoolFirst(), port, X)
    assert report.first_divergence is None, str(report)
    assert [layer.reference for layer in report.layers] == ["conv", "out"]


@pytest.mark.parametrize("only_children", [False, True])
def test_layers_inside_compiled_gluon_blocks_are_compared(only_children):
    def build():
        mxnet.random.seed(0)
        net, inner = mxnet.gluon.nn.HybridSequential(), mxnet.gluon.nn.HybridSequential()
        inner.add(mxnet.gluon.nn.Dense(6, activation="relu", in_units=144), mxnet.gluon.nn.Dense(4, in_units=6))
        net.add(inner)
        net.initialize(mxnet.init.Xavier())
        (inner if only_children else net).hybridize(static_alloc=True)
        net(mxnet.np.array(X))
        return net

    net, port = build(), build()
    assert len(compare_networks(net, port, X).layers) == 3
    port[0][0].weight.set_data(-port[0][0].weight.data())
    assert compare_networks(net, port, X).first_divergence.port == port[0][0].name


def calls_of(network, inputs=X):
    """The calls of a network's layers, with their arrays."""
    collected = Collector()
    run_network(network_of(network, "network"), (inputs,), collected, "network")
    return collected.calls


class Inplace(torch.nn.Module):
    """Changes its inputs in place if `inplace`, and calls one module twice."""

    def __init__(self, inplace):
        super().__init__()
        torch.manual_seed(0)
        self.inplace = inplace
        self.first = torch.nn.Conv2d(1, 3, 3)
        self.second = torch.nn.Conv2d(3, 3, 3)
        self.act = torch.nn.ReLU(inplace=inplace)

    def forward(self, x):
        if self.inplace:
            x += 1
            x = self.act(self.first(x))
            x *= 2
        else:
            x = 2 * self.act(self.first(x + 1))
        return self.act(self.second(x))


def test_arrays_are_recorded_before_they_change_in_place():
    inputs = X.copy()
    report = compare_networks(Inplace(False), Inplace(True), inputs)
    assert report.first_divergence is None, str(report)
    np.testing.assert_array_equal(inputs, X)
    calls = calls_of(Inplace(True))
    np.testing.assert_array_equal(calls[0].output, calls[1].inputs[0])
    assert calls[0].output.min() < 0


def test_a_function_receives_a_copy_of_the_inputs():
    def change(x):
        x += 1
        return x

    assert compare_networks(change, lambda x: x + 1, X).first_divergence is None


def test_a_module_that_is_called_twice_can_be_mapped():
    assert [call.name for call in calls_of(Inplace(True))] == ["first", "act", "second", "act:2"]
    report = compare_networks(Inplace(False), Inplace(True), X, mapping={"act": "act", "act:2": "act:2"})
    assert [layer.reference for layer in report.layers] == ["act", "act:2"]
    assert report.first_divergence is None


def norm_values(kind):
    """The parameters of a norm: gamma, beta and, for a batch norm, mean and variance."""
    rng = np.random.default_rng(0)
    values = [rng.random(3, np.float32) / 10 + 0.01 for _ in range(4)]
    return values if kind == "batch" else values[:2]


def torch_norm(kind):
    module = torch.nn.BatchNorm2d(3) if kind == "batch" else torch.nn.LayerNorm(3)
    values = zip(["weight", "bias", "running_mean", "running_var"], norm_values(kind), strict=False)
    module.load_state_dict({key: torch.from_numpy(value) for key, value in values}, strict=False)
    return module


def keras_norm(kind, epsilon=1e-5):
    """The same norm in Keras."""
    layer = (keras.layers.BatchNormalization if kind == "batch" else keras.layers.LayerNormalization)(epsilon=epsilon)
    layer.build((None, 6, 5, 3) if kind == "batch" else (None, 3))
    layer.set_weights(norm_values(kind))
    return layer


def gluon_norm(kind):
    """The same norm in Gluon."""
    block = (mxnet.gluon.nn.BatchNorm if kind == "batch" else mxnet.gluon.nn.LayerNorm)(in_channels=3)
    block.initialize()
    for name, value in zip(["gamma", "beta", "running_mean", "running_var"], norm_values(kind), strict=False):
        getattr(block, name).set_data(mxnet.np.array(value))
    return block


ROWS = np.random.default_rng(1).random((6, 3), np.float32)


@pytest.mark.parametrize("port", [keras_norm, gluon_norm])
@pytest.mark.parametrize(("kind", "inputs"), [("batch", IMAGES), ("layer", ROWS)])
def test_norms_are_compared_across_frameworks(kind, inputs, port):
    report = compare_networks(torch_norm(kind), port(kind), inputs)
    assert report.first_divergence is None, str(report)
    assert len(report.layers) == 1


@pytest.mark.parametrize(("kind", "inputs"), [("batch", IMAGES), ("layer", ROWS)])
def test_a_wrong_epsilon_of_a_norm_is_identified(kind, inputs):
    hint = compare_networks(torch_norm(kind), keras_norm(kind, epsilon=1e-3), inputs).hint
    assert hint == "the outputs agree with the reference's epsilon, 1e-05: the port's is 0.001"


def test_wrong_parameters_of_a_norm_in_keras_are_identified():
    port = keras_norm("batch")
    port.moving_variance.assign(port.moving_variance + 1)
    port.beta.assign(port.beta + 1)
    hint = compare_networks(torch_norm("batch"), port, IMAGES).hint
    assert hint == "the outputs agree with the reference's beta, running variance: the port's values differ"


def test_wrong_parameters_of_a_norm_in_gluon_are_identified():
    port = gluon_norm("batch")
    port.gamma.set_data(port.gamma.data() + 1)
    hint = compare_networks(torch_norm("batch"), port, IMAGES).hint
    assert hint == "the outputs agree with the reference's gamma: the port's values differ"


def depthwise(wrong=False):
    """A depthwise convolution with two kernels per channel, in PyTorch and Keras."""
    torch.manual_seed(0)
    module = torch.nn.Conv2d(3, 6, 3, groups=3)
    weight = module.weight.detach().numpy()[:, 0].transpose(1, 2, 0)
    kernel = weight.reshape(3, 3, 2, 3).swapaxes(2, 3) if wrong else weight.reshape(3, 3, 3, 2)
    layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
    layer.build((None, 6, 5, 3))
    layer.set_weights([kernel, module.bias.detach().numpy()])
    return module, layer


def transposed():
    torch.manual_seed(0)
    module = torch.nn.ConvTranspose2d(3, 2, 3, stride=2)
    layer = keras.layers.Conv2DTranspose(2, 3, strides=2)
    layer.build((None, 6, 5, 3))
    layer.set_weights([module.weight.detach().numpy().transpose(2, 3, 1, 0), module.bias.detach().numpy()])
    return module, layer


def one_dimensional():
    torch.manual_seed(0)
    module = torch.nn.Conv1d(3, 2, 3)
    block = mxnet.gluon.nn.Conv1D(2, 3, in_channels=3)
    block.initialize()
    block.weight.set_data(mxnet.np.array(module.weight.detach().numpy()))
    block.bias.set_data(mxnet.np.array(module.bias.detach().numpy()))
    return module, block


@pytest.mark.parametrize(
    ("build", "inputs"), [(depthwise, IMAGES), (transposed, IMAGES), (one_dimensional, IMAGES[:, :, 0])]
)
def test_depthwise_transposed_and_1d_convolutions_are_compared(build, inputs):
    networks = build()
    report = compare_networks(networks[0], networks[1], inputs)
    assert report.first_divergence is None, str(report)
    adapters = [network_of(network, "network") for network in networks]
    weights = [adapter.parameters(adapter.net, "conv")["weight"] for adapter in adapters]
    np.testing.assert_array_equal(*weights)


def test_depthwise_kernels_in_the_wrong_order_are_identified():
    module, layer = depthwise(wrong=True)
    assert "reordering the port's weight: its groups" in compare_networks(module, layer, IMAGES).hint
    assert "reordering the port's weight: its groups" in compare_networks(layer, module, IMAGES).hint


def test_only_what_comes_before_an_unknown_layer_is_compared_and_the_outputs():
    torch.manual_seed(0)

    class Words(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.lstm, self.last = torch.nn.Linear(3, 3), torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.lstm(self.first(x))[0])

    net = Words()
    report = compare_networks(net, net, ROWS.reshape(2, 3, 3))
    assert [layer.reference for layer in report.layers] == ["first", "output"]
    assert (
        report.not_compared
        == "lstm of the reference (LSTM, a layer outside convolutional classifiers) and what follows "
        "it; lstm of the port (LSTM, a layer outside convolutional classifiers) and what follows it"
    )


def test_the_flatten_mistake_is_identified_after_a_flatten_in_gluon(functional):
    reference = with_weights_of(functional, functional_keras("relu"))
    port = with_weights_of(functional, functional_gluon())
    port.out.weight.set_data(mxnet.np.array(reference.layers[-1].get_weights()[0].T.copy()))
    assert "(H, W, C) to (C, H, W), with (C, H, W) = (6, 2, 2)" in compare_networks(reference, port, X).hint


def test_the_flatten_mistake_is_identified_after_a_flatten_in_a_function(functional):
    wrong = with_weights_of(functional, functional_keras("operations"), unpermuted=True)
    report = compare_networks(functional, wrong, X)
    assert "(C, H, W) to (H, W, C), with (C, H, W) = (6, 2, 2)" in report.hint


def test_the_flatten_mistake_is_identified_if_only_the_dense_layer_is_mapped(original, weights):
    report = compare_networks(original, keras_port(weights, unpermuted=True), X, mapping={"hidden": "e"})
    assert "after the flatten permutation" in report.hint


def test_the_tolerance_is_relative_to_the_outputs():
    assert compare_networks(lambda x: 1e-9 * x, lambda x: 1e-9 * x**2, X).first_divergence is not None
    assert compare_networks(lambda x: 1e-9 * x, lambda x: 1e-9 * (x + 1e-7), X).first_divergence is None
    assert compare_networks(lambda x: 1e9 * x, lambda x: 1e9 * x + 1, X).first_divergence is None
    assert compare_networks(lambda x: 0 * x, lambda x: 0 * x, X).first_divergence is None
    assert compare_networks(lambda x: 0 * x, lambda x: 1e-9 * x, X).first_divergence is not None
    for port in (lambda x: x, lambda x: x + np.inf):
        report = compare_networks(lambda x: x + np.inf, port, X)
        assert report.hint == "the reference's output contains NaN or infinity"


def test_hints_compare_tiny_weights_relatively():
    torch.manual_seed(0)
    module, port = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        for parameter in (*module.parameters(), *port.parameters()):
            parameter *= 1e-7
        port.bias.copy_(module.bias)
        port.weight.copy_(module.weight.flip(2, 3))
    assert "the outputs agree after flipping the port's kernels" in compare_networks(module, port, X).hint


def linear_on_sequences():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))


def keras_with_several_inputs_to_a_layer():
    inputs = keras.Input((5, 3))
    x = keras.layers.Concatenate()([inputs, keras.layers.Dense(2)(inputs)])
    return keras.Model(inputs, keras.layers.MultiHeadAttention(1, 2)(x, x))


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(3, 4, batch_first=True)
        self.out = torch.nn.Linear(4, 2)

    def forward(self, x):
        outputs, (hidden, _) = self.lstm(x)
        return {"all": self.out(input=outputs), "last": (hidden, None)}


def classic_gluon():
    with mxnet.util.np_array(False), mxnet.util.np_shape(False):
        net = mxnet.gluon.nn.HybridSequential()
        net.add(mxnet.gluon.nn.Dense(3, in_units=15, activation="relu"), mxnet.gluon.nn.Dense(2, in_units=3))
        net.initialize()
        net(mxnet.nd.zeros((1, 5, 3)))
    return net


@pytest.mark.parametrize(
    ("build", "num_rows"),
    [
        (linear_on_sequences, 2),
        (lambda: linear_on_sequences().double(), 2),
        (lambda: linear_on_sequences().bfloat16(), 2),
        (keras_with_several_inputs_to_a_layer, 2),
        (lambda: keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4)]), 1),
        (Recurrent, 2),
        (classic_gluon, 3),
    ],
)
def test_many_kinds_of_networks_can_be_compared(build, num_rows):
    net = build()
    report = compare_networks(net, net, IMAGES[0, :, :, :3].reshape(-1, 3)[:10].reshape(2, 5, 3))
    assert report.first_divergence is None
    assert len(report.layers) == num_rows


def test_a_dense_layer_on_sequences_gets_hints():
    net, port = linear_on_sequences(), linear_on_sequences()
    with torch.no_grad():
        port[0].weight.copy_(net[0].weight.T)
    assert "inputs and outputs are swapped" in compare_networks(net, port, IMAGES[0, :, :, :3]).hint


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.from_numpy(x).requires_grad_() * 2,
        lambda x: keras.ops.convert_to_tensor(x) * 2,
        lambda x: mxnet.np.array(x) * 2,
        lambda x: mxnet.nd.array(x) * 2,
        lambda x: (x * 2,),
    ],
)
def test_a_function_may_return_an_array_of_any_framework(function):
    assert compare_networks(lambda x: 2 * x, function, X).first_divergence is None


def uninitialized(initialize):
    net = mxnet.gluon.nn.HybridSequential()
    net.add(mxnet.gluon.nn.Dense(3))
    if initialize:  # deferred, because the number of inputs is unknown
        net.initialize()
    return net


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: uninitialized(False), "'dense.*_weight' has not been initialized"),
        (lambda: uninitialized(True), "'dense.*_weight' has not been initialized yet"),
        (Functional, "expected input.* to have 1 channels"),
        (lambda: functional_keras("relu"), r"expected axis -1 of input shape to have value 1\b"),
        (lambda: lambda x: x.nothing, "has no attribute 'nothing'"),
        (lambda: lambda x: "words", "returned no array: wrap it"),
        (lambda: lambda x: {}, "returned no array: wrap it"),
        (lambda: Functional, "returned no array: wrap it"),
    ],
)
def test_an_error_names_the_network_that_failed_and_the_reason(build, message):
    for networks, role in (((build(), abs), "reference"), ((abs, build()), "port")):
        with pytest.raises(PortError, match=message) as caught:
            compare_networks(networks[0], networks[1], IMAGES)
        assert f"the {role}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_network_without_layers_is_compared_by_its_output(functional):
    class WithoutLayers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.factor * as_function(x)

    def as_function(x):
        maps = torch.conv2d(torch.as_tensor(x), functional.first.weight, functional.first.bias)
        maps = torch.conv2d(
            torch.max_pool2d(maps.relu(), 2), functional.second.weight, functional.second.bias, padding=1
        )
        images = torch.max_pool2d(maps.relu(), 2)
        return images.flatten(1) @ functional.out.weight.T + functional.out.bias

    for port in (WithoutLayers(), as_function):
        report = compare_networks(functional, port, X)
        assert report.first_divergence is None
        assert [(layer.reference, layer.port) for layer in report.layers] == [("output", "output")]


def test_the_hint_says_that_a_difference_is_near_the_tolerance():
    report = compare_networks(lambda x: x, lambda x: x + 3e-5 * (x > 0.5), X)
    assert report.first_divergence is not None
    assert report.hint.startswith("the difference is less than ten times the tolerance")


def test_a_dict_and_an_array_cannot_be_compared():
    with pytest.raises(PortError, match="one function returns an array, the other a dict"):
        compare_networks(lambda x: x, lambda x: {"all": x}, X)


def test_the_factor_hint_needs_many_different_numbers():
    assert compare_networks(lambda x: x[:1, 0, 0, :1], lambda x: x[:1, 0, 0, 1:2], X).hint is None
    assert compare_networks(lambda x: x[0, :, 0, :4], lambda x: 2 * x[0, :, 0, :4], X).hint is None
    assert compare_networks(lambda x: np.ones_like(x), lambda x: 3 * np.ones_like(x), X).hint is None


def test_global_poolings_agree_whether_or_not_they_keep_the_axes():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    port = keras.Sequential([keras.Input((6, 5, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    port.layers[-1].set_weights([module[2].weight.detach().numpy().T, module[2].bias.detach().numpy()])
    report = compare_networks(module, port, IMAGES)
    assert report.first_divergence is None, str(report)
    assert len(report.layers) == 2
    # At the end of a network, it is a difference.
    assert "agree without axes of length 1" in compare_networks(module[0], port.layers[0], IMAGES).hint


def test_a_channels_first_keras_network_receives_channels_first_images():
    inputs = keras.Input((3, 6, 5))
    pool = keras.layers.GlobalMaxPooling2D(data_format="channels_first", keepdims=True)
    port = keras.Model(inputs, keras.layers.Flatten()(pool(inputs)))
    report = compare_networks(lambda x: x.max(axis=(2, 3)), port, IMAGES)
    assert report.first_divergence is None, str(report)


def test_same_padding_with_a_stride_is_identified():
    torch.manual_seed(0)
    module = torch.nn.Conv2d(1, 3, 3, stride=2, padding=1)
    layer = keras.layers.Conv2D(3, 3, strides=2, padding="same")
    layer.build((None, 12, 12, 1))
    layer.set_weights([module.weight.detach().numpy().transpose(2, 3, 1, 0), module.bias.detach().numpy()])
    hint = compare_networks(module, layer, X).hint
    assert hint == "the outputs agree with the reference's padding, ((1, 1), (1, 1)): the port's is ((0, 1), (0, 1))"


def test_a_wrong_rounding_of_the_pooling_size_is_identified():
    modules = [torch.nn.MaxPool2d(2, ceil_mode=ceil_mode) for ceil_mode in (True, False)]
    hint = compare_networks(modules[0], modules[1], IMAGES).hint
    assert hint == "the outputs agree with the reference's ceil_mode, True: the port's is False"


def test_a_separate_padding_layer_is_not_a_difference_in_the_input():
    torch.manual_seed(0)
    module = torch.nn.Conv2d(3, 2, 3, padding=1)
    layer = keras.layers.Conv2D(2, 3)
    port = keras.Sequential([keras.Input((6, 5, 3)), keras.layers.ZeroPadding2D(1), layer])
    layer.set_weights([module.weight.detach().numpy().transpose(2, 3, 1, 0), module.bias.detach().numpy()])
    assert compare_networks(module, port, IMAGES).first_divergence is None
    layer.kernel.assign(layer.kernel**2)
    report = compare_networks(module, port, IMAGES)
    assert report.hint.endswith("the reference's weight: the port's weights differ, and may not have been loaded")


def compare_and_fail(network):
    """Compare a network with one in PyTorch, in both roles, then on images that are too small for it."""
    inputs, other = X.copy(), TorchNet()
    for reference, port in ((network, other), (other, network)):
        compare_networks(reference, port, inputs)
    for reference, port in ((network, abs), (abs, network)):
        with pytest.raises(PortError):
            compare_networks(reference, port, X[:, :, :3, :3])
    np.testing.assert_array_equal(inputs, X)


def test_a_comparison_does_not_change_a_pytorch_network():
    net = TorchNet()
    net.train()
    net.first.eval()
    net.hidden.weight.requires_grad_(False)
    net(torch.from_numpy(X)).sum().backward()
    training = [module.training for module in net.modules()]
    requires_grad = [parameter.requires_grad for parameter in net.parameters()]
    grads = [None if parameter.grad is None else parameter.grad.clone() for parameter in net.parameters()]
    compare_and_fail(net)
    assert [module.training for module in net.modules()] == training
    assert not [module for module in net.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert [parameter.requires_grad for parameter in net.parameters()] == requires_grad
    for parameter, grad in zip(net.parameters(), grads, strict=True):
        assert parameter.grad is None if grad is None else torch.equal(parameter.grad, grad)


def test_a_comparison_does_not_change_a_keras_network(weights):
    net = keras_port(weights)
    call = keras.layers.Layer.__call__
    activations = [layer.activation for layer in net.layers if hasattr(layer, "activation")]
    compare_and_fail(net)
    assert [layer.activation for layer in net.layers if hasattr(layer, "activation")] == activations
    assert keras.layers.Layer.__call__ is call


def test_a_comparison_does_not_change_a_gluon_network(weights):
    net = gluon_port(weights)
    net[2].hybridize(active=False)
    net[0].hybridize(inline_limit=7)
    compiled = [(block._active, list(block._flags)) for block in net]
    compare_and_fail(net)
    assert [(block._active, block._flags) for block in net] == compiled
    assert not [block for block in (net, *net) if block._forward_hooks or block._forward_pre_hooks]


class Branched(torch.nn.Module):
    """Two parallel convolutions, the first with a pooling; if `late`, the second convolution is called first."""

    def __init__(self, pool=torch.nn.AvgPool2d, late=False):
        super().__init__()
        torch.manual_seed(0)
        self.a = torch.nn.Conv2d(1, 2, 3)
        self.b = torch.nn.Conv2d(1, 2, 3, stride=2)
        self.o = torch.nn.Linear(50, 3)
        self.pool, self.late = pool(2), late

    def forward(self, x):
        v = self.b(x) if self.late else None
        u = self.pool(self.a(x))
        return self.o((u + (self.b(x) if v is None else v)).flatten(1))


def test_a_difference_in_one_branch_is_identified():
    report = compare_networks(Branched(), Branched(torch.nn.MaxPool2d), X)
    assert report.first_divergence.reference == "pool"
    assert report.hint == "the outputs agree with the reference's pooling, average: the port's is max"


def test_a_layer_without_weights_that_differs_is_identified_if_it_is_an_output():
    class WithPooled(torch.nn.Module):
        def __init__(self, pool):
            super().__init__()
            torch.manual_seed(0)
            self.pool, self.out = pool(2), torch.nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.pool(x), self.out(x)

    report = compare_networks(WithPooled(torch.nn.AvgPool2d), WithPooled(torch.nn.MaxPool2d), X)
    assert report.first_divergence.reference == "pool"


def test_branches_that_run_in_a_different_order_are_matched_by_their_outputs():
    report = compare_networks(Branched(), Branched(late=True), X)
    rows = [(layer.reference, layer.port) for layer in report.layers]
    assert rows == [("a", "a"), ("pool", "pool"), ("b", "b"), ("o", "o")]
    assert report.first_divergence is None


def test_branches_in_another_order_hide_no_later_mistake():
    wrong = Branched(late=True)
    with torch.no_grad():
        wrong.o.bias += 1
    report = compare_networks(Branched(), wrong, X)
    assert [layer.reference for layer in report.layers if not layer.agrees] == ["o"]


def test_swapped_weights_are_identified():
    torch.manual_seed(0)
    first, second, third = (torch.nn.Conv2d(1, 1, 3) for _ in range(3))
    report = compare_networks(torch.nn.Sequential(first, second, third), torch.nn.Sequential(first, third, second), X)
    assert [layer.reference for layer in report.layers if not layer.agrees] == ["1", "2"]
    assert (
        report.hint == "the outputs agree with the reference's weight, bias: the port's are those of the reference's 2"
    )


@pytest.mark.parametrize("permuted", [True, False])
def test_branches_are_matched_by_the_shapes_of_their_weights(permuted):
    """Keras may run the branches of a model in a different order than PyTorch."""

    class TwoHeads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.few, self.many = torch.nn.Linear(90, 2), torch.nn.Linear(90, 5)

        def forward(self, x):
            return self.few(x.flatten(1)), self.many(x.flatten(1))

    net = TwoHeads()
    inputs = keras.Input((6, 5, 3))
    flat = keras.layers.Flatten()(inputs)
    port = keras.Model(inputs, [keras.layers.Dense(2, name="few")(flat), keras.layers.Dense(5, name="many")(flat)])
    for name, head in net.named_children():
        weight = head.weight.detach().numpy()
        if permuted:
            weight = weight.reshape(-1, 3, 6, 5).transpose(0, 2, 3, 1).reshape(-1, 90)
        port.get_layer(name).set_weights([weight.T, head.bias.detach().numpy()])
    report = compare_networks(net, port, IMAGES)
    assert [(layer.reference, layer.port) for layer in report.layers] == [("few", "few"), ("many", "many")]
    assert (report.first_divergence is None) == permuted
    assert permuted or "flatten permutation" in report.hint


def test_a_mapping_decides_which_layers_are_compared():
    wrong = compare_networks(Branched(), Branched(late=True), X, mapping={"a": "b", "o": "o"})
    assert [layer.reference for layer in wrong.layers if not layer.agrees] == ["a"]
    right = compare_networks(Branched(), Branched(late=True), X, mapping={"a": "a", "b": "b", "o": "o"})
    assert right.first_divergence is None


def test_dicts_with_the_same_names_are_matched_by_name():
    report = compare_networks(lambda x: {"half": x / 2, "all": x}, lambda x: {"all": x, "half": x / 2}, IMAGES)
    assert [(layer.reference, layer.port) for layer in report.layers] == [("half", "half"), ("all", "all")]
    assert report.first_divergence is None


def test_all_arrays_with_one_name_are_compared():
    report = compare_networks(lambda x: {"both": (x, 2 * x)}, lambda x: {"both": (x, 3 * x)}, IMAGES)
    assert report.first_divergence.reference == "both:2"


def test_the_report_counts_surplus_outputs_of_one_network(original):
    def more(x):
        return x, x * 2, x * 3

    for networks, text in (
        ((more, lambda x: (x,)), "2 outputs of the reference"),
        ((abs, more), "2 outputs of the port"),
    ):
        report = compare_networks(networks[0], networks[1], X)
        assert report.not_compared == text
        assert str(report).splitlines()[-2:] == [f"not compared: {text}", "all layers agree"]
    assert compare_networks(more, more, X).not_compared is None
    assert compare_networks(original, original, X).not_compared is None


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (X[:0], r"X has shape \(0, 1, 12, 12\), expected at least one example: pass"),
        (np.float32(1), r"X has shape \(\), expected at least one example: pass"),
        ([[1.0, 2.0], [3.0]], r"X, a list, is not an array of numbers \(.*\): pass"),
        ("words", r"X, a str, is not an array of numbers \(.*\): pass"),
        (None, r"X, a NoneType, is not an array of numbers \(.*\): pass"),
        (X + 1j, r"X, a ndarray, is not an array of numbers .*complex.*: pass"),
        (torch.ones(1) * 1j, r"X, a Tensor, is not an array of numbers .*complex.*: pass"),
    ],
)
def test_invalid_inputs_are_refused(inputs, message):
    with pytest.raises(PortError, match=message):
        compare_networks(abs, abs, inputs)


@pytest.mark.parametrize(
    "convert",
    [
        lambda: torch.from_numpy(X).requires_grad_(),
        lambda: torch.from_numpy(X).bfloat16(),
        lambda: mxnet.np.array(X),
        lambda: keras.ops.convert_to_tensor(X),
        lambda: keras.ops.cast(X, "bfloat16"),
    ],
)
def test_inputs_may_be_an_array_of_any_framework(convert, original):
    assert compare_networks(original, original, convert()).first_divergence is None


def test_inputs_may_be_an_array_of_integers():
    words = torch.nn.Embedding(5, 3)
    assert compare_networks(words, words, torch.arange(5)).first_divergence is None


class Both(torch.nn.Module):
    """A network with two inputs: images, and integers for the embedding in a second branch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.out = torch.nn.Embedding(7, 4), torch.nn.Linear(94, 3)

    def forward(self, images, words):
        return self.out(torch.cat([images.flatten(1), self.words(words)], 1))


def function_of_both(net):
    return lambda images, words: net(torch.tensor(images), torch.tensor(words))


def keras_both(net):
    """The same network in Keras."""
    inputs = keras.Input((6, 5, 3)), keras.Input((), dtype="int64")
    flat = keras.layers.Flatten()(keras.layers.Permute((3, 1, 2))(inputs[0]))
    words = keras.layers.Embedding(7, 4, name="words")(inputs[1])
    port = keras.Model(inputs, keras.layers.Dense(3, name="out")(keras.layers.Concatenate()([flat, words])))
    embedding, weight, bias = (parameter.detach().numpy() for parameter in net.parameters())
    port.get_layer("words").set_weights([embedding])
    port.get_layer("out").set_weights([weight.T, bias])
    return port


def gluon_both(net):
    """The same network in Gluon."""

    class GluonBoth(mxnet.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.words, self.out = mxnet.gluon.nn.Embedding(7, 4), mxnet.gluon.nn.Dense(3, in_units=94)

        def forward(self, images, words):
            return self.out(mxnet.np.concatenate([images.reshape(-1, 90), self.words(words)], 1))

    port = GluonBoth()
    port.initialize()
    for parameter, value in zip(port.collect_params().values(), net.parameters(), strict=True):
        parameter.set_data(mxnet.np.array(value.detach().numpy()))
    return port


IMAGES_AND_WORDS = IMAGES, np.array([5, 2])


@pytest.mark.parametrize("port", [function_of_both, keras_both, gluon_both])
def test_networks_may_have_several_inputs(port):
    net = Both()
    report = compare_networks(net, port(net), IMAGES_AND_WORDS)
    assert report.first_divergence is None
    assert report.layers[-1].reference_shape == (2, 3)


def test_an_error_names_the_shapes_and_types_of_all_inputs():
    with pytest.raises(
        PortError, match=r"failed on X of shape \(2, 3, 6, 5\), type float32 and shape \(2,\), type int64"
    ):
        compare_networks(torch.nn.ReLU(), Both(), IMAGES_AND_WORDS)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([("out", "out")], "mapping is a list, expected a dict from .*: leave it out"),
        ({"out": ["out"]}, r"mapping contains \['out'\] of type list, expected layer names as strings"),
        ({0: "out"}, "mapping contains 0 of type int, expected layer names as strings"),
    ],
)
def test_an_invalid_mapping_is_refused(mapping, message, original):
    with pytest.raises(PortError, match=message):
        compare_networks(original, original, X, mapping=mapping)


@pytest.mark.parametrize("tolerance", [float("nan"), 0, -1e-5, float("inf"), "1e-5"])
def test_an_invalid_tolerance_is_refused(tolerance):
    with pytest.raises(PortError, match=r"tolerance .* is not a positive, finite number: leave it out"):
        compare_networks(abs, abs, X, tolerance=tolerance)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_different_types_are_identified(dtype, original):
    text = f"the networks compute in different types, float32 (reference) and {dtype} (port): compare both"
    port = TorchNet().to(getattr(torch, dtype))
    assert compare_networks(original, port, X).hint.startswith(text)

    def as_function(x):
        return torch.from_numpy(x).to(getattr(torch, dtype))

    assert compare_networks(lambda x: x, as_function, X).hint.startswith(text)
    assert compare_networks(original, TorchNet().double(), X).first_divergence is None


def test_there_is_no_type_hint_for_precise_types(functional):
    report = compare_networks(functional, Functional(torch.tanh).double(), X)
    assert report.hint.startswith("the inputs of second already differ")


def inner_compiled():
    net = TorchNet()
    net.hidden = torch.compile(torch.nn.Sequential(net.hidden))
    net.second.compile()
    return net


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # raised inside `torch.compile`
@pytest.mark.parametrize(
    "wrap", [lambda: torch.compile(TorchNet()), inner_compiled, lambda: torch.nn.DataParallel(TorchNet())]
)
def test_layers_inside_wrapped_modules_are_compared(wrap, original):
    report = compare_networks(original, wrap(), X)
    assert report.first_divergence is None, str(report)
    assert len(report.layers) == 8
    assert not [layer for layer in report.layers if "_orig_mod" in layer.port]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("script", [torch.jit.script, lambda net: torch.jit.trace(net, torch.from_numpy(X))])
def test_a_torchscript_module_is_compared_by_its_output(script, original):
    report = compare_networks(original, script(TorchNet().eval()), X)
    assert report.first_divergence is None, str(report)
    assert [layer.port for layer in report.layers] == ["output"]


@pytest.mark.parametrize("build", [lambda: keras.Sequential([keras.layers.Dense(3)]), subclassed_keras])
def test_a_keras_network_that_is_not_built_is_refused_and_not_built(build):
    net = build()
    with pytest.raises(
        PortError, match=r"the port, a \w+, is not built and has no weights: call it once, then set its weights"
    ):
        compare_networks(abs, net, X)
    assert not net.built


@needs("tensorflow")
@needs("jax")
def test_the_documented_examples_print_the_documented_reports(capsys):
    """The printed reports equal the documented ones, except for the sizes of errors."""
    text = (Path(__file__).parent.parent / "docs" / "ports.md").read_text()
    examples = re.findall(
        r"```python\n([^`]*?)```\n(?:(?!```).)*?<!-- output -->\n\n```text\n(.*?)```", text, flags=re.S
    )
    assert len(examples) == 4

    def without_numbers(printed):
        return re.sub(r"\d\.\de[+-]\d\d", "#", printed).split()

    variables: dict = {}
    for code, shown in examples:
        exec(code, variables)
        assert without_numbers(capsys.readouterr().out) == without_numbers(shown)
