"""Pairing layers, moving weights, comparing gradients, and the command `compare_port`."""

# The frameworks have no type hints.
# mypy: disable-error-code="union-attr,operator,name-defined,arg-type"

import copy
import json
import re

import numpy as np
import pytest
from conftest import INSTALLED, framework, needs, needs_two

from lenet_multi import compare_port
from lenet_multi.ports import PortError, compare_networks, transfer_weights

if "torch" not in INSTALLED:
    pytest.skip("needs the torch backend", allow_module_level=True)

torch = framework("torch", "torch")
keras = framework("tensorflow", "keras")
mxnet = framework("mxnet", "mxnet")

X = np.random.default_rng(0).random((3, 3, 12, 10), np.float32)


class Residual(torch.nn.Module):
    """A block of a ResNet with a projection shortcut, as PyTorch's users write it: the main branch first."""

    def __init__(self, stride=2):
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.b1 = torch.nn.Conv2d(3, 8, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(8)
        self.c2, self.b2 = torch.nn.Conv2d(8, 8, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(8)
        self.c0, self.b0 = torch.nn.Conv2d(3, 8, 1, stride, bias=False), torch.nn.BatchNorm2d(8)
        self.relu, self.out = torch.nn.ReLU(), torch.nn.Linear(8, 4)
        with torch.no_grad():
            for norm in (self.b0, self.b1, self.b2):
                for value in norm.state_dict().values():
                    if value.is_floating_point():
                        value.uniform_(0.5, 1.5)

    def forward(self, x):
        y = self.b2(self.c2(self.relu(self.b1(self.c1(x)))))
        return self.out(self.relu(y + self.b0(self.c0(x))).mean((2, 3)))


def keras_residual(stride=2, epsilon=1e-5, momentum=0.9):
    """The same block in Keras, which runs the layers of a model in another order."""
    layers = keras.layers

    def norm(name):
        return layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=name)

    inputs = keras.Input((12, 10, 3))
    y = layers.Conv2D(8, 3, stride, use_bias=False, name="kc1")(layers.ZeroPadding2D(1)(inputs))
    y = layers.ReLU()(norm("kb1")(y))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="kc2")(y)
    shortcut = layers.Conv2D(8, 1, stride, use_bias=False, name="kc0")(inputs)
    y = layers.ReLU()(layers.Add()([norm("kb2")(y), norm("kb0")(shortcut)]))
    return keras.Model(inputs, layers.Dense(4, name="kout")(layers.GlobalAveragePooling2D()(y)))


def gluon_residual(stride=2, **settings):
    """The same block in Gluon."""
    nn = mxnet.gluon.nn

    class Block(mxnet.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.c0, self.b0 = nn.Conv2D(8, 1, stride, use_bias=False), nn.BatchNorm(**settings)
            self.c1, self.b1 = nn.Conv2D(8, 3, stride, 1, use_bias=False), nn.BatchNorm(**settings)
            self.c2, self.b2, self.out = nn.Conv2D(8, 3, 1, 1, use_bias=False), nn.BatchNorm(**settings), nn.Dense(4)

        def hybrid_forward(self, F, x):
            shortcut = self.b0(self.c0(x))
            y = self.b2(self.c2(F.npx.relu(self.b1(self.c1(x)))))
            return self.out(F.npx.relu(y + shortcut).mean((2, 3)))

    net = Block()
    net.initialize()
    net(mxnet.np.array(X))
    return net


def ports_of_residual():
    return [build() for name, build in (("tensorflow", keras_residual), ("mxnet", gluon_residual)) if name in INSTALLED]


@needs_two
def test_weights_move_into_a_port_whose_branches_run_in_another_order():
    net = Residual().eval()
    for port in ports_of_residual():
        transfer = transfer_weights(net, port, X)
        assert transfer.report.first_divergence is None, str(transfer)
        assert transfer.not_moved == ()
        assert len(transfer.moved) == 3 + 3 * 4 + 2
        pairs = [re.sub(r"^k", "", transfer.report.mapping[name]) for name in ("c0", "b0", "c1", "b1", "c2", "b2")]
        if type(port).__name__ != "Block":
            assert pairs == ["c0", "b0", "c1", "b1", "c2", "b2"]
        back = Residual().eval()
        with torch.no_grad():
            for parameter in back.parameters():
                parameter.zero_()
        assert transfer_weights(port, back, X).report.first_divergence is None
        for name, value in net.state_dict().items():
            assert torch.equal(value, back.state_dict()[name]) or "num_batches" in name


@needs_two
def test_a_dry_run_moves_nothing():
    net, port = Residual().eval(), ports_of_residual()[0]
    transfer = transfer_weights(net, port, X, dry_run=True)
    assert transfer.report is None
    assert "c1 weight (8, 3, 3, 3) -> " in str(transfer)
    assert compare_networks(net, port, X).first_divergence is not None


@needs("tensorflow")
def test_dense_weights_move_through_another_flatten_order():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(320, 5))
    layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
    port = keras.Sequential([keras.Input((12, 10, 3)), *layers])
    assert transfer_weights(net, port, X).report.first_divergence is None
    assert transfer_weights(port, net, X).report.first_divergence is None


