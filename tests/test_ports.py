"""Somebody else's port: networks not built here are compared, and known mistakes named."""

# The frameworks come without types, and a report's missing part fails a test as it should.
# mypy: disable-error-code="union-attr,operator,name-defined,arg-type"

import re
from pathlib import Path

import numpy as np
import pytest

from lenet_multi.backends import load_backend
from lenet_multi.port_traces import PortError, trace_network
from lenet_multi.ports import compare_networks

load_backend("mxnet")  # sets MXNet up for this NumPy
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
mxnet = pytest.importorskip("mxnet")

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
    from mxnet import np as mx_np
    from mxnet.gluon import nn

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


def test_right_ports_agree_in_every_pair_of_frameworks(original, weights):
    networks = [original, keras_port(weights), gluon_port(weights)]
    for reference in networks:
        for port in networks:
            report = compare_networks(reference, port, X)
            assert report.first_divergence is None, str(report)
            assert len(report.layers) == 6
            assert str(report).endswith("all layers agree")


def test_the_report_names_the_layers_of_both_sides(original, weights):
    report = compare_networks(original, keras_port(weights), X)
    assert [(layer.reference, layer.port) for layer in report.layers] == [
        ("first", "a"),
        ("pool", "b"),
        ("second", "c"),
        ("pool:2", "d"),
        ("hidden", "e"),
        ("out", "f"),
    ]
    assert report.layers[0].reference_shape == report.layers[0].port_shape == (4, 3, 12, 12)


@pytest.mark.parametrize(
    ("mistake", "layer", "hint"),
    [
        (
            {"unpermuted": True},
            "hidden",
            r"after the flatten permutation: .*\(C, H, W\) to \(H, W, C\).* 5, 2, 2",
        ),
        ({"flip": True}, "first", "agree after a kernel flip"),
        ({"padding": "too much"}, "first", "but for a border that one of them has not: padding"),
        ({"activation": None}, "pool", "the inputs differ already: what lies between first and pool"),
    ],
)
def test_a_mistake_in_a_keras_port_is_found_and_named(mistake, layer, hint, original, weights):
    report = compare_networks(original, keras_port(weights, **mistake), X)
    assert report.first_divergence.reference == layer
    assert re.search(hint, report.hint)
    assert report.hint in str(report)


def test_the_flatten_hint_is_true_what_it_advises_mends_the_port(original, weights):
    port = keras_port(weights, unpermuted=True)
    kernel, bias = port.get_layer("e").get_weights()
    order = np.arange(20).reshape(5, 2, 2).transpose(1, 2, 0).ravel()
    port.get_layer("e").set_weights([kernel[order], bias])
    assert compare_networks(original, port, X).first_divergence is None


def test_the_flatten_mistake_is_named_the_other_way_round_too(original, weights):
    reference = keras_port(weights)
    port = TorchNet()
    with torch.no_grad():
        port.hidden.weight.copy_(torch.from_numpy(reference.get_layer("e").get_weights()[0].T.copy()))
    report = compare_networks(reference, port, X)
    assert report.first_divergence.reference == "e"
    assert "(H, W, C) to (C, H, W)" in report.hint


def changed(original, name, change):
    """A copy with one parameter changed."""
    net = TorchNet()
    with torch.no_grad():
        parameter = net.get_parameter(name)
        parameter.copy_(change(parameter.clone()))
    return net


@pytest.mark.parametrize(
    ("name", "change", "hint"),
    [
        ("second.weight", lambda w: w.transpose(2, 3), "height and width are swapped"),
        ("hidden.weight", lambda w: w.T, "inputs and outputs are swapped"),
        ("second.bias", lambda b: b + 1, "the biases differ"),
        ("out.bias", lambda b: b + 1, None),
        ("out.weight", lambda w: w + torch.rand(w.shape), None),
    ],
)
def test_a_changed_parameter_is_found_in_its_layer(name, change, hint, original):
    report = compare_networks(original, changed(original, name, change), X)
    assert report.first_divergence.reference == name.partition(".")[0]
    if hint:
        assert hint in report.hint


def test_another_activation_after_the_same_sums_is_named(original):
    port = TorchNet()
    port.last_act = torch.nn.ReLU()
    report = compare_networks(original, port, X)
    assert report.first_divergence.reference == "hidden"
    assert report.hint == "the weighted sums agree: the activation differs"


