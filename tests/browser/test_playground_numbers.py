"""What the network playground computes, compared with the float64 reference: outputs, gradients, broken networks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from chromium import TIMEOUT, record_problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from page_modules import open_modules, page_data
from playground_reference import Mistakes, broken_forward, occlusion
from playwright.sync_api import Page
from random_networks import architectures, random_parameters

from lenet_multi import PRESETS
from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.checks.float64_reference import (
    activation_slope,
    cross_entropy,
    forward,
    input_gradient,
    log_softmax,
    near_a_kink,
    xavier_uniform,
)
from lenet_multi.interactive.short_text import short

AGREE = 1e-10  # of the largest value of a layer, or of 1
PASSES = """([data, changes, label]) => {
    const { runs, facts } = readPageData(data);
    const model = changed(runs[0].model, changes ?? NO_CHANGES);
    const steps = forward(model, facts.examples[0].image);
    const gradients = inputGradients(model, steps, label);
    return { outputs: steps.map(step => [...step.output]), gradients: gradients.map(each => [...each]) };
}"""
SMALL = Architecture(
    (2, 9, 8),
    (Conv(3, 3, 2, "sigmoid"), Pool("avg", 2, 2), Conv(4, 2, 0, "tanh"), Flatten(), Dense(6, "sigmoid"), Dense(5)),
)


@pytest.fixture(scope="module")
def page(browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT)
    problems = record_problems(page)
    open_modules(
        page, "forward", "backward", "changes", "page_data", "occlusion", "accuracy", "slices", "short_name", "dom"
    )
    yield page
    page.close()
    assert problems == []


def random_image(architecture: Architecture, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, *architecture.input_shape), np.uint8)


def of_page(page: Page, architecture: Architecture, parameters, image: np.ndarray, mistakes: Mistakes | None = None):
    """The outputs and the gradients with respect to the inputs of all layers, as flat arrays."""
    data = page_data(architecture, parameters, image, [0])
    result = page.evaluate(PASSES, [data, mistakes.to_page() if mistakes else None, 0])
    return [[np.array(each) for each in result[key]] for key in ("outputs", "gradients")]


def input_gradients(architecture: Architecture, parameters, X: np.ndarray, label: int) -> list[np.ndarray]:
    """The gradients of the loss with respect to the inputs of all layers, from the reference."""
    outputs = forward(architecture, parameters, X)
    gradient = np.exp(log_softmax(list(outputs.values())[-1]))
    gradient[:, label] -= 1
    gradients: list[np.ndarray] = []
    for n, (name, layer) in reversed(list(enumerate(architecture.named_layers.items()))):
        if isinstance(layer, Conv | Dense):
            gradient = gradient * activation_slope(layer.activation, outputs[name])
        x = list(outputs.values())[n - 1] if n else X
        gradient = input_gradient(name, layer, parameters, x, gradient)
        gradients.insert(0, gradient)
    return gradients


def assert_agree(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for ours, reference in zip(found, expected, strict=True):
        assert ours.shape == reference[0].ravel().shape
        assert np.abs(ours - reference[0].ravel()).max() <= AGREE * max(1, np.abs(reference).max())


def assert_both_agree(page: Page, architecture: Architecture, parameters, image: np.ndarray) -> None:
    X = image / 255
    outputs, gradients = of_page(page, architecture, parameters, image)
    assert_agree(outputs, list(forward(architecture, parameters, X).values()))
    assert_agree(gradients, input_gradients(architecture, parameters, X, 0))


@pytest.mark.parametrize("name", PRESETS)
def test_outputs_and_gradients_of_the_presets_are_those_of_the_reference(page, name):
    architecture = PRESETS[name]
    assert_both_agree(page, architecture, xavier_uniform(architecture), random_image(architecture, 0))


@settings(max_examples=20, derandomize=True, deadline=None, database=None)
@given(architecture=architectures(), seed=st.integers(0, 2**31))
def test_outputs_and_gradients_of_random_networks_are_those_of_the_reference(page, architecture, seed):
    image, parameters = random_image(architecture, seed), random_parameters(architecture, seed)
    assume(not near_a_kink(architecture, parameters, image / 255, 1e-9).any())
    assert_both_agree(page, architecture, parameters, image)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("activation", [None, "sigmoid", "tanh", "relu"])
def test_every_pooling_and_activation_is_that_of_the_reference(page, pooling, activation):
    layers = (Conv(3, 3, 1, activation), Pool(pooling, 3, 2), Flatten(), Dense(5, activation), Dense(4))
    architecture = Architecture((1, 9, 7), layers)
    assert_both_agree(page, architecture, random_parameters(architecture, 1), random_image(architecture, 1))


EVERY_MISTAKE = {
    "none": Mistakes(),
    "channel of a convolution off": Mistakes(off=(("conv1", 2), ("conv2", 0))),
    "channel of a pooling off": Mistakes(off=(("pool1", 1),)),
    "units off": Mistakes(off=(("dense1", 5), ("dense2", 1))),
    "maximum pooling": Mistakes(pooling="max"),
    "relu": Mistakes(activation="relu"),
    "tanh": Mistakes(activation="tanh"),
    "channels last": Mistakes(channels_last=True),
    "transposed": Mistakes(transposed="conv1"),
    "second one transposed": Mistakes(transposed="conv2"),
    "shifted": Mistakes(shifted="conv1"),
    "shifted without padding": Mistakes(shifted="conv2"),
    "noise": Mistakes(noise=0.7),
    "all at once": Mistakes((("conv1", 0),), "max", "tanh", True, "conv2", "conv1", 0.3),
}


@pytest.mark.parametrize("mistakes", EVERY_MISTAKE.values(), ids=EVERY_MISTAKE)
def test_a_broken_network_computes_what_the_same_mistake_in_numpy_computes(page, mistakes):
    parameters, image = random_parameters(SMALL, 3), random_image(SMALL, 3)
    expected = broken_forward(SMALL, parameters, image / 255, mistakes)
    outputs, gradients = of_page(page, SMALL, parameters, image, mistakes)
    # A weight with noise is rounded to float32, and can be rounded to its neighbour.
    tolerance = 1e-5 if mistakes.noise else AGREE
    for ours, reference in zip(outputs, expected.values(), strict=True):
        assert np.abs(ours - reference.ravel()).max() <= tolerance
    unbroken = list(forward(SMALL, parameters, image / 255).values())
    is_changed = np.abs(outputs[-1] - unbroken[-1].ravel()).max() > 1e-4
    assert is_changed == (mistakes != Mistakes())
    assert len(gradients) == len(SMALL.layers)


@pytest.mark.parametrize(
    "mistakes",
    [m for m in EVERY_MISTAKE.values() if not m.noise],
    ids=[n for n, m in EVERY_MISTAKE.items() if not m.noise],
)
def test_the_gradient_of_a_broken_network_is_the_slope_of_its_loss(page, mistakes):
    parameters, image = random_parameters(SMALL, 4), random_image(SMALL, 4)
    _, gradients = of_page(page, SMALL, parameters, image, mistakes)

    def loss(X: np.ndarray) -> float:
        return cross_entropy(broken_forward(SMALL, parameters, X, mistakes)["dense2"], np.array([0]))

    step = 1e-6
    for at in np.random.default_rng(0).choice(image.size, 12, replace=False):
        change = np.zeros(image.shape)
        change.flat[at] = step
        slope = (loss(image / 255 + change) - loss(image / 255 - change)) / (2 * step)
        assert gradients[0][at] == pytest.approx(slope, abs=1e-8)


def test_an_error_of_the_computation_would_be_found(page):
    parameters, image = random_parameters(SMALL, 3), random_image(SMALL, 3)
    wrong = parameters | {"conv2.bias": parameters["conv2.bias"] + np.float32(1e-6)}
    outputs, gradients = of_page(page, SMALL, wrong, image)
    with pytest.raises(AssertionError):
        assert_agree(outputs, list(forward(SMALL, parameters, image / 255).values()))
    with pytest.raises(AssertionError):
        assert_agree(gradients, input_gradients(SMALL, parameters, image / 255, 0))


def test_the_same_changes_make_the_same_network_and_none_leave_it_as_it_is(page):
    data = page_data(SMALL, random_parameters(SMALL), random_image(SMALL, 0), [0])
    same = """([data, changes]) => {
        const { model } = readPageData(data).runs[0];
        return [
            changed(model, changes) === changed(model, changes),
            changed(model, changes) === changed(model, { ...changes }),
            changed(model, { ...NO_CHANGES }) === model,
        ];
    }"""
    assert page.evaluate(same, [data, Mistakes(noise=0.5).to_page()]) == [True, False, True]


OCCLUSION = """([data, label, side]) => {
    const { runs, facts } = readPageData(data);
    const [{ model }, { image }] = [runs[0], facts.examples[0]];
    const all = squares(model, side);
    const whole = softmax(logitsOf(model, image))[label];
    const falls = all.map(square => whole - probabilityWithout(model, image, label, square, side, 0));
    return [...occlusionMap(model, all, side, falls)];
}"""


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 20])
def test_the_occlusion_map_is_the_mean_of_the_falls_over_all_squares_that_cover_a_pixel(page, side):
    parameters, image = random_parameters(SMALL, 5), random_image(SMALL, 5)
    found = page.evaluate(OCCLUSION, [page_data(SMALL, parameters, image, [0]), 2, side])
    assert np.abs(np.array(found) - occlusion(SMALL, parameters, image / 255, 2, side).ravel()).max() < 1e-12


COUNTS = """async data => {
    const { runs, facts } = readPageData(data);
    let reports = 0;
    const count = isWanted => countCorrect(runs[0].model, facts.examples, 5, () => isWanted, () => (reports += 1));
    const [abandoned, first] = [await count(false), await count(true)];
    const before = reports;
    const again = await count(true);
    return { abandoned, first, again, reports: reports - before };
}"""


def test_the_accuracy_of_a_network_is_counted_once_unless_the_work_was_abandoned(page):
    parameters = random_parameters(SMALL, 6)
    images = np.random.default_rng(6).integers(0, 256, (20, *SMALL.input_shape), np.uint8)
    labels = [n % 5 for n in range(20)]
    predicted = list(forward(SMALL, parameters, images / 255).values())[-1].argmax(axis=1)
    result = page.evaluate(COUNTS, page_data(SMALL, parameters, images, labels))
    assert result["abandoned"] is None
    assert result["first"] == result["again"]
    assert result["first"]["correct"] == (predicted == labels).sum()
    assert result["first"]["correctOf"] == [int((predicted[label::5] == label).sum()) for label in range(5)]
    assert result["first"]["imagesOf"] == [4] * 5
    assert result["reports"] == 0


def test_long_work_is_done_in_slices_and_ends_when_it_is_not_wanted(page):
    busy = "() => { const end = performance.now() + 3; while (performance.now() < end); }"
    script = f"""async wanted => {{
        const reported = [];
        const isDone = await inSlices(20, {busy}, () => reported.length < wanted, done => reported.push(done));
        return [isDone, reported];
    }}"""
    is_done, reported = page.evaluate(script, 100)
    assert is_done
    assert len(reported) > 3
    assert reported[-1] == 20
    is_done, reported = page.evaluate(script, 2)
    assert not is_done
    assert len(reported) == 2
    assert reported[-1] < 20


NAMES = st.text(st.one_of(st.characters(), st.sampled_from("ab \t\n\x1c\x85\N{NO-BREAK SPACE}\ufeff\N{GRINNING FACE}")))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(name=st.one_of(NAMES, NAMES.map(lambda text: text * 60)), most=st.integers(2, 70))
def test_names_are_shortened_as_in_python(page, name, most):
    assert page.evaluate("([name, most]) => shortName(name, most)", [name, most]) == short(name, most)


def test_a_number_has_no_hyphens(page):
    shown = page.evaluate("[-1.5, -1e-9, -2e9, 0, -0].map(value => number(value))")
    assert shown == ["\N{MINUS SIGN}1.500", "\N{MINUS SIGN}1.0e\N{MINUS SIGN}9", "\N{MINUS SIGN}2.0e+9", "0", "0"]


def test_a_number_of_the_flattened_vector_is_not_switched_off(page):
    """Neither in the forward pass nor in the backward pass: it is no channel."""
    parameters, image = random_parameters(SMALL), random_image(SMALL, 1)
    off = """data => {
        const { runs, facts } = readPageData(data);
        return [[], ["flatten:0", "flatten:7"], ["pool1:1"]].map(off => {
            const model = { ...runs[0].model, off: new Set(off) };
            return inputGradients(model, forward(model, facts.examples[0].image), 2).map(each => [...each]);
        });
    }"""
    unbroken, flat, pool = page.evaluate(off, page_data(SMALL, parameters, image, [0]))
    assert flat == unbroken
    assert pool != unbroken


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"pooling": "avg", "activation": "sigmoid"}, {}),
        ({"pooling": "max", "activation": "tanh"}, {"pooling": "max", "activation": "tanh"}),
        ({"off": ["conv1:2", "conv1:3", "conv3:0", "flatten:0"]}, {"off": ["conv1:2"]}),
        ({"transposed": "conv3", "shifted": "pool1"}, {}),
        ({"transposed": "conv1", "shifted": "conv1"}, {"transposed": "conv1", "shifted": "conv1"}),
        ({"channelsLast": True, "noise": 0.5}, {"channelsLast": True, "noise": 0.5}),
    ],
)
def test_changes_that_a_network_lacks_or_has_anyway_are_none(page, changes, left):
    network = Architecture((1, 8, 8), (Conv(3, 3, 1, "sigmoid"), Pool("avg", 2, 2), Flatten(), Dense(4)))
    data = page_data(network, random_parameters(network), random_image(network, 0), [0])
    found, unbroken = page.evaluate(
        """([data, changes]) => {
            const { model } = readPageData(data).runs[0];
            const all = { ...NO_CHANGES, ...changes };
            return [effectiveChanges(model, all), changed(model, all) === model];
        }""",
        [data, changes],
    )
    assert found == page.evaluate("left => ({ ...NO_CHANGES, ...left })", left)
    assert unbroken == (left == {})