def test_what_cannot_be_moved_is_listed():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 1))
    port = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.ReLU())
    transfer = transfer_weights(net, port, X)
    assert transfer.not_moved == ("2, which only the reference has", "0 bias, since 0 has none")
    assert "not moved: 0 bias, since 0 has none" in str(transfer)
    assert "unmatched in the reference: 2" in str(transfer)


def test_a_function_has_no_weights_to_move():
    with pytest.raises(PortError, match="a function has no parameters to move: pass"):
        transfer_weights(Residual(), abs, X)


def test_one_extra_layer_is_left_out_and_the_rest_is_paired():
    net = Residual().eval()

    class Scaled(Residual):
        def __init__(self):
            super().__init__()
            self.extra = torch.nn.BatchNorm2d(3, affine=False, eps=0)

        def forward(self, x):
            return super().forward(self.extra(x))

    report = compare_networks(net, Scaled().eval(), X)
    assert report.first_divergence is None, str(report)
    assert report.unmatched == {"port": ("extra",)}
    assert str(report).splitlines()[-3:] == [
        "unmatched in the port: extra",
        "to pair other layers, edit report.mapping and pass it as mapping",
        "all layers agree",
    ]
    pairs = compare_networks(net, Scaled().eval(), X, mapping=report.mapping)
    assert pairs.first_divergence is None
    assert pairs.mapping == report.mapping


def test_a_convolution_of_one_pixel_may_be_a_dense_layer():
    dense = torch.nn.Linear(3, 4)
    conv = torch.nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight.copy_(dense.weight[:, :, None, None])
        conv.bias.copy_(dense.bias)
    pool = torch.nn.AdaptiveAvgPool2d(1)
    report = compare_networks(
        torch.nn.Sequential(pool, torch.nn.Flatten(), dense), torch.nn.Sequential(pool, conv, torch.nn.Flatten()), X
    )
    assert report.first_divergence is None, str(report)
    assert {"2": "1"}.items() <= report.mapping.items()


class Units(torch.nn.Module):
    """Two units of three convolutions with norms; the last is on the shortcut, and may run first or in between."""

    def __init__(self, shortcut_first):
        super().__init__()
        torch.manual_seed(0)
        widths = ((3, 5), (5, 4), (3, 4), (4, 7), (7, 6), (4, 6))
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(m, n, 1) for m, n in widths)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(n) for _, n in widths)
        self.shortcut_first = shortcut_first

    def forward(self, x):
        for a, b, c in ((0, 1, 2), (3, 4, 5)):
            if self.shortcut_first:
                shortcut = self.norms[c](self.convs[c](x))
                y = self.norms[b](self.convs[b](self.norms[a](self.convs[a](x)).relu()))
            else:
                y = self.norms[a](self.convs[a](x)).relu()
                shortcut = self.convs[c](x)
                y = self.norms[b](self.convs[b](y))
                shortcut = self.norms[c](shortcut)
            x = (y + shortcut).relu()
        return x