@pytest.mark.parametrize(
    ("port", "hint"),
    [
        (lambda x: x.transpose(0, 2, 3, 1), "NHWC/NCHW"),
        (lambda x: 255 * x, "constant factor: the reference is 0.00392157 times the port"),
        (lambda x: np.pad(x[:, :, 1:-1, 1:-1], ((0, 0), (0, 0), (1, 1), (1, 1))), "differs at the border only, 1 deep"),
        (lambda x: x[:, :, 1:-1, 1:-1], "but for a border that one of them has not"),
        (lambda x: x**2, None),
        (lambda x: x * np.nan, "the port gives numbers that are not finite"),
    ],
)
def test_functions_are_compared_and_their_differences_named(port, hint):
    report = compare_networks(lambda x: x, port, IMAGES)
    assert report.first_divergence is not None
    assert report.hint is None if hint is None else hint in report.hint


def test_square_images_that_lie_the_wrong_way_are_named():
    square = IMAGES[..., :5, :]
    assert "height/width" in compare_networks(lambda x: x, lambda x: x.transpose(0, 1, 3, 2), square).hint


def test_functions_can_name_their_layers():
    report = compare_networks(lambda x: {"half": x / 2, "all": x}, lambda x: {"h": x / 2, "a": x + 1}, IMAGES)
    assert report.first_divergence.reference == "all"


def test_a_mapping_says_which_layers_to_compare(original, weights):
    report = compare_networks(original, keras_port(weights), X, mapping={"out": "f", "hidden": "e"})
    assert [(layer.reference, layer.port) for layer in report.layers] == [("hidden", "e"), ("out", "f")]
    assert report.first_divergence is None


def test_layers_that_cannot_be_matched_are_listed(original):
    port = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4))
    with pytest.raises(PortError, match=r"first \(conv\).*1 \(dense\).*give a mapping"):
        compare_networks(original, port, X)
    with pytest.raises(PortError, match="mapping names 'nothing', expected a layer of the reference: first, "):
        compare_networks(original, port, X, mapping={"nothing": "1"})


def test_what_is_no_network_is_refused():
    with pytest.raises(PortError, match=r"a list as the reference, expected a torch.nn.Module"):
        compare_networks([], [], X)


def test_a_mapping_that_says_nothing_or_a_thing_twice_is_refused(original):
    with pytest.raises(PortError, match="an empty mapping, expected layer names"):
        compare_networks(original, original, X, mapping={})
    with pytest.raises(PortError, match="layer 'out' to more than one"):
        compare_networks(original, original, X, mapping={"hidden": "out", "out": "out"})


class Functional(torch.nn.Module):
    """Two convolutions and a dense layer, the rest in functions."""

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


class SubclassedKeras(keras.Model):
    """The same, the pooling a layer that is used twice."""

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


class FunctionalGluon(mxnet.gluon.nn.HybridBlock):
    """The same in Gluon; the dense layer flattens."""

    def __init__(self):
        super().__init__()
        self.first = mxnet.gluon.nn.Conv2D(4, 3, in_channels=1)
        self.second = mxnet.gluon.nn.Conv2D(6, 3, padding=1, in_channels=4)
        self.out = mxnet.gluon.nn.Dense(5, in_units=24)

    def hybrid_forward(self, F, x):
        for conv in (self.first, self.second):
            x = F.npx.pooling(F.npx.relu(conv(x)), kernel=(2, 2), stride=(2, 2), pool_type="max")
        return self.out(x)


def functional_keras(kind):
    """The same, with operations between the layers, with nested models, or with layers alone."""
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
        net = SubclassedKeras()
        net(X.transpose(0, 2, 3, 1))
        return net
    first.activation = second.activation = keras.activations.get(kind)
    pools = [layers.MaxPooling2D(), layers.MaxPooling2D()]
    return keras.Sequential([inputs, first, pools[0], second, pools[1], layers.Flatten(), out])


def moved(original, port, unpermuted=False):
    """A Keras or Gluon port of `Functional`, with its weights."""
    modules = [original.first, original.second, original.out]
    values = [[array.detach().numpy() for array in (module.weight, module.bias)] for module in modules]
    if isinstance(port, FunctionalGluon):
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


