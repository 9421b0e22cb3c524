"""Every hint of `compare_networks` names its mistake, and none names another mistake that looks alike."""

# The frameworks have no type hints.
# mypy: disable-error-code="union-attr,operator,name-defined,arg-type"

import copy

import numpy as np
import pytest
from conftest import INSTALLED, framework

from lenet_multi.ports import compare_networks

if "torch" not in INSTALLED:
    pytest.skip("needs the torch backend", allow_module_level=True)

torch = framework("torch", "torch")
nn = torch.nn
X = np.random.default_rng(1).random((2, 4, 12, 10), np.float32) - 0.3
SQUARE = np.random.default_rng(2).random((2, 4, 12, 12), np.float32) - 0.3


def seeded(build):
    torch.manual_seed(0)
    return build()


def differing(reference, port, inputs=X):
    """The layers that differ."""
    return [layer for layer in compare_networks(reference, port, inputs).layers if not layer.agrees]


def changed(layer, **attributes):
    """A copy of a layer with other settings or parameters."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for name, value in attributes.items():
            if isinstance(value, torch.Tensor):
                getattr(other, name).copy_(value)
            else:
                setattr(other, name, value)
    return other


def with_random_norm(norm):
    with torch.no_grad():
        for value in norm.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return norm


CONV = seeded(lambda: nn.Conv2d(4, 4, 3, padding=1))
STRIDED = seeded(lambda: nn.Conv2d(4, 4, 3, stride=2, padding=1))
COLOR = seeded(lambda: nn.Conv2d(3, 4, 3))
GROUPED = seeded(lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2))
UP = seeded(lambda: nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1))
LINEAR = seeded(lambda: nn.Linear(10, 10))
NORM = seeded(lambda: with_random_norm(nn.BatchNorm2d(4)))
GROUP = seeded(lambda: with_random_norm(nn.GroupNorm(2, 4)))


def reshaped(weight):
    """A kernel that was read in Keras's layout with a reshape instead of a transpose."""
    return weight.reshape(3, 3, 4, 4).permute(3, 2, 0, 1)


