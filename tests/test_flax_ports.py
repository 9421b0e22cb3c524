"""`compare_networks` and `transfer_weights` with Flax NNX modules and JAX functions, alone and beside the others."""

# The frameworks have no type hints. A report without a first divergence or hint fails its test with an exception.
# mypy: disable-error-code="union-attr,operator,name-defined,arg-type"

import copy
import re
from functools import partial

import numpy as np
import pytest
from conftest import INSTALLED, framework

if not {"torch", "jax"} <= {*INSTALLED}:
    pytest.skip("needs the torch and jax backends", allow_module_level=True)

from test_ports import TorchNet, gluon_port, keras_port, torch_weights

from lenet_multi import PRESETS, compare_port, load_backend
from lenet_multi.ports import PortError, compare_networks, transfer_weights
from lenet_multi.ports.layer_math import compute
from lenet_multi.ports.layouts import last_to_first
from lenet_multi.ports.networks import network_of, run_network
from lenet_multi.ports.recording import Collector

torch = framework("torch", "torch")
jax = framework("jax", "jax")
nnx = framework("jax", "flax.nnx")
linen = framework("jax", "flax.linen")
jnp = jax.numpy

X = np.random.default_rng(0).random((4, 1, 12, 12), np.float32)
IMAGES = np.random.default_rng(1).random((3, 4, 9, 7), np.float32) - 0.5


def flatten(x):
    return x.reshape(len(x), -1)


def flax_port(
    weights, padding="SAME", activation=nnx.sigmoid, unpermuted=False, swapped=False, turned=False, use_bias=True
):
    """The network of `TorchNet` with its weights, or with a mistake."""
    rngs, pool = nnx.Rngs(0), partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2))
    net = nnx.Sequential(
        nnx.Conv(1, 3, (3, 3), padding=padding, rngs=rngs),
        activation,
        pool,
        nnx.Conv(3, 5, (3, 3), padding="VALID", use_bias=use_bias, rngs=rngs),
        pool,
        flatten,
        nnx.Linear(20, 20, rngs=rngs),
        nnx.tanh,
        nnx.Linear(20, 4, rngs=rngs),
    )
    for number, (weight, bias) in zip((0, 3, 6, 8), weights.values(), strict=True):
        kernel = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        if number == 6 and not unpermuted:
            kernel = weight.reshape(-1, 5, 2, 2).transpose(2, 3, 1, 0).reshape(20, -1)
        if number == 6 and swapped:
            kernel = kernel.T
        if number == 3 and turned:
            kernel = kernel.swapaxes(0, 1)
        net.layers[number].kernel[...] = jnp.asarray(kernel)
        if net.layers[number].bias is not None:
            net.layers[number].bias[...] = jnp.asarray(bias)
    return net


@pytest.fixture(scope="module")
def original():
    return TorchNet()


@pytest.fixture(scope="module")
def weights(original):
    return torch_weights(original)


@pytest.mark.parametrize("name", [name for name in INSTALLED if name != "jax"])
def test_right_ports_agree_in_both_directions_with_gradients(name, original, weights):
    build = {"torch": lambda _: original, "tensorflow": keras_port, "mxnet": gluon_port}[name]
    for reference, port in ((build(weights), flax_port(weights)), (flax_port(weights), build(weights))):
        report = compare_networks(reference, port, X, backward=True)
        assert report.first_divergence is None, str(report)
        assert len([layer for layer in report.layers if ": " not in layer.reference]) == 8
        assert len([layer for layer in report.layers if "gradient" in layer.reference]) == 1 + 2 * 4


def test_layers_are_named_by_their_paths_and_functions_in_a_sequential_are_layers(original, weights):
    report = compare_networks(original, flax_port(weights), X)
    assert [(layer.reference, layer.port) for layer in report.layers] == [
        ("first", "layers.0"),
        ("act", "layers.1"),
        ("pool", "layers.2"),
        ("second", "layers.3"),
        ("pool:2", "layers.4"),
        ("hidden", "layers.6"),
        ("last_act", "layers.7"),
        ("out", "layers.8"),
    ]
    assert report.layers[0].reference_shape == report.layers[0].port_shape == (4, 3, 12, 12)