@pytest.mark.parametrize("port", ["operations", "nested", "subclassed", "relu", "gluon"])
def test_what_is_done_in_functions_is_passed_over(port, functional):
    port = moved(functional, FunctionalGluon() if port == "gluon" else functional_keras(port))
    for report in (compare_networks(functional, port, X), compare_networks(port, functional, X)):
        assert report.first_divergence is None, str(report)
        assert len(report.layers) == 3
    # Here both show their layers: the poolings are compared too, one that is used twice by two names.
    if isinstance(port, SubclassedKeras):
        names = [layer.port for layer in compare_networks(moved(functional, functional_keras("relu")), port, X).layers]
        assert names[1::2] == ["pool", "pool:2"]


def test_another_activation_in_a_function_shows_in_the_next_layer(functional):
    report = compare_networks(functional, moved(functional, functional_keras("tanh")), X)
    assert report.first_divergence.reference == "second"
    assert report.hint.startswith("the inputs differ already: what lies between first and second (activation, ")


def test_a_function_after_the_last_layer_shows_in_the_output(functional):
    class Doubled(Functional):
        def forward(self, x):
            return super().forward(x) ** 2

    report = compare_networks(functional, Doubled(), X)
    assert report.first_divergence.reference == report.first_divergence.port == "output"
    assert report.hint.startswith("what follows out ")


def test_a_softmax_at_one_end_is_named(functional):
    port = moved(functional, functional_keras("relu"))
    port.layers[-1].activation = keras.activations.softmax
    assert "one ends in a softmax, the port," in compare_networks(functional, port, X).hint
    assert "one ends in a softmax, the reference," in compare_networks(port, functional, X).hint


@pytest.mark.parametrize("function", ["activation", "pooling"])
def test_a_pooling_before_the_activation_is_no_difference_where_they_commute(function):
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
def test_inner_gluon_blocks_that_are_compiled_are_looked_into(only_children):
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
    assert len(compare_networks(net, port, X).layers) == 2
    port[0][0].weight.set_data(-port[0][0].weight.data())
    assert compare_networks(net, port, X).first_divergence.port == port[0][0].name


class Inplace(torch.nn.Module):
    """What changes its inputs, and uses one module twice."""

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


def test_what_is_changed_in_place_is_seen_as_it_was():
    given = X.copy()
    report = compare_networks(Inplace(False), Inplace(True), given)
    assert report.first_divergence is None, str(report)
    np.testing.assert_array_equal(given, X)
    trace = trace_network(Inplace(True), X)
    np.testing.assert_array_equal(trace.layers[0].output, trace.layers[1].input)
    assert trace.layers[0].output.min() < 0


def test_a_function_that_changes_its_inputs_changes_a_copy():
    def change(x):
        x += 1
        return x

    assert compare_networks(change, lambda x: x + 1, X).first_divergence is None


def test_a_module_used_twice_can_be_mapped():
    assert [layer.name for layer in trace_network(Inplace(True), X).layers] == ["first", "act", "second", "act:2"]
    report = compare_networks(Inplace(False), Inplace(True), X, mapping={"act": "first", "act:2": "act:2"})
    assert [layer.reference for layer in report.layers] == ["act", "act:2"]
    assert report.first_divergence is None


def norms(kind, epsilon=1e-5):
    """A norm in each framework, with the same parameters."""
    rng = np.random.default_rng(0)
    gamma, beta, mean, variance = (rng.random(3, np.float32) / 10 + 0.01 for _ in range(4))
    values = [gamma, beta, mean, variance] if kind == "batch" else [gamma, beta]
    module = torch.nn.BatchNorm2d(3) if kind == "batch" else torch.nn.LayerNorm(3)
    keys = ["weight", "bias", "running_mean", "running_var"][: len(values)]
    module.load_state_dict(
        {key: torch.from_numpy(value) for key, value in zip(keys, values, strict=True)}, strict=False
    )
    layer = (keras.layers.BatchNormalization if kind == "batch" else keras.layers.LayerNormalization)(epsilon=epsilon)
    layer.build((None, 6, 5, 3) if kind == "batch" else (None, 3))
    layer.set_weights(values)
    block = (mxnet.gluon.nn.BatchNorm if kind == "batch" else mxnet.gluon.nn.LayerNorm)(in_channels=3)
    block.initialize()
    for name, value in zip(["gamma", "beta", "running_mean", "running_var"], values, strict=False):
        getattr(block, name).set_data(mxnet.np.array(value))
    return module, layer, block


ROWS = np.random.default_rng(1).random((6, 3), np.float32)