@pytest.mark.parametrize(
    ("reference", "port", "hint"),
    [
        (CONV, changed(CONV, padding=(2, 2)), "padding, ((1, 1), (1, 1)): the port's is ((2, 2), (2, 2))"),
        *(
            (CONV, changed(CONV, padding_mode=mode), f"padding mode, zeros: the port's is {mode}")
            for mode in ("reflect", "replicate", "circular")
        ),
        (CONV, changed(CONV, dilation=(2, 2), padding=(2, 2)), "reference's padding and dilation"),
        (STRIDED, changed(STRIDED, stride=(1, 1)), "stride, (2, 2): the port's is (1, 1)"),
        (CONV, nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), changed(CONV, padding=(0, 0))), "padding, ((1, 1), (1, 1))"),
        (CONV, changed(CONV, weight=CONV.weight.flip(2, 3)), "flipping the port's kernels"),
        (CONV, changed(CONV, weight=CONV.weight.transpose(2, 3)), "height and width are swapped"),
        (CONV, changed(CONV, weight=CONV.weight.rot90(1, (2, 3))), "rotating the port's kernels by 90 degrees"),
        (CONV, changed(CONV, weight=CONV.weight.rot90(-1, (2, 3))), "rotating the port's kernels by 90 degrees"),
        (CONV, changed(CONV, weight=CONV.weight.transpose(0, 1)), "its inputs and outputs are swapped"),
        (CONV, changed(CONV, weight=CONV.weight.flip(1)), "reversing the port's input channels"),
        (COLOR, changed(COLOR, weight=COLOR.weight.flip(1)), "input channels: RGB and BGR are swapped"),
        (CONV, changed(CONV, weight=reshaped(CONV.weight)), "undoing a reshape of the port's weight"),
        (CONV, changed(CONV, weight=CONV.weight + 1), "weight: the port's weights differ, and may not"),
        (CONV, changed(CONV, weight=CONV.weight.half().float()), "the port's weights are rounded to float16"),
        (CONV, changed(CONV, weight=CONV.weight.bfloat16().float()), "the port's weights are rounded to bfloat16"),
        (CONV, changed(CONV, bias=CONV.bias + 1), "bias: the port's values differ"),
        (CONV, changed(CONV, bias=None), "bias: the port has no bias"),
        (changed(CONV, bias=None), CONV, "bias: the reference has no bias"),
        (CONV, changed(CONV, weight=CONV.weight + 1, bias=CONV.bias + 1), "weight, bias: the port's weights differ"),
        (
            GROUPED,
            changed(GROUPED, weight=GROUPED.weight.reshape(2, 2, 2, 3, 3).transpose(0, 1).reshape(4, 2, 3, 3)),
            "reordering the port's weight: its groups, or output channels, are in a different order",
        ),
        (GROUPED, changed(GROUPED, weight=GROUPED.weight.roll(2, 0)), "its groups, or output channels, are in a"),
        (
            LINEAR,
            changed(LINEAR, weight=LINEAR.weight.flip(0)),
            "its groups, or output channels, are in a different order",
        ),
        (
            LINEAR,
            changed(LINEAR, weight=LINEAR.weight.T.reshape(5, 20).T.reshape(10, 10)),
            "the same numbers in another",
        ),
        (
            STRIDED,
            changed(STRIDED, padding=(0, 0), weight=STRIDED.weight.transpose(0, 1)),
            "with the reference's padding, the outputs agree after transposing the port's weight",
        ),
        (
            STRIDED,
            changed(STRIDED, padding=(0, 0), bias=STRIDED.bias + 1),
            "with the reference's padding, the outputs agree with the reference's bias: the port's values differ",
        ),
        (UP, changed(UP, padding=(0, 0)), "padding, ((1, 1), (1, 1)): the port's is ((0, 0), (0, 0))"),
        (UP, changed(UP, output_padding=(1, 1)), "padding, ((1, 1), (1, 1)): the port's is ((1, 0), (1, 0))"),
        (LINEAR, changed(LINEAR, weight=LINEAR.weight.T), "its inputs and outputs are swapped"),
        (LINEAR, changed(LINEAR, weight=LINEAR.weight.T.flip(0)), "weight: the port's weights are the same numbers in"),
        (NORM, changed(NORM, eps=1e-2), "epsilon, 1e-05: the port's is 0.01"),
        (NORM, changed(NORM, running_mean=NORM.running_var, running_var=NORM.running_mean), "running mean and running"),
        (NORM, changed(NORM, weight=NORM.bias, bias=NORM.weight), "swapping the port's gamma and beta"),
        (NORM, changed(NORM, running_var=NORM.running_var + 1), "running variance: the port's values"),
        (
            NORM,
            changed(NORM, track_running_stats=False, running_mean=None, running_var=None),
            "statistics of the batch",
        ),
        (GROUP, changed(GROUP, num_groups=4), "groups, 2: the port's is 4"),
        (GROUP, changed(GROUP, eps=1e-2), "epsilon, 1e-05: the port's is 0.01"),
        (nn.LayerNorm(10), nn.LayerNorm(10, eps=1e-2), "epsilon, 1e-05: the port's is 0.01"),
        (nn.LayerNorm([4, 12, 10]), nn.LayerNorm([4, 12, 10], eps=1e-2), "epsilon, 1e-05: the port's is 0.01"),
        (nn.InstanceNorm2d(4), nn.InstanceNorm2d(4, eps=1e-2), "epsilon, 1e-05: the port's is 0.01"),
        (nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), "norm, group: the port's is instance"),
        (nn.GroupNorm(4, 4), nn.InstanceNorm2d(4, affine=True, eps=1e-2), "epsilon, 1e-05: the port's is 0.01"),
        (nn.LeakyReLU(0.2), nn.ReLU(), "activation, leaky_relu: the port's is relu"),
        (nn.AvgPool2d(2), nn.MaxPool2d(2), "pooling, average: the port's is max"),
        (
            nn.AvgPool2d(3, padding=1),
            nn.AvgPool2d(3, padding=1, count_include_pad=False),
            "count_include_pad, True: the port's is False",
        ),
        (nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2, ceil_mode=True), "ceil_mode, False: the port's is True"),
        (nn.MaxPool2d(3, 1), nn.MaxPool2d(3, 1, dilation=2), "dilation, (1, 1): the port's is (2, 2)"),
        (nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), "pooling, average: the port's is max"),
        (nn.ReLU(), nn.SiLU(), "activation, relu: the port's is silu"),
        (nn.GELU(), nn.GELU(approximate="tanh"), "activation, gelu: the port's is gelu_tanh"),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2), "slope, 0.1: the port's is 0.2"),
        (nn.ELU(), nn.ELU(0.5), "alpha, 1.0: the port's is 0.5"),
        (
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            "align_corners, True: the port's is False",
        ),
        (nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), "nearest: the port's is bilinear"),
    ],
)
def test_the_hint_about_a_layer(reference, port, hint):
    inputs = SQUARE if reference is CONV else X[:, :3] if reference is COLOR else X
    report = compare_networks(reference.eval(), port.eval(), inputs)
    assert len([layer for layer in report.layers if not layer.agrees]) == 1, str(report)
    assert hint in report.hint, str(report)