def test_weights_move_into_a_port_whose_arrays_are_from_numpy(original):
    """Flax 0.12.0 keeps a NumPy array that is assigned to a variable."""
    port = flax_port(torch_weights(original))
    for layer in (port.layers[0], port.layers[8]):
        layer.kernel[...] = np.zeros(layer.kernel.shape, np.float32)
    transfer_weights(original, port, X)
    assert compare_networks(original, port, X).first_divergence is None


@pytest.mark.parametrize("mistake", ["none", "max pooling", "half precision"])
def test_weights_move_in_the_flatten_order_of_the_port_whatever_is_computed_before(mistake, original):
    weights = torch_weights(original)
    port = flax_port(weights, unpermuted=True)
    if mistake == "max pooling":
        port.layers[4] = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
    if mistake == "half precision":
        for number in (0, 3, 6, 8):
            port.layers[number].dtype = jnp.bfloat16
    transfer_weights(original, port, X)
    expected = flax_port(weights).layers[6].kernel[...]
    np.testing.assert_array_equal(port.layers[6].kernel[...], expected)


def test_the_gradient_of_a_bias_before_a_norm_is_rounding_and_does_not_differ():
    torch.manual_seed(0)
    reference = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
    rngs = nnx.Rngs(0)
    conv = nnx.Conv(1, 4, (3, 3), padding="VALID", rngs=rngs)
    port = nnx.Sequential(
        conv, nnx.BatchNorm(4, momentum=0.9, rngs=rngs), lambda x: last_to_first(x).reshape(len(x), -1)
    )
    transfer_weights(reference, port, X)
    report = compare_networks(reference, port, X, backward=True)
    (row,) = (layer for layer in report.layers if layer.reference == "0: bias gradient")
    assert row.agrees, str(report)