@pytest.mark.parametrize(("kind", "inputs"), [("batch", IMAGES), ("layer", ROWS)])
def test_norms_are_compared_across_frameworks(kind, inputs):
    module, *ports = norms(kind)
    for port in ports:
        report = compare_networks(module, port, inputs)
        assert report.first_divergence is None, str(report)
        assert len(report.layers) == 1


@pytest.mark.parametrize(("kind", "inputs"), [("batch", IMAGES), ("layer", ROWS)])
def test_another_epsilon_in_a_norm_is_named(kind, inputs):
    module, port, _ = norms(kind, epsilon=1e-3)
    assert compare_networks(module, port, inputs).hint == "agrees with the reference's epsilon, 1e-05 (port: 0.001)"


def test_the_parameters_of_a_norm_that_differ_are_named():
    module, port, block = norms("batch")
    port.moving_variance.assign(port.moving_variance + 1)
    port.beta.assign(port.beta + 1)
    assert compare_networks(module, port, IMAGES).hint == "not the same in both: beta, running variance"
    block.gamma.set_data(block.gamma.data() + 1)
    assert compare_networks(module, block, IMAGES).hint == "not the same in both: gamma"


def depthwise(wrong=False):
    """A depthwise convolution of two kernels per channel, in PyTorch and Keras."""
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
def test_other_convolutions_are_compared_too(build, inputs):
    networks = build()
    report = compare_networks(networks[0], networks[1], inputs)
    assert report.first_divergence is None, str(report)
    weights = [trace_network(network, inputs).layers[0].parameters["weight"] for network in networks]
    np.testing.assert_array_equal(*weights)


def test_depthwise_kernels_in_the_wrong_order_are_named():
    module, layer = depthwise(wrong=True)
    assert "reordering the port's depthwise kernels" in compare_networks(module, layer, IMAGES).hint
    assert "reordering the port's depthwise kernels" in compare_networks(layer, module, IMAGES).hint


def test_embeddings_are_given_the_numbers_of_words():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 2))
    port = keras.Sequential([keras.layers.Embedding(5, 3), keras.layers.Dense(2)])
    words = np.array([[0, 3, 4], [1, 1, 2]])
    port(words)
    values = [value.detach().numpy() for value in module.parameters()]
    port.set_weights([values[0], values[1].T, values[2]])
    report = compare_networks(module, port, words)
    assert report.first_divergence is None, str(report)
    assert [layer.reference_shape for layer in report.layers] == [(2, 3, 3), (2, 3, 2)]


def test_the_flatten_mistake_is_named_where_gluon_flattens_and_where_a_function_does(functional):
    reference = moved(functional, functional_keras("relu"))
    port = moved(functional, FunctionalGluon())
    port.out.weight.set_data(mxnet.np.array(reference.layers[-1].get_weights()[0].T.copy()))
    assert "(H, W, C) to (C, H, W), with C, H, W = 6, 2, 2" in compare_networks(reference, port, X).hint
    wrong = moved(functional, functional_keras("operations"), unpermuted=True)
    report = compare_networks(functional, wrong, X)
    assert "(C, H, W) to (H, W, C), with C, H, W = 6, 2, 2" in report.hint


def test_the_flatten_mistake_is_named_with_a_mapping_of_the_dense_layer_alone(original, weights):
    report = compare_networks(original, keras_port(weights, unpermuted=True), X, mapping={"hidden": "e"})
    assert "after the flatten permutation" in report.hint


def test_agreement_is_judged_by_the_size_of_the_outputs():
    assert compare_networks(lambda x: 1e-9 * x, lambda x: 1e-9 * x**2, X).first_divergence is not None
    assert compare_networks(lambda x: 1e-9 * x, lambda x: 1e-9 * (x + 1e-7), X).first_divergence is None
    assert compare_networks(lambda x: 1e9 * x, lambda x: 1e9 * x + 1, X).first_divergence is None
    assert compare_networks(lambda x: 0 * x, lambda x: 0 * x, X).first_divergence is None
    assert compare_networks(lambda x: 0 * x, lambda x: 1e-9 * x, X).first_divergence is not None
    for port in (lambda x: x, lambda x: x + np.inf):
        report = compare_networks(lambda x: x + np.inf, port, X)
        assert report.hint == "the reference gives numbers that are not finite"