@pytest.mark.parametrize(
    ("reference", "port"),
    [
        (CONV, nn.Sequential(nn.ZeroPad2d(1), changed(CONV, padding=(0, 0)))),
        (nn.MaxPool2d(3, 2, 1), nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))),
        (nn.AvgPool2d(2), nn.AvgPool2d(2, ceil_mode=True)),
        (nn.Dropout(0.5), nn.Identity()),
    ],
)
def test_a_right_port_differs_nowhere(reference, port):
    inputs = np.abs(X) if "Pool" in str(reference) else X
    assert compare_networks(reference.eval(), port.eval(), inputs).first_divergence is None


class Shuffle(nn.Module):
    """A layer that no framework has."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        return x.reshape(len(x), self.groups, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def test_a_layer_that_no_framework_has_gets_the_hints_of_functions():
    report = compare_networks(Shuffle(2), Shuffle(1), X)
    assert report.hint.startswith("the outputs agree after reordering the port's channels"), report.hint


def test_a_mistake_without_a_known_cause_gets_no_hint():
    report = compare_networks(nn.LayerNorm(10), nn.LayerNorm([12, 10]), X)
    assert report.first_divergence is not None
    assert report.hint is None
    report = compare_networks(nn.LocalResponseNorm(2), nn.LocalResponseNorm(3), X)
    assert report.hint is None


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y * torch.linspace(1, 2, 10),
        lambda y: y.cumsum(3),
        lambda y: torch.where(y > 0.5, y, y + 0.01),
    ],
)
def test_an_unknown_function_gets_no_wrong_hint(change):
    report = compare_networks(Functions(lambda y, x: y), Functions(lambda y, x: change(y)), X)
    assert report.hint.startswith("the inputs of second already differ"), report.hint


def test_a_constant_that_is_added_is_called_so():
    report = compare_networks(Functions(lambda y, x: y), Functions(lambda y, x: y + 0.1), X)
    assert "agree up to a factor and an offset for each channel: check the normalization and the bias" in report.hint


class Functions(nn.Module):
    """A convolution, an operation in a function, and a second convolution."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x), x))


@pytest.mark.parametrize(
    ("between", "port_between", "hint"),
    [
        (lambda y, x: y.relu(), lambda y, x: y, "agree after a relu or relu6 of the port's: the port lacks it there"),
        (lambda y, x: y, lambda y, x: y.relu(), "agree after a relu or relu6 of the reference's: only the port"),
        (
            lambda y, x: y.relu(),
            lambda y, x: y.sigmoid(),
            "a relu or relu6 of first in the reference, and a",
        ),
        (lambda y, x: y + x, lambda y, x: y, "agree with and without X added: the port lacks the addition"),
        (lambda y, x: (y + x).relu(), lambda y, x: y.relu(), "agree with and without X added: the port lacks"),
        (lambda y, x: y, lambda y, x: y + x, "agree with and without X added: only the port has"),
        (lambda y, x: y, lambda y, x: y[:, [2, 3, 0, 1]], "agree after reordering the port's channels"),
        (lambda y, x: y, lambda y, x: y.flip(1), "agree after reordering the port's channels"),
        (lambda y, x: y, lambda y, x: 2 * y, "agree up to a constant factor: the reference is 0.5 times the port"),
        (lambda y, x: y, lambda y, x: y * y, "the inputs of second already differ"),
        (
            lambda y, x: nn.functional.avg_pool2d(y, 2),
            lambda y, x: nn.functional.max_pool2d(y, 2),
            "average over 2 x 2, stride 2, padding 0 in the reference, maximum over 2 x 2",
        ),
        (
            lambda y, x: nn.functional.max_pool2d(y.relu(), 2),
            lambda y, x: nn.functional.max_pool2d(y, 2).relu(),
            None,
        ),
    ],
)
def test_the_hint_about_what_comes_before_a_layer(between, port_between, hint):
    report = compare_networks(Functions(between), Functions(port_between), X)
    if hint is None:
        assert report.first_divergence is None, str(report)
    else:
        assert [layer.reference for layer in report.layers if not layer.agrees] == ["second"], str(report)
        assert hint in report.hint