def test_moved_weights_share_no_memory_with_the_reference(original):
    reference = copy.deepcopy(original)
    port = flax_port(torch_weights(reference))
    transfer_weights(reference, port, X)
    before = [np.array(leaf) for leaf in jax.tree.leaves(nnx.state(port))]
    for parameter in reference.parameters():
        parameter.data.fill_(9.0)
    after = jax.tree.leaves(nnx.state(port))
    assert all((old == new).all() for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("preset", ["lenet5", "lenet-modern"])
def test_weights_move_between_this_package_s_networks(preset):
    nets = [load_backend(name).LeNet(PRESETS[preset], seed=seed, device="cpu") for seed, name in enumerate(INSTALLED)]
    images = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    flax = nets[INSTALLED.index("jax")]
    for other in nets:
        assert transfer_weights(other, flax, images).report.first_divergence is None
        assert transfer_weights(flax, other, images).report.first_divergence is None


@pytest.mark.parametrize(
    ("mistake", "layer", "hint", "reversed_hint"),
    [
        (
            {"unpermuted": True},
            "hidden",
            r"after the flatten permutation: .*\(C, H, W\) to \(H, W, C\), with \(C, H, W\) = \(5, 2, 2\)",
            r"after the flatten permutation: .*\(H, W, C\) to \(C, H, W\), with \(C, H, W\) = \(5, 2, 2\)",
        ),
        ({"swapped": True}, "hidden", "its inputs and outputs are swapped|in another order", None),
        ({"turned": True}, "second", "height and width are swapped", None),
        (
            {"padding": ((2, 2), (2, 2))},
            "first",
            r"with the reference's padding, \(\(1, 1\), \(1, 1\)\): the port's is \(\(2, 2\), \(2, 2\)\)",
            r"with the reference's padding, \(\(2, 2\), \(2, 2\)\): the port's is \(\(1, 1\), \(1, 1\)\)",
        ),
        (
            {"use_bias": False},
            "second",
            "with the reference's bias: the port has no bias",
            "with the reference's bias: the reference has no bias",
        ),
        (
            {"activation": nnx.relu},
            "act",
            "with the reference's activation, sigmoid: the port's is relu",
            "with the reference's activation, relu: the port's is sigmoid",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_is_identified_in_both_directions(mistake, layer, hint, reversed_hint, original, weights):
    wrong = flax_port(weights, **mistake)
    report = compare_networks(original, wrong, X)
    assert report.first_divergence.reference == layer, str(report)
    assert re.search(hint, report.hint), report.hint
    report = compare_networks(wrong, original, X)
    assert report.first_divergence.port == layer, str(report)
    assert re.search(reversed_hint or hint, report.hint), report.hint


@pytest.mark.parametrize(
    ("flax_norm", "torch_norm", "epsilons"),
    [
        (partial(nnx.BatchNorm, epsilon=1e-3), torch.nn.BatchNorm2d, ("1e-05", "0.001")),
        (partial(nnx.GroupNorm, num_groups=2), partial(torch.nn.GroupNorm, 2), ("1e-05", "1e-06")),
    ],
)
def test_another_epsilon_is_identified(flax_norm, torch_norm, epsilons):
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3), torch_norm(4)).eval()
    port = nnx.Sequential(nnx.Conv(4, 4, (3, 3), padding="VALID", rngs=nnx.Rngs(0)), flax_norm(4, rngs=nnx.Rngs(0)))
    images = IMAGES / 100
    ours, theirs = epsilons
    hint = transfer_weights(net, port, images).report.hint
    assert hint == f"the outputs agree with the reference's epsilon, {ours}: the port's is {theirs}"
    hint = compare_networks(port, net, images).hint
    assert hint == f"the outputs agree with the reference's epsilon, {theirs}: the port's is {ours}"


CONV, UP = partial(nnx.Conv, 4, 6), partial(nnx.ConvTranspose, 4, 6)


@pytest.mark.parametrize(
    "layer",
    [
        *(
            partial(CONV, (3, 2), (2, 3), padding=padding)
            for padding in ("SAME", "VALID", "SAME_LOWER", "CIRCULAR", "REFLECT", 1, (1, 2), ((1, 2), (0, 1)))
        ),
        partial(CONV, (3, 3), 2),
        partial(CONV, (3, 3), None, kernel_dilation=2),
        partial(CONV, (3, 3), padding="VALID", kernel_dilation=(1, 2), use_bias=False),
        partial(CONV, (2, 3), feature_group_count=2),
        partial(nnx.Conv, 4, 8, (3, 3), feature_group_count=4),
        *(
            partial(UP, kernel, strides, padding=padding, transpose_kernel=transposed)
            for kernel, strides in (((4, 3), 2), ((2, 2), (3, 1)))
            for padding, transposed in (("SAME", False), ("VALID", True), (1, True), (((1, 2), (0, 1)), False))
        ),
        partial(nnx.BatchNorm, 4, epsilon=0.1),
        partial(nnx.BatchNorm, 4, use_scale=False),
        partial(nnx.GroupNorm, 4, 2, epsilon=0.1),
        partial(nnx.InstanceNorm, 4, use_bias=False),
        partial(nnx.LayerNorm, 4, epsilon=0.1),
        partial(nnx.Linear, 4, 5),
    ],
)
def test_a_layer_computes_what_its_settings_and_parameters_say(layer):
    made = layer(rngs=nnx.Rngs(0))
    for _, variable in nnx.to_flat_state(nnx.state(made)):
        variable[...] = jnp.asarray(np.random.default_rng(1).random(variable.shape, np.float32))
    check_settings(nnx.Sequential(made))


@pytest.mark.parametrize(
    "function",
    [
        *(getattr(nnx, name) for name in ("relu", "relu6", "sigmoid", "tanh", "silu", "swish", "elu", "softplus")),
        *(nnx.gelu, partial(nnx.gelu, approximate=False), nnx.hard_sigmoid, nnx.hard_swish),
        *(nnx.leaky_relu, partial(nnx.leaky_relu, negative_slope=0.3), partial(nnx.elu, alpha=0.5)),
        *(
            partial(pool, window_shape=(3, 2), strides=strides, padding=padding)
            for pool in (nnx.max_pool, nnx.avg_pool, partial(nnx.avg_pool, count_include_pad=False))
            for strides, padding in ((None, "VALID"), ((1, 2), "SAME"), ((2, 2), ((1, 1), (0, 1))))
        ),
    ],
)
def test_a_function_computes_what_its_settings_say(function):
    check_settings(nnx.Sequential(function))


def check_settings(net):
    """Compare the output of a network's only layer with what NumPy computes from its settings and parameters."""
    network, seen = network_of(net, "network"), Collector()
    run_network(network, [IMAGES], seen, "network")
    (call,) = seen.calls
    assert call.name == "layers.0"
    x = IMAGES.transpose(0, 2, 3, 1) if call.kind in ("dense",) or call.settings.get("norm") == "layer" else IMAGES
    expected = compute(call.kind, call.settings, network.parameters(call.layer, call.kind), x)
    output = call.output if x is not IMAGES else last_to_first(call.output)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


class Residual(nnx.Module):
    """A block with a projection shortcut, a depthwise convolution, a transposed one, norms, dropout and functions."""

    def __init__(self, momentum=0.9, detached=False, transpose_kernel=False):
        rngs = nnx.Rngs(params=0, dropout=1)
        self.c1 = nnx.Conv(4, 8, (3, 3), feature_group_count=4, padding=1, use_bias=False, rngs=rngs)
        self.c0 = nnx.Conv(4, 8, (1, 1), use_bias=False, rngs=rngs)
        self.norms = nnx.List([nnx.BatchNorm(8, momentum=momentum, rngs=rngs) for _ in range(2)])
        self.up = nnx.ConvTranspose(8, 5, (3, 3), (2, 2), padding="VALID", transpose_kernel=transpose_kernel, rngs=rngs)
        self.group, self.drop = nnx.GroupNorm(5, 1, epsilon=1e-5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(5, 3, rngs=rngs)
        self.activation, self.detached = nnx.relu, detached

    def __call__(self, x, rngs=None):
        shortcut = self.norms[0](self.c0(x))
        shortcut = jax.lax.stop_gradient(shortcut) if self.detached else shortcut
        x = self.activation(self.norms[1](self.c1(x)) + shortcut)
        return self.out(self.drop(self.group(self.up(x)).mean((1, 2)), rngs=rngs))


class TorchResidual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c1 = torch.nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False)
        self.c0 = torch.nn.Conv2d(4, 8, 1, bias=False)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(8) for _ in range(2))
        self.up, self.group = torch.nn.ConvTranspose2d(8, 5, 3, 2), torch.nn.GroupNorm(1, 5)
        self.activation, self.drop, self.out = torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(5, 3)

    def forward(self, x):
        x = self.activation(self.norms[1](self.c1(x)) + self.norms[0](self.c0(x)))
        return self.out(self.drop(self.group(self.up(x)).mean((2, 3))))


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_weights_move_in_both_directions_and_gradients_agree(transpose_kernel):
    net, port = TorchResidual(), Residual(transpose_kernel=transpose_kernel)
    for reference, other in ((net, port), (port, TorchResidual())):
        transfer = transfer_weights(reference, other, IMAGES)
        assert transfer.report.first_divergence is None, str(transfer)
        assert transfer.not_moved == ()
        assert len(transfer.moved) == 2 + 2 * 4 + 2 + 2 + 2
        report = compare_networks(reference, other, IMAGES, backward=True)
        assert report.first_divergence is None, str(report)
        names = [layer.reference for layer in report.layers]
        assert {"X: gradient", "c1: weight gradient", "norms.1: running variance", "up: weight gradient"} <= {*names}
        assert report.mapping["norms.0"] == "norms.0"
        assert "activation" in report.mapping


def test_mistakes_that_only_training_shows_are_found():
    net, port = Residual(), TorchResidual()
    transfer_weights(net, port, IMAGES)
    assert compare_networks(port, Residual(momentum=0.9), IMAGES, backward=True).first_divergence is None
    other = Residual(momentum=0.99)
    assert compare_networks(net, other, IMAGES).first_divergence is None
    for reference, changed in ((net, other), (port, other)):
        report = compare_networks(reference, changed, IMAGES, backward=True)
        differing = [layer for layer in report.layers if not layer.agrees]
        assert {layer.reference.partition(": ")[2] for layer in differing} == {"running mean", "running variance"}
        assert differing[0].settings == "momentum, the weight of the new batch: 0.1 | 0.01"
    for reference, changed in ((port, Residual(detached=True)), (Residual(detached=True), port)):
        assert compare_networks(reference, changed, IMAGES).first_divergence is None
        report = compare_networks(reference, changed, IMAGES, backward=True)
        assert {"X: gradient", "c0: weight gradient", "norms.0: gamma gradient"} == {
            layer.reference for layer in report.layers if not layer.agrees
        } - {"norms.0: beta gradient"}


def test_a_comparison_leaves_the_network_and_its_classes_as_they_were():
    net = Residual()
    net.norms[0].use_running_average = True
    calls = {c: vars(c).get("__call__") for c in (Residual, nnx.Conv, nnx.BatchNorm, nnx.Dropout, nnx.Sequential)}
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(net, nnx.Not(nnx.RngKey)))]
    compare_networks(net, net, IMAGES, backward=True)
    with pytest.raises(PortError, match="the reference failed on X of shape"):
        compare_networks(net, net, IMAGES[:, :3])
    for leaf, value in zip(jax.tree.leaves(nnx.state(net, nnx.Not(nnx.RngKey))), before, strict=True):
        np.testing.assert_array_equal(leaf, value)
    assert [net.norms[0].use_running_average, net.norms[1].use_running_average] == [True, False]
    assert not net.drop.deterministic
    assert net.activation is nnx.relu
    assert all(vars(c).get("__call__") is call for c, call in calls.items())