def test_tiny_weights_that_differ_are_seen_in_hints():
    torch.manual_seed(0)
    module, port = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        for parameter in (*module.parameters(), *port.parameters()):
            parameter *= 1e-7
        port.bias.copy_(module.bias)
        port.weight.copy_(module.weight.flip(2, 3))
    assert "a kernel flip" in compare_networks(module, port, X).hint


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
        (keras_with_several_inputs_to_a_layer, 3),
        (lambda: keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4)]), 1),
        (Recurrent, 3),
        (classic_gluon, 2),
    ],
)
def test_networks_of_many_sorts_can_be_compared(build, num_rows):
    net = build()
    report = compare_networks(net, net, IMAGES[0, :, :, :3].reshape(-1, 3)[:10].reshape(2, 5, 3))
    assert report.first_divergence is None
    assert len(report.layers) == num_rows


def test_a_dense_layer_on_sequences_has_its_hints():
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
def test_a_function_may_give_any_frameworks_array(function):
    assert compare_networks(lambda x: 2 * x, function, X).first_divergence is None


def uninitialised(initialize):
    net = mxnet.gluon.nn.HybridSequential()
    net.add(mxnet.gluon.nn.Dense(3))
    if initialize:  # which without the number of inputs is put off
        net.initialize()
    return net


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: uninitialised(False), "'dense.*_weight' has not been initialized"),
        (lambda: uninitialised(True), "'dense.*_weight' has not been initialized yet"),
        (Functional, "expected input.* to have 1 channels"),
        (lambda: functional_keras("relu"), r"expected axis -1 of input shape to have value 1\b"),
        (lambda: lambda x: x.nothing, "has no attribute 'nothing'"),
        (lambda: lambda x: "words", "gave no array, expected one"),
        (lambda: lambda x: {}, "gave no array, expected one"),
        (lambda: Functional, "gave no array, expected one"),
    ],
)
def test_a_network_that_fails_is_named_and_the_reason_given(build, message):
    for networks, whose in (((build(), abs), "reference"), ((abs, build()), "port")):
        with pytest.raises(PortError, match=message) as caught:
            compare_networks(networks[0], networks[1], IMAGES)
        assert f"the {whose}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_of_a_network_that_does_all_in_functions_the_output_is_compared(functional):
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


def test_a_difference_near_the_tolerance_is_said_to_be_small():
    report = compare_networks(lambda x: x, lambda x: x + 3e-5 * (x > 0.5), X)
    assert report.first_divergence is not None
    assert report.hint.startswith("differs by less than ten tolerances")


def test_a_dict_and_an_array_cannot_be_compared():
    with pytest.raises(PortError, match="an array from one function, a dict from the other"):
        compare_networks(lambda x: x, lambda x: {"all": x}, X)


def test_a_few_numbers_or_one_alone_are_no_constant_factor():
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
    # At the end of a network it is a difference.
    assert "trailing axes of length 1" in compare_networks(module[0], port.layers[0], IMAGES).hint


def test_a_keras_network_with_channels_first_is_given_them_so():
    inputs = keras.Input((3, 6, 5))
    pool = keras.layers.GlobalMaxPooling2D(data_format="channels_first", keepdims=True)
    port = keras.Model(inputs, keras.layers.Flatten()(pool(inputs)))
    report = compare_networks(lambda x: x.max(axis=(2, 3)), port, IMAGES)
    assert report.first_divergence is None, str(report)


def test_same_padding_with_a_stride_is_named():
    torch.manual_seed(0)
    module = torch.nn.Conv2d(1, 3, 3, stride=2, padding=1)
    layer = keras.layers.Conv2D(3, 3, strides=2, padding="same")
    layer.build((None, 12, 12, 1))
    layer.set_weights([module.weight.detach().numpy().transpose(2, 3, 1, 0), module.bias.detach().numpy()])
    assert "the reference pads 1 above and 1 to the left, the port 0 and 0" in compare_networks(module, layer, X).hint


def test_a_pooling_that_rounds_the_other_way_is_named():
    modules = [torch.nn.MaxPool2d(2, ceil_mode=ceil_mode) for ceil_mode in (True, False)]
    assert "rounded up in one, down in the other" in compare_networks(modules[0], modules[1], IMAGES).hint