def test_a_norm_finds_its_counterpart_although_a_norm_of_another_width_stands_in_its_place():
    report = compare_networks(Units(False).eval(), Units(True).eval(), X)
    assert report.first_divergence is None, str(report)
    assert not report.unmatched
    assert all(name == partner for name, partner in report.mapping.items())


class Repeated(torch.nn.Module):
    """Many layers of one shape, one of which another network may lack."""

    def __init__(self, left_out=None):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(10, 10) for _ in range(6))
        self.left_out = left_out

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = x if number == self.left_out else layer(x).tanh()
        return x


def test_a_missing_layer_among_equal_ones_is_found_by_the_numbers():
    report = compare_networks(Repeated(), Repeated(left_out=2), X[:, 0])
    assert report.unmatched == {"reference": ("layers.2",)}
    assert [layer.reference for layer in report.layers if not layer.agrees] == ["layers.3"]


def test_a_norm_and_its_activation_may_be_one_module():
    class NormAct(torch.nn.BatchNorm2d):
        def __init__(self, channels):
            super().__init__(channels)
            self.act = torch.nn.ReLU()

        def forward(self, x):
            return self.act(super().forward(x))

    conv = torch.nn.Conv2d(3, 4, 3)
    apart = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    report = compare_networks(apart, torch.nn.Sequential(conv, NormAct(4)).eval(), X)
    assert report.first_divergence is None, str(report)
    assert [layer.port for layer in report.layers] == ["0", "1", "1.act"]


def test_images_may_be_channels_last_within_a_network():
    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm, self.out = torch.nn.Conv2d(3, 4, 3), torch.nn.LayerNorm(4), torch.nn.Conv2d(4, 2, 3)

        def forward(self, x):
            return self.out(self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    class First(Last):
        def forward(self, x):
            x = self.conv(x)
            return self.out(self.norm(x.movedim(1, -1)).movedim(-1, 1))

    assert compare_networks(Last(), First(), X).first_divergence is None


class BothPools(torch.nn.Module):
    """An average and a maximum of the same images, in either order."""

    def __init__(self, average_first):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(8, 5)
        self.average, self.maximum = torch.nn.AdaptiveAvgPool2d(1), torch.nn.AdaptiveMaxPool2d(1)
        self.average_first = average_first

    def forward(self, x):
        x, pools = self.conv(x), (self.average, self.maximum)
        first, second = (pool(x).flatten(1) for pool in (pools if self.average_first else pools[::-1]))
        return self.fc(torch.cat((first, second) if self.average_first else (second, first), 1))


def test_two_poolings_of_the_same_images_may_run_in_any_order():
    report = compare_networks(BothPools(True), BothPools(False), X)
    assert report.first_divergence is None, str(report)
    assert report.mapping["average"] == "average"


def test_zeros_before_a_global_pooling_are_explained_without_a_trace():
    conv = torch.nn.Conv2d(3, 4, 3)
    reference = torch.nn.Sequential(conv, torch.nn.AdaptiveAvgPool2d(1))
    port = torch.nn.Sequential(conv, torch.nn.ZeroPad2d(1), torch.nn.AdaptiveAvgPool2d(1))
    assert compare_networks(reference, port, X).first_divergence is not None


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float64])
def test_numbers_that_are_no_signed_integers_become_float32(dtype):
    net = torch.nn.Conv2d(3, 4, 3)
    report = compare_networks(net, net, (10 * X).astype(dtype))
    assert report.first_divergence is None