class Noisy(nnx.Module):
    def __init__(self):
        self.out, self.rngs = nnx.Linear(7, 7, rngs=nnx.Rngs(0)), nnx.Rngs(0)

    def __call__(self, x):
        return self.out(x * jax.random.uniform(self.rngs.noise(), x.shape))


def test_gradients_of_a_random_network_are_refused():
    with pytest.raises(PortError, match="the reference is random in training mode"):
        compare_networks(Noisy(), Noisy(), IMAGES[:, 0], backward=True)


def test_a_random_state_that_a_layer_receives_is_no_array():
    class Dropping(nnx.Module):
        def __init__(self):
            self.drop, self.out, self.rngs = nnx.Dropout(0.5), nnx.Linear(7, 5, rngs=nnx.Rngs(0)), nnx.Rngs(0)

        def __call__(self, x):
            return self.out(self.drop(x, rngs=self.rngs))

    assert compare_networks(Dropping(), Dropping(), IMAGES[:, 0], backward=True).first_divergence is None


class Compiled(nnx.Module):
    def __init__(self):
        self.out = nnx.Linear(7, 5, rngs=nnx.Rngs(0))

    @nnx.jit
    def __call__(self, x):
        return nnx.relu(self.out(x))


class Checkpointed(Compiled):
    @nnx.remat
    def __call__(self, x):
        return nnx.relu(self.out(x))