def test_a_padding_of_its_own_is_no_difference_in_the_input():
    torch.manual_seed(0)
    module = torch.nn.Conv2d(3, 2, 3, padding=1)
    layer = keras.layers.Conv2D(2, 3)
    port = keras.Sequential([keras.Input((6, 5, 3)), keras.layers.ZeroPadding2D(1), layer])
    layer.set_weights([module.weight.detach().numpy().transpose(2, 3, 1, 0), module.bias.detach().numpy()])
    assert compare_networks(module, port, IMAGES).first_divergence is None
    layer.kernel.assign(layer.kernel**2)
    report = compare_networks(module, port, IMAGES)
    assert report.first_divergence is not None
    assert report.hint is None


def test_a_comparison_leaves_the_networks_as_they_were(weights):
    net, gluon, layers = TorchNet(), gluon_port(weights), keras_port(weights)
    net.train()
    net.first.eval()
    net.hidden.weight.requires_grad_(False)
    net(torch.from_numpy(X)).sum().backward()
    gluon[2].hybridize(active=False)
    gluon[0].hybridize(inline_limit=7)
    given = X.copy()
    was = {
        "training": [module.training for module in net.modules()],
        "requires_grad": [parameter.requires_grad for parameter in net.parameters()],
        "grad": [None if parameter.grad is None else parameter.grad.clone() for parameter in net.parameters()],
        "compiled": [(block._active, list(block._flags)) for block in gluon],
        "activations": [layer.activation for layer in layers.layers if hasattr(layer, "activation")],
        "call": keras.layers.Layer.__call__,
    }
    for port in (gluon, layers):
        compare_networks(net, port, given)
    for network in (net, gluon, layers):
        with pytest.raises(PortError):
            compare_networks(network, gluon, X[:, :, :3, :3])
    np.testing.assert_array_equal(given, X)
    assert [module.training for module in net.modules()] == was["training"]
    assert not [module for module in net.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert [parameter.requires_grad for parameter in net.parameters()] == was["requires_grad"]
    for parameter, grad in zip(net.parameters(), was["grad"], strict=True):
        assert parameter.grad is None if grad is None else torch.equal(parameter.grad, grad)
    assert [(block._active, block._flags) for block in gluon] == was["compiled"]
    assert not [block for block in (gluon, *gluon) if block._forward_hooks or block._forward_pre_hooks]
    assert [layer.activation for layer in layers.layers if hasattr(layer, "activation")] == was["activations"]
    assert keras.layers.Layer.__call__ is was["call"]


class Branched(torch.nn.Module):
    """Two convolutions side by side, the first one pooled; or, `late`, called after the second."""

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


def test_a_layer_that_differs_in_a_branch_is_named_though_the_other_branch_agrees():
    report = compare_networks(Branched(), Branched(torch.nn.MaxPool2d), X)
    assert report.first_divergence.reference == "pool"
    assert report.hint is None


def test_a_layer_that_differs_is_named_where_it_is_an_output():
    class WithPooled(torch.nn.Module):
        def __init__(self, pool):
            super().__init__()
            torch.manual_seed(0)
            self.pool, self.out = pool(2), torch.nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.pool(x), self.out(x)

    report = compare_networks(WithPooled(torch.nn.AvgPool2d), WithPooled(torch.nn.MaxPool2d), X)
    assert report.first_divergence.reference == "pool"


def test_branches_that_run_in_another_order_are_matched_by_their_numbers():
    report = compare_networks(Branched(), Branched(late=True), X)
    assert [(layer.reference, layer.port) for layer in report.layers] == [("a", "a"), ("b", "b"), ("o", "o")]
    assert report.first_divergence is None


def test_layers_in_each_others_place_are_named():
    wrong = Branched(late=True)
    with torch.no_grad():
        wrong.o.bias += 1
    report = compare_networks(Branched(), wrong, X)
    assert (report.first_divergence.reference, report.first_divergence.port) == ("a", "b")
    assert report.hint.startswith("agrees with the port's a: the layers are matched wrongly (give a mapping)")


@pytest.mark.parametrize("permuted", [True, False])
def test_branches_are_told_apart_by_the_shapes_of_their_weights(permuted):
    """Keras runs the branches of a model in an order of its own."""

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


def test_layers_matched_wrongly_show_in_outputs_that_agree():
    told = "the outputs agree all the same, so the layers may be matched wrongly"
    # A relu and a norm that only scales come to the same in either order.
    norm, relu = torch.nn.BatchNorm2d(3), torch.nn.ReLU()
    report = compare_networks(torch.nn.Sequential(norm, relu), torch.nn.Sequential(relu, norm), IMAGES - 0.5)
    assert report.hint == f"{told}: give a mapping"
    mapped = compare_networks(Branched(), Branched(late=True), X, mapping={"a": "b", "o": "o"})
    assert mapped.hint == f"{told}: give another mapping"
    right = compare_networks(Branched(), Branched(late=True), X, mapping={"a": "a", "b": "b", "o": "o"})
    assert right.first_divergence is None


def test_dicts_of_the_same_names_are_matched_by_name():
    report = compare_networks(lambda x: {"half": x / 2, "all": x}, lambda x: {"all": x, "half": x / 2}, IMAGES)
    assert [(layer.reference, layer.port) for layer in report.layers] == [("half", "half"), ("all", "all")]
    assert report.first_divergence is None


def test_all_arrays_of_a_name_are_compared():
    report = compare_networks(lambda x: {"both": (x, 2 * x)}, lambda x: {"both": (x, 3 * x)}, IMAGES)
    assert report.first_divergence.reference == "both:2"


def test_outputs_that_only_one_network_gives_are_said_to_be_left_out(original):
    def more(x):
        return x, x * 2, x * 3

    for networks, told in (
        ((more, lambda x: (x,)), "2 outputs of the reference"),
        ((abs, more), "2 outputs of the port"),
    ):
        report = compare_networks(networks[0], networks[1], X)
        assert report.not_compared == told
        assert str(report).splitlines()[-2:] == [f"not compared: {told}", "all layers agree"]
    assert compare_networks(more, more, X).not_compared is None
    assert compare_networks(original, original, X).not_compared is None


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (X[:0], r"an X of shape \(0, 1, 12, 12\), expected one example or more: give"),
        (np.float32(1), r"an X of shape \(\), expected one example or more: give"),
        ([[1.0, 2.0], [3.0]], "an X that is a list .*, expected numbers in one array: give"),
        ("words", "an X that is a str .*, expected numbers in one array: give"),
        (None, "an X that is a NoneType .*, expected numbers in one array: give"),
        (X + 1j, r"an X that is a ndarray .*complex.*, expected numbers in one array: give"),
        (torch.ones(1) * 1j, r"an X that is a Tensor .*complex.*, expected numbers in one array: give"),
    ],
)
def test_inputs_that_are_no_array_of_numbers_are_refused(inputs, message):
    with pytest.raises(PortError, match=message):
        compare_networks(abs, abs, inputs)