@needs("tensorflow")
def test_frozen_parameters_have_no_gradient_in_any_framework():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(5))
    net(torch.from_numpy(X))
    net[0].requires_grad_(False)
    keras = framework("tensorflow", "keras")
    height, width = X.shape[2:]
    port = keras.Sequential(
        [keras.Input((height, width, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
    )
    transfer_weights(net, port, X)
    port.layers[0].trainable = False
    report = compare_networks(net, port, X, backward=True)
    assert report.first_divergence is None, str(report)
    assert not any("0: " in layer.reference for layer in report.layers)
    assert any(layer.reference == "2: weight gradient" for layer in report.layers)


def test_the_gradients_of_a_function_are_refused():
    with pytest.raises(PortError, match="the gradients of a function cannot be compared: omit backward"):
        compare_networks(np.tanh, np.tanh, X, backward=True)


def test_two_networks_of_a_coarse_type_may_differ_by_rounding():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh()).bfloat16()
    fused = torch.nn.Sequential(*net)
    fused[0] = copy.deepcopy(net[0]).to(memory_format=torch.channels_last)
    assert compare_networks(net, fused, X).first_divergence is None


def test_the_layer_before_a_difference_is_the_one_that_its_input_comes_from():
    class Block(torch.nn.Module):
        def __init__(self, change):
            super().__init__()
            torch.manual_seed(0)
            self.stem, self.a, self.shortcut = (torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
            self.change = change

        def forward(self, x):
            x = self.stem(x)
            y = self.a(x)
            return y + self.shortcut(self.change(x))

    report = compare_networks(Block(lambda x: x), Block(lambda x: x.cumsum(3)), X)
    assert "the operations between stem and shortcut differ" in report.hint


def test_parameters_of_other_layers_are_listed_as_not_moved():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.PReLU())
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.PReLU())
    transfer = transfer_weights(net, other, X)
    assert "1 weight of the reference" in transfer.not_moved


def test_a_constant_input_shows_little():
    net = torch.nn.Conv2d(3, 4, 3)
    assert "note: all values of X are equal" in str(compare_networks(net, net, np.zeros_like(X)))
    assert compare_networks(net, net, X).note is None


def test_a_list_of_arrays_is_refused():
    with pytest.raises(PortError, match="X is a list of arrays: pass a tuple for a network with several inputs"):
        compare_networks(abs, abs, [X, X])


def test_a_model_of_tf_keras_is_named():
    model = type("Model", (type("Layer", (), {"__module__": "tf_keras.src.engine.base_layer"}),), {"__call__": len})()
    with pytest.raises(PortError, match=r"the port is a tf_keras Model, expected a torch\.nn\.Module, a Keras 3 model"):
        compare_networks(abs, model, X)


@needs("tensorflow")
def test_layers_of_a_subclassed_keras_model_are_named_by_their_attributes():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv, self.norms = keras.layers.Conv2D(4, 3), [keras.layers.BatchNormalization()]

        def call(self, x):
            return self.norms[0](self.conv(x))

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def call(self, x):
            return self.block(x)

    net = Net()
    net(X.transpose(0, 2, 3, 1))
    assert [layer.port for layer in compare_networks(net, net, X).layers] == ["block.conv", "block.norms.0"]


def test_nothing_is_replaced_after_a_forward_that_raises():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(7, 7))
    with pytest.raises(PortError, match="the port failed on X"):
        compare_networks(abs, net, X)
    assert not [module for module in net.modules() if module._forward_hooks or module._forward_pre_hooks]


@needs("tensorflow")
def test_keras_is_restored_after_a_forward_that_raises():
    call = keras.layers.Layer.__call__
    with pytest.raises(PortError, match="the port failed on X"):
        compare_networks(abs, keras_residual(), X[:, :2])
    assert keras.layers.Layer.__call__ is call


@needs("mxnet")
def test_gluon_is_restored_after_a_forward_that_raises():
    net = gluon_residual()
    with pytest.raises(PortError, match="the port failed on X"):
        compare_networks(abs, net, X[:, :2])
    assert "forward" not in vars(net)
    assert not any("forward" in vars(block) for block in net._children.values())


# Gradients


@needs_two
def test_gradients_of_right_ports_agree():
    net = Residual()
    for port in ports_of_residual():
        transfer_weights(net, port, X)
        for reference, other in ((net, port), (port, net)):
            report = compare_networks(reference, other, X, backward=True)
            assert report.first_divergence is None, str(report)
            names = [layer.reference.partition(": ")[2] for layer in report.layers if ": " in layer.reference]
            assert names.count("gradient") == 1
            assert names.count("weight gradient") == 4
            assert names.count("running mean") == names.count("running variance") == 3