@pytest.mark.parametrize(
    ("port", "hint"),
    [
        # A bias of zero is no mistake: the stride is.
        (lambda: changed(STRIDED, stride=(1, 1), bias=torch.zeros(4)), "stride, (2, 2): the port's is (1, 1)"),
        (lambda: changed(STRIDED, dilation=(2, 2), bias=torch.zeros(4)), "dilation, (1, 1): the port's is (2, 2)"),
        # A clipped relu differs in a few places, as a border does.
        (lambda: nn.Sequential(changed(STRIDED, bias=torch.zeros(4)), nn.ReLU6()), "after a relu6 of the reference's"),
    ],
)
def test_a_near_miss_gets_the_right_hint(port, hint):
    report = compare_networks(changed(STRIDED, bias=None), port(), 30 * X)
    assert hint in report.hint, str(report)


def test_a_second_softmax_is_called_so():
    once = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(480, 12), nn.Softmax(1)))
    twice = nn.Sequential(*once, nn.Softmax(1))
    assert "agree after a second softmax of the reference's: only the port has" in compare_networks(once, twice, X).hint
    assert "agree after a second softmax of the port's: the port lacks it" in compare_networks(twice, once, X).hint


def test_no_softmax_is_blamed_where_both_networks_end_in_one():
    reference, port = (nn.Sequential(nn.Linear(10, 10), nn.Softmax(dim=-1)) for _ in range(2))
    report = compare_networks(reference, port, X[:, 0, 0])
    assert [layer.reference for layer in report.layers if not layer.agrees] == ["0"]
    assert "softmax" not in report.hint


def test_a_pooling_before_a_convolution_is_not_blamed_on_the_convolution():
    conv = seeded(lambda: nn.Conv2d(4, 4, 1))
    report = compare_networks(nn.Sequential(nn.AvgPool2d(2), conv), nn.Sequential(nn.MaxPool2d(2), conv), X)
    assert [layer.reference for layer in report.layers if not layer.agrees] == ["0"]
    assert "pooling" in report.hint


def test_a_norm_in_training_mode_is_identified():
    class Always(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.norm = norm

        def forward(self, x):
            self.norm.training = True
            return self.norm(x)

    hint = compare_networks(NORM, Always(changed(NORM)), X).hint
    assert hint == "the port's norm uses the statistics of the batch: is it in training mode?"


def test_every_mistake_is_found_in_one_run():
    def build():
        return nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))

    reference = seeded(build)
    port = copy.deepcopy(reference)
    port[0] = changed(port[0], weight=port[0].weight.flip(2, 3))
    port[2].padding = (1, 1)
    port[3] = nn.Sigmoid()
    with torch.no_grad():
        port[4].bias += 1
    found = {layer.reference: layer.hint for layer in differing(reference, port)}
    assert list(found) == ["0", "2", "3", "4"]
    assert "flipping" in found["0"]
    assert "padding" in found["2"]
    assert "relu: the port's is sigmoid" in found["3"]
    assert "bias" in found["4"]


def test_a_deep_port_is_right_although_rounding_errors_grow():
    """Each layer multiplies the error of its input by three, and adds none."""

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(12))
            for layer in self.layers:
                nn.init.orthogonal_(layer.weight)

        def forward(self, x):
            for layer in self.layers:
                x = torch.sin(3 * layer(x))
            return x

    inputs = np.random.default_rng(0).random((4, 64), np.float32)
    report = compare_networks(Deep(), Deep().double(), inputs)
    assert report.first_divergence is None, str(report)
    assert report.layers[-1].inherits
    assert report.layers[-1].error > 1e-5