def test_inputs_may_be_any_frameworks_array(original):
    inputs = [torch.from_numpy(X).requires_grad_(), torch.from_numpy(X).bfloat16(), mxnet.np.array(X)]
    for given in [*inputs, keras.ops.convert_to_tensor(X), keras.ops.cast(X, "bfloat16")]:
        assert compare_networks(original, original, given).first_divergence is None
    words = torch.nn.Embedding(5, 3)
    assert compare_networks(words, words, torch.arange(5)).first_divergence is None


def test_networks_may_have_several_inputs():
    """An image, and words that a second branch takes."""

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = torch.nn.Embedding(7, 4), torch.nn.Linear(94, 3)

        def forward(self, images, words):
            return self.out(torch.cat([images.flatten(1), self.words(words)], 1))

    class GluonBoth(mxnet.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.words, self.out = mxnet.gluon.nn.Embedding(7, 4), mxnet.gluon.nn.Dense(3, in_units=94)

        def forward(self, images, words):
            return self.out(mxnet.np.concatenate([images.reshape(-1, 90), self.words(words)], 1))

    net, gluon = Both(), GluonBoth()
    gluon.initialize()
    inputs = keras.Input((6, 5, 3)), keras.Input((), dtype="int64")
    flat = keras.layers.Flatten()(keras.layers.Permute((3, 1, 2))(inputs[0]))
    words = keras.layers.Embedding(7, 4, name="words")(inputs[1])
    port = keras.Model(inputs, keras.layers.Dense(3, name="out")(keras.layers.Concatenate()([flat, words])))
    embedding, weight, bias = (parameter.detach().numpy() for parameter in net.parameters())
    port.get_layer("words").set_weights([embedding])
    port.get_layer("out").set_weights([weight.T, bias])
    for parameter, value in zip(gluon.collect_params().values(), (embedding, weight, bias), strict=True):
        parameter.set_data(mxnet.np.array(value))
    given = IMAGES, np.array([5, 2])
    for other in (port, gluon, lambda images, words: net(torch.tensor(images), torch.tensor(words))):
        report = compare_networks(net, other, given)
        assert report.first_divergence is None
        assert report.layers[-1].reference_shape == (2, 3)
    with pytest.raises(
        PortError, match=r"failed on X of shape \(2, 3, 6, 5\), type float32 and shape \(2,\), type int64"
    ):
        compare_networks(torch.nn.ReLU(), net, given)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([("out", "out")], "a list as the mapping, expected a dict of .*: leave it out"),
        ({"out": ["out"]}, r"mapping has \['out'\] of type list, expected layer names: give each as a string"),
        ({0: "out"}, "mapping has 0 of type int, expected layer names: give each as a string"),
    ],
)
def test_what_is_no_mapping_of_names_is_refused(mapping, message, original):
    with pytest.raises(PortError, match=message):
        compare_networks(original, original, X, mapping=mapping)