@needs("tensorflow")
def test_another_momentum_shows_in_training_only():
    net, port = Residual(), keras_residual(momentum=0.99)
    transfer_weights(net, port, X)
    assert compare_networks(net, port, X).first_divergence is None
    report = compare_networks(net, port, X, backward=True)
    differing = [layer for layer in report.layers if not layer.agrees]
    assert {layer.reference.partition(": ")[2] for layer in differing} == {"running mean", "running variance"}
    assert differing[0].settings == "momentum, the weight of the new batch: 0.1 | 0.01"


def test_a_gradient_that_is_cut_off_is_found():
    class Cut(Residual):
        def forward(self, x):
            y = self.b2(self.c2(self.relu(self.b1(self.c1(x)))))
            return self.out(self.relu(y + self.b0(self.c0(x)).detach()).mean((2, 3)))

    report = compare_networks(Residual(), Cut(), X, backward=True)
    differing = {layer.reference: layer.hint for layer in report.layers if not layer.agrees}
    missing = {"c0: weight gradient", "b0: beta gradient", "b0: gamma gradient"}
    assert differing == {"X: gradient": None} | dict.fromkeys(missing, "the port has no such gradient")
    assert compare_networks(Residual(), Residual(), X, backward=True).first_divergence is None


def test_a_training_step_restores_the_network():
    net = Residual()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    compare_networks(net, net, X, backward=True)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(module.training for module in net.modules())


@needs("tensorflow")
@needs("mxnet")
def test_a_training_step_restores_keras_and_gluon():
    port = keras_residual()
    before = [np.array(variable) for variable in port.variables]
    compare_networks(port, port, X, backward=True)
    for variable, value in zip(port.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    block = gluon_residual()
    values = {name: parameter.data().asnumpy() for name, parameter in block.collect_params().items()}
    compare_networks(block, block, X, backward=True)
    for name, parameter in block.collect_params().items():
        np.testing.assert_array_equal(parameter.data().asnumpy(), values[name])


# The command


NETWORKS = """
import torch


def right():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())


def wrong():
    net = right()
    net[0].stride = 2
    return net


def broken():
    raise ValueError("no file weights.bin")
"""


@pytest.fixture
def networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some_networks.py").write_text(NETWORKS)
    return tmp_path


def test_the_command_prints_the_report_and_ends_with_1_where_networks_differ(networks, capsys):
    pair = ["some_networks.py:right", "some_networks.py:right"]
    assert compare_port.main([*pair, "--shape", "2,3,8,8", "--backward"]) == 0
    assert capsys.readouterr().out.endswith("all layers agree\n")
    np.save("x.npy", X)
    arguments = ["some_networks:right", "some_networks.py:wrong", "--input", "x.npy", "--json", "report.json"]
    assert compare_port.main(arguments) == 1
    assert "the outputs agree with the reference's stride, (1, 1): the port's is (2, 2)" in capsys.readouterr().out
    report = json.loads((networks / "report.json").read_text())
    assert not report["agrees"]
    assert report["layers"][0]["reference"] == "0"
    assert report["layers"][0]["added"] is None  # infinite: the shapes differ
    assert "stride" in report["layers"][0]["hint"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.py:b", "a.py:b"], "error: pass either --shape N,C,H,W or --input FILE\n"),
        (
            ["a.py", "a.py:b", "--shape", "1,2"],
            "error: 'a.py' is not of the form module:function or file.py:function\n",
        ),
        (["no.py:b", "no.py:b", "--shape", "1,2"], "error: 'no.py:b' failed (FileNotFoundError: "),
        (["no_module:b", "no.py:b", "--shape", "1,2"], "error: 'no_module:b' failed (ModuleNotFoundError: No module"),
        (["some_networks.py:none", "a:b", "--shape", "1,2"], "error: 'some_networks.py' has no function 'none': check"),
        (
            ["some_networks.py:broken", "a:b", "--shape", "1"],
            "error: 'some_networks.py:broken' failed (ValueError: no f",
        ),
        (["some_networks.py:right"] * 2 + ["--shape", "1,0"], "error: --shape needs whole numbers of at least 1"),
        (["some_networks.py:right"] * 2 + ["--shape", "99999,99999,9999"], "error: --shape needs about "),
        (
            ["some_networks.py:right"] * 2 + ["--shape", "1,2,8,8"],
            "error: the reference failed on X of shape (1, 2, 8, 8)",
        ),
        (["some_networks.py:right"] * 2 + ["--input", "no.npy"], "error: 'no.npy': no such file or directory"),
        (
            ["some_networks.py:right"] * 2 + ["--input", "some_networks.py"],
            "error: --input 'some_networks.py' is not a .npy",
        ),
        (["a:b", "a:b", "--shape", "1", "--json", "no/r.json"], "error: --json 'no/r.json': its folder does not exist"),
    ],
)
def test_what_is_wrong_with_a_command_is_one_line(arguments, message, networks, capsys):
    assert compare_port.main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(message), printed
    assert printed.count("\n") == 1