def test_a_compiled_module_runs_without_compilation_and_a_traced_one_is_compared_by_its_output():
    vectors = IMAGES[:, 0]
    assert [layer.port for layer in compare_networks(Compiled(), Compiled(), vectors).layers] == ["out", "output"]
    report = compare_networks(Compiled(), Checkpointed(), vectors)
    assert report.first_divergence is None
    assert [layer.reference for layer in report.layers] == ["output"]


class Doubled(nnx.Linear):
    """A layer that calls the one that it is derived from."""

    def __call__(self, x):
        return 2 * super().__call__(x)


def test_a_layer_that_calls_the_one_it_is_derived_from_is_one_layer():
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(nnx.Linear(7, 7, rngs=rngs), Doubled(7, 7, rngs=rngs))
    assert compare_networks(net, net, IMAGES[:, 0]).mapping == {"layers.0": "layers.0", "layers.1": "layers.1"}


def test_a_comparison_stops_at_an_embedding():
    class Embedded(nnx.Module):
        def __init__(self):
            self.table, self.out = nnx.Embed(9, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 2, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.out(self.table(x))

    report = compare_networks(Embedded(), Embedded(), np.arange(6).reshape(2, 3))
    assert "table of the reference (Embed, a layer outside convolutional classifiers)" in report.not_compared


# Functions


def halves(x):
    return {"half": jnp.asarray(x) / 2, "double": jnp.asarray(x, jnp.bfloat16) * 2}


@pytest.mark.parametrize("function", [halves, jax.jit(halves), nnx.jit(halves)], ids=["plain", "jax.jit", "nnx.jit"])
def test_a_function_of_jax_may_return_named_arrays(function):
    port = {"half": lambda x: torch.from_numpy(x) / 2, "double": lambda x: torch.from_numpy(x).bfloat16() * 2}
    for reference, other in ((function, lambda x: {k: f(x) for k, f in port.items()}), (function, function)):
        assert compare_networks(reference, other, jnp.asarray(IMAGES)).first_divergence is None
        assert compare_networks(other, reference, IMAGES).first_divergence is None
    wrong = compare_networks(function, lambda x: {"half": x / 2, "double": x * 2 + 1}, IMAGES)
    assert [layer.reference for layer in wrong.layers if not layer.agrees] == ["double"]


def test_a_jax_function_is_compared_with_a_network(original, weights):
    net = flax_port(weights)
    report = compare_networks(original, jax.jit(lambda x: net(x.transpose(0, 2, 3, 1))), X)
    assert report.first_divergence is None
    report = compare_networks(jax.jit(lambda x: net(x.transpose(0, 2, 3, 1)) * 2), original, X)
    assert report.hint == "the outputs agree up to a constant factor: the reference is 2 times the port"


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(x)


def test_a_linen_module_is_refused_with_the_function_to_pass_in_its_place():
    module, vectors = LinenNet(), IMAGES[:, 0]
    with pytest.raises(PortError, match=r"the port, a LinenNet, is a Flax Linen module, .*: pass a function such as"):
        compare_networks(abs, module, vectors)
    variables = module.init(jax.random.key(0), vectors)
    assert compare_networks(lambda x: module.apply(variables, x), jax.jit(partial(module.apply, variables)), vectors)


def test_the_errors_about_an_unknown_network_name_flax():
    with pytest.raises(PortError, match="a Gluon block, a Flax NNX module or a function"):
        compare_networks(3, abs, X)
    with pytest.raises(PortError, match=r"pass a torch\.nn\.Module, .*, a Gluon block or a Flax NNX module$"):
        transfer_weights(abs, abs, X)


FILE = """
import jax
import numpy as np
from flax import nnx


def net():
    return nnx.Sequential(nnx.Conv(3, 4, (3, 3), strides=2, rngs=nnx.Rngs(0)), nnx.relu)


def wrong():
    made = net()
    made.layers[0].padding = 1
    return made
"""


def test_the_command_compares_flax_networks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(FILE)
    assert compare_port.main(["nets.py:net", "nets.py:net", "--shape", "2,3,8,8", "--backward"]) == 0
    assert capsys.readouterr().out.endswith("all layers agree\n")
    assert compare_port.main(["nets.py:net", "nets.py:wrong", "--shape", "2,3,8,8"]) == 1
    printed = capsys.readouterr().out
    assert "the outputs agree with the reference's padding, ((0, 1), (0, 1)): the port's is ((1, 1), (1, 1))" in printed