@pytest.mark.parametrize("tolerance", [float("nan"), 0, -1e-5, float("inf"), "1e-5"])
def test_a_tolerance_that_is_no_positive_number_is_refused(tolerance):
    with pytest.raises(PortError, match=r"tolerance .*, expected a number above 0: leave it out"):
        compare_networks(abs, abs, X, tolerance=tolerance)


def test_convolutions_with_other_weights_are_no_matter_of_padding():
    torch.manual_seed(0)
    module, port = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)
    with torch.no_grad():  # the same sums where neighbours are equal: everywhere but in the first columns
        port.weight.copy_(module.weight + torch.tensor([[0.0, 0, 0], [1, -1, 0], [0, 0, 0]]))
        port.bias.copy_(module.bias)
    images = np.where(np.arange(12) < 2, X, X[..., 2:3])
    assert "padding" in compare_networks(lambda x: module(torch.from_numpy(x)), port, images).hint
    report = compare_networks(module, port, images)
    assert report.first_divergence is not None
    assert report.hint is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_networks_that_compute_in_different_types_are_named(dtype, original):
    told = f"the networks compute in different types, the reference in float32, the port in {dtype}"
    port = TorchNet().to(getattr(torch, dtype))
    assert compare_networks(original, port, X).hint.startswith(told)

    def as_function(x):
        return torch.from_numpy(x).to(getattr(torch, dtype))

    assert compare_networks(lambda x: x, as_function, X).hint.startswith(told)
    assert compare_networks(original, TorchNet().double(), X).first_divergence is None


def test_types_that_are_fine_enough_are_not_named(functional):
    report = compare_networks(functional, Functional(torch.tanh).double(), X)
    assert report.hint.startswith("the inputs differ already")


def inner_compiled():
    net = TorchNet()
    net.hidden = torch.compile(torch.nn.Sequential(net.hidden))
    net.second.compile()
    return net


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own, from within `compile`
@pytest.mark.parametrize(
    "wrap", [lambda: torch.compile(TorchNet()), inner_compiled, lambda: torch.nn.DataParallel(TorchNet())]
)
def test_wrapped_modules_are_looked_into(wrap, original):
    report = compare_networks(original, wrap(), X)
    assert report.first_divergence is None, str(report)
    assert len(report.layers) == 6
    assert not [layer for layer in report.layers if "_orig_mod" in layer.port]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("script", [torch.jit.script, lambda net: torch.jit.trace(net, torch.from_numpy(X))])
def test_a_scripted_module_is_seen_as_a_function_is(script, original):
    report = compare_networks(original, script(TorchNet().eval()), X)
    assert report.first_divergence is None, str(report)
    assert [layer.port for layer in report.layers] == ["output"]


@pytest.mark.parametrize("build", [lambda: keras.Sequential([keras.layers.Dense(3)]), SubclassedKeras])
def test_a_keras_network_that_is_not_built_is_refused_and_left_so(build):
    net = build()
    with pytest.raises(PortError, match=r"that is not built as the port, .*: call it once first, and set them"):
        compare_networks(abs, net, X)
    assert not net.built


def test_the_documented_example_finds_the_classic_mistake(capsys):
    """The example in the documentation runs and prints what is shown there, but for the size of rounding errors."""
    text = (Path(__file__).parent.parent / "docs" / "parity.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (shown,) = re.findall(r"```text\nreference(.*?)```", text, flags=re.S)
    exec(code, {})

    def without_numbers(printed):
        return re.sub(r"\d\.\de[+-]\d\d", "#", printed).split()

    assert without_numbers(capsys.readouterr().out) == without_numbers("reference" + shown)