# What a strict reading found


class Changed(torch.nn.Module):
    """A convolution and what a function does with its output."""

    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.change = torch.nn.Conv2d(3, 4, 3), change

    def forward(self, x):
        return self.change(self.conv(x))


@pytest.mark.parametrize("change", [lambda y: y.flip(1), lambda y: y.flip(0), lambda y: y[..., :8].transpose(2, 3)])
def test_an_output_with_the_same_numbers_in_another_order_differs(change):
    same = (lambda y: y[..., :8]) if change(torch.zeros(1, 1, 9, 8)).shape[2:] == (8, 9) else (lambda y: y)
    report = compare_networks(Changed(same), Changed(change), X)
    assert report.first_divergence is not None
    assert report.first_divergence.reference == "output"


def test_an_error_after_a_pooling_is_not_hidden():
    class Net(torch.nn.Module):
        def __init__(self, function):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.pool, self.function = torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), function

        def forward(self, x):
            return self.pool(self.function(self.conv(x)))

    for mapping, first in ((None, "output"), ({"conv": "conv", "pool": "pool"}, "pool")):
        report = compare_networks(Net(torch.relu), Net(torch.sigmoid), X, mapping=mapping)
        assert report.first_divergence is not None, str(report)
        assert report.first_divergence.reference == first


@pytest.mark.parametrize(
    "name", ["GlobalAvgPool2d", "UpsampleBlock", "BlurConv", "BatchNormLike"], ids=lambda name: name.lower()
)
def test_a_class_that_only_has_the_name_of_a_kind_is_compared_by_its_output(name):
    own = type(name, (torch.nn.Module,), {"forward": lambda self, x: x.mean((2, 3))})
    net, port = (torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), own()) for _ in range(2))
    port[0].load_state_dict(net[0].state_dict())
    assert compare_networks(net, port, X).first_divergence is None


@needs("tensorflow")
def test_a_dense_layer_on_images_may_be_a_convolution_of_one_pixel():
    conv = torch.nn.Conv2d(3, 6, 1)
    dense = keras.layers.Dense(6)
    dense.build((None, 12, 10, 3))
    assert transfer_weights(conv, dense, X).report.first_divergence is None
    assert transfer_weights(dense, conv, X).report.first_divergence is None


@pytest.mark.parametrize(
    ("build", "inputs", "message"),
    [
        (
            lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(360)),
            X[:1],
            "the reference failed in t",
        ),
        (
            lambda: Changed(lambda y: torch.nn.functional.dropout(y, training=True)),
            X,
            "the reference is random in training mode",
        ),
    ],
)
def test_gradients_that_cannot_be_compared_are_refused(build, inputs, message):
    net = build()
    with pytest.raises(PortError, match=message):
        compare_networks(net, net, inputs, backward=True)


