"""Somebody else's port: networks not built here are compared, and known mistakes named."""

# The frameworks come without types, and a report's missing part fails a test as it should.
# mypy: disable-error-code="union-attr,operator,name-defined,arg-type"

import re
from pathlib import Path

import numpy as np
import pytest

from lenet_multi.backends import load_backend
from lenet_multi.ports import PortError, compare_networks, trace_network

load_backend("mxnet")  # sets MXNet up for this NumPy
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
mxnet = pytest.importorskip("mxnet")

X = np.random.default_rng(0).random((4, 1, 12, 12), np.float32)


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
        ("pool", "d"),
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
        ({"activation": None}, "first", None),
    ],
)
def test_a_mistake_in_a_keras_port_is_found_and_named(mistake, layer, hint, original, weights):
    report = compare_networks(original, keras_port(weights, **mistake), X)
    assert report.first_divergence.reference == layer
    if hint is None:
        assert report.hint is None
    else:
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


IMAGES = np.random.default_rng(1).random((2, 3, 6, 5), np.float32)


@pytest.mark.parametrize(
    ("port", "hint"),
    [
        (lambda x: x.transpose(0, 2, 3, 1), "NHWC/NCHW"),
        (lambda x: 255 * x, "constant factor: the reference is 0.00392157 times the port"),
        (lambda x: np.pad(x[:, :, 1:-1, 1:-1], ((0, 0), (0, 0), (1, 1), (1, 1))), "differs at the border only, 1 deep"),
        (lambda x: x[:, :, 1:-1, 1:-1], "but for a border that one of them has not"),
        (lambda x: x**2, None),
        (lambda x: x * np.nan, None),
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
    with pytest.raises(PortError, match=r"a list, expected a torch.nn.Module"):
        compare_networks([], [], X)


def test_a_comparison_leaves_the_networks_as_they_were(original, weights):
    gluon = gluon_port(weights)
    original.train()
    compare_networks(original, gluon, X)
    assert original.training
    assert gluon._active
    assert dict(gluon._flags)["static_alloc"]
    assert not [module for module in original.modules() if module._forward_hooks]
    original.eval()


def test_a_keras_model_that_was_subclassed_is_refused():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(PortError, match="expected a Sequential or functional one"):
        trace_network(Model(), X)


def test_the_documented_example_finds_the_classic_mistake(capsys):
    """The example in the documentation runs and prints what is shown there, but for the size of rounding errors."""
    text = (Path(__file__).parent.parent / "docs" / "parity.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (shown,) = re.findall(r"```text\nreference(.*?)```", text, flags=re.S)
    exec(code, {})

    def without_numbers(printed):
        return re.sub(r"\d\.\de-\d\d", "#", printed).split()

    assert without_numbers(capsys.readouterr().out) == without_numbers("reference" + shown)