@pytest.mark.parametrize(
    "net", [torch.nn.ReLU(), torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Conv2d(3, 4, 3))]
)
def test_gradients_of_networks_without_parameters_or_in_place_are_compared(net):
    assert compare_networks(net, net, X, backward=True).first_divergence is None


def test_a_comparison_keeps_running_statistics_and_random_numbers():
    class Always(torch.nn.BatchNorm2d):
        def forward(self, x):
            self.training = True
            return super().forward(x)

    net = torch.nn.Sequential(Always(3), torch.nn.Dropout(0.5))
    before, state = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    compare_networks(net, net, X, backward=True)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert torch.equal(state, torch.get_rng_state())


@needs("mxnet")
def test_a_comparison_leaves_a_compiled_block_its_dropout():
    net = mxnet.gluon.nn.HybridSequential()
    net.add(mxnet.gluon.nn.Dense(50, in_units=10), mxnet.gluon.nn.Dropout(0.5))
    net.initialize()
    net.hybridize()
    compare_networks(net, net, X[:, 0, 0], backward=True)
    with mxnet.autograd.record():
        assert 10 < int((net(mxnet.np.ones((4, 10))) == 0).sum()) < 190


@needs("mxnet")
def test_gradients_that_a_block_adds_up_are_compared():
    net, port = (mxnet.gluon.nn.Dense(5, in_units=10) for _ in range(2))
    for block in (net, port):
        block.initialize()
    transfer_weights(net, port, X[:, 0, 0])
    net.collect_params().setattr("grad_req", "add")
    with mxnet.autograd.record():
        loss = net(mxnet.np.ones((4, 10))).sum()
    loss.backward()
    added = net.weight.grad().asnumpy().copy()
    assert compare_networks(net, port, X[:, 0, 0], backward=True).first_divergence is None
    np.testing.assert_array_equal(net.weight.grad().asnumpy(), added)


def test_outputs_of_any_number_type_are_compared():
    assert compare_networks(lambda x: x > 0.5, lambda x: torch.from_numpy(x) > 0.5, X).first_divergence is None
    small = compare_networks(lambda x: (x > 2).astype(np.uint8), lambda x: (x > -1).astype(np.uint8), X)
    assert small.layers[0].error == 1


def test_zeros_before_an_activation_that_belong_to_the_padding_are_no_difference():
    conv, valid = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(3, 4, 3)
    valid.load_state_dict(conv.state_dict())
    padded = torch.nn.Sequential(torch.nn.ZeroPad2d(1), torch.nn.ReLU(), valid)
    report = compare_networks(torch.nn.Sequential(torch.nn.ReLU(), conv), padded, X - 0.5)
    assert report.first_divergence is None, str(report)


def test_a_kernel_of_another_shape_is_not_moved():
    net, port = torch.nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), torch.nn.Conv2d(3, 4, (3, 1), padding=(1, 0))
    assert "0 weight" not in str(transfer_weights(net, port, X).moved)
    assert "Conv2d weight (4, 3, 1, 3), since Conv2d needs (4, 3, 3, 1)" in transfer_weights(net, port, X).not_moved


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_mistake_in_a_port_of_another_type_is_named(dtype):
    net, port = torch.nn.Linear(10, 8), torch.nn.Linear(10, 8)
    port.load_state_dict(net.state_dict())
    with torch.no_grad():
        port.bias += 0.5
    assert "bias" in compare_networks(net, port.to(getattr(torch, dtype)), X[:, 0, 0]).hint


def test_modules_of_one_name_in_two_folders_are_two_modules(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder, dilation in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "settings_of_net.py").write_text(f"DILATION = {dilation}\n")
        (tmp_path / folder / "net.py").write_text(
            "from __future__ import annotations\nimport torch\nfrom settings_of_net import DILATION\n"
            "def net():\n    torch.manual_seed(0)\n    return torch.nn.Conv2d(3, 4, 3, dilation=DILATION)\n"
        )
    assert compare_port.main(["a/net.py:net", "b/net.py:net", "--shape", "1,3,9,9"]) == 1
    assert "the outputs agree with the reference's dilation, (1, 1)" in capsys.readouterr().out
