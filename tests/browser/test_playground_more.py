"""Tests the tools of the network playground: Break it, What matters, Watch it learn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from chromium import CONTRAST, DESKTOP, PHONE, TIMEOUT, TOO_WIDE, record_problems
from page_modules import WEB, open_modules, page_data
from playground_reference import Mistakes, broken_forward, occlusion
from playwright.sync_api import Locator, Page
from random_networks import random_parameters

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.checks.float64_reference import log_softmax

NET = Architecture(
    (1, 12, 12),
    (Conv(3, 3, 1, "sigmoid"), Pool("avg", 2, 2), Conv(4, 3, 0, "sigmoid"), Flatten(), Dense(8, "sigmoid"), Dense(4)),
)
CLASSES = ["sandal", "shirt", "coat", "<img src=x onerror=alert(1)>"]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 12, 12), np.uint8)


def logits_of(parameters: Mapping[str, np.ndarray], X: np.ndarray, mistakes: Mistakes | None = None) -> np.ndarray:
    return broken_forward(NET, parameters, X, mistakes or Mistakes())["dense2"]


def last_parameters() -> dict[str, np.ndarray]:
    """Random ones, with biases for which all classes are predicted."""
    parameters = random_parameters(NET, 13)
    mean = logits_of(parameters, IMAGES / 255).mean(axis=0)
    return parameters | {"dense2.bias": parameters["dense2.bias"] - mean.astype(np.float32)}


EPOCHS = [*(random_parameters(NET, seed) for seed in range(10, 13)), last_parameters()]
PARAMETERS = EPOCHS[-1]
# Labels that the network mostly predicts, so that mistakes cost something.
PREDICTED = logits_of(PARAMETERS, IMAGES / 255).argmax(axis=1)
LABELS = [int(label) if n % 5 else 0 for n, label in enumerate(PREDICTED)]
POINTS = [
    (0.5, 2.3, 0.1, None),
    (1.0, 2.2, 0.15, 0.2),
    (1.5, 1.4, 0.3, None),
    (2.0, 1.1, 0.5, 0.45),
    (2.5, 0.9, 0.6, None),
    (3.0, 0.8, 0.7, 0.65),
]
DATA = page_data(NET, PARAMETERS, IMAGES, LABELS, epochs=EPOCHS, points=POINTS, classes=CLASSES)

BUILD = """data => {
    setTexts(data.texts);
    setColors(bytes(data.colors));
    const { facts, runs } = readPageData(data);
    globalThis.store = new Store(facts, runs);
    store.state.image = facts.examples[0].image;
    store.passes.a = { model: runs[0].model, steps: forward(runs[0].model, store.state.image) };
    const views = [breakView(store), mattersView(store), epochsView(store)];
    document.getElementById("page").append(element("div", { className: "tools-column" }, ...views));
}"""
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
OUTPUTS = "store.passes.a.steps.map(step => [...step.output])"
SHADES = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [...data].filter((_, i) => i % 4 === 0);
}"""


@pytest.fixture
def tools(browser) -> Iterator[Callable[..., Page]]:
    """Opens the three tools in a page that must have no problems at the end of the test."""
    pages: list[tuple[Page, list[str]]] = []

    def open_tools(
        data: dict[str, Any] = DATA,
        scheme: Any = "light",
        size: Any = DESKTOP,
        clock: bool = False,
        motion: Any = "no-preference",
    ) -> Page:
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion=motion)
        page.set_default_timeout(TIMEOUT)
        pages.append((page, record_problems(page)))
        if clock:
            page.clock.install()
        open_modules(
            page,
            "dom",
            "drawing",
            "page_data",
            "forward",
            "store",
            "changes",
            "views/break",
            "views/matters",
            "views/epochs",
        )
        for style in [WEB / "page.css", *sorted((WEB / "views").glob("*.css"))]:
            page.add_style_tag(content=style.read_text())
        page.evaluate(BUILD, data)
        if not clock:
            page.evaluate(DRAWN)
        return page

    yield open_tools
    for page, problems in pages:
        page.close()
        assert problems == []


@pytest.fixture
def page(tools) -> Page:
    return tools()


def outputs(page: Page) -> list[list[float]]:
    page.evaluate(DRAWN)
    return page.evaluate(OUTPUTS)


def counted(page: Page) -> str:
    """What the tool says of the accuracy, once it is counted."""
    page.evaluate(DRAWN)
    page.locator(".cost[aria-busy=false]").wait_for()
    return page.locator(".break [role=status]").inner_text()


def correct(mistakes: Mistakes) -> np.ndarray:
    return logits_of(PARAMETERS, IMAGES / 255, mistakes).argmax(axis=1) == np.array(LABELS)


def select(label: str, value: str, page: Page) -> None:
    page.get_by_label(label, exact=True).select_option(value)


def check_flatten_order(page: Page) -> None:
    page.get_by_label("Flatten in the wrong order").check()


def set_noise(page: Page) -> None:
    page.get_by_label("Noise on the weights").fill("0.5")


def switch_off(page: Page) -> None:
    page.get_by_label("Switch off channels of").select_option("conv2")
    page.get_by_role("group", name="Channels of conv2").get_by_role("button").nth(2).click()
    page.get_by_label("Switch off channels of").select_option("dense1")
    page.get_by_role("group", name="Channels of dense1").get_by_role("button").nth(7).click()


EVERY_MISTAKE: dict[str, tuple[Callable[[Page], None], Mistakes]] = {
    "flatten order": (check_flatten_order, Mistakes(channels_last=True)),
    "transposed kernel": (partial(select, "Transposed kernel", "conv2"), Mistakes(transposed="conv2")),
    "padding": (partial(select, "Padding off by one", "conv1"), Mistakes(shifted="conv1")),
    "pooling": (partial(select, "Pooling", "max"), Mistakes(pooling="max")),
    "activation": (partial(select, "Activation", "relu"), Mistakes(activation="relu")),
    "channels": (switch_off, Mistakes(off=(("conv2", 2), ("dense1", 7)))),
    "noise": (set_noise, Mistakes(noise=0.5)),
}


@pytest.mark.parametrize(("plant", "mistakes"), EVERY_MISTAKE.values(), ids=EVERY_MISTAKE)
def test_a_planted_mistake_changes_the_maps_and_the_accuracy_as_in_numpy_and_can_be_repaired(page, plant, mistakes):
    unbroken = outputs(page)
    right = correct(Mistakes())
    assert counted(page) == f"{right.sum()} of 40 images correct. Nothing is broken."
    plant(page)
    broken = outputs(page)
    expected = broken_forward(NET, PARAMETERS, IMAGES[:1] / 255, mistakes)
    for ours, reference in zip(broken, expected.values(), strict=True):
        assert np.abs(np.array(ours) - reference.ravel()).max() < (1e-5 if mistakes.noise else 1e-12)
    assert broken[-1] != unbroken[-1]
    after = correct(mistakes)
    assert counted(page) == f"{after.sum()} of 40 images correct; {right.sum()} of 40 when unbroken."
    page.get_by_role("button", name="Repair all").click()
    assert outputs(page) == unbroken
    assert counted(page) == f"{right.sum()} of 40 images correct. Nothing is broken."


def test_several_mistakes_add_up(page):
    select("Pooling", "max", page)
    check_flatten_order(page)
    select("Transposed kernel", "conv1", page)
    mistakes = Mistakes(pooling="max", channels_last=True, transposed="conv1")
    assert np.abs(np.array(outputs(page)[-1]) - logits_of(PARAMETERS, IMAGES[:1] / 255, mistakes)).max() < 1e-12
    assert counted(page).startswith(f"{correct(mistakes).sum()} of 40")


def test_the_class_that_loses_most_is_named(page):
    counted(page)
    mistakes = next(m for _, m in EVERY_MISTAKE.values() if correct(m).sum() < correct(Mistakes()).sum())
    plant = next(plant for plant, m in EVERY_MISTAKE.values() if m == mistakes)
    plant(page)
    counted(page)
    labels = np.array(LABELS)
    before, after = (np.bincount(labels[correct(m)], minlength=4) for m in (Mistakes(), mistakes))
    worst = int((before - after).argmax())
    total = int((labels == worst).sum())
    expected = f"{CLASSES[worst]} loses the most: {after[worst]} of {total} correct, down from {before[worst]}."
    assert page.locator(".cost .quiet").inner_text() == expected


def test_a_switch_points_at_its_channel_and_says_whether_it_is_off(page):
    switch = page.get_by_role("group", name="Channels of conv1").get_by_role("button").nth(1)
    switch.focus()
    page.evaluate(DRAWN)
    assert page.evaluate("store.state.highlighted") == {"layer": "conv1", "channel": 1}
    page.keyboard.press("Space")
    page.evaluate(DRAWN)
    assert switch.get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement.textContent") == "2"
    assert not any(outputs(page)[0][144:288])
    page.keyboard.press("Space")
    page.evaluate(DRAWN)
    assert switch.get_attribute("aria-pressed") == "false"


def test_the_tab_key_reaches_one_switch_and_the_arrow_keys_the_others(page):
    switches = page.get_by_role("group", name="Channels of conv1").get_by_role("button")
    page.get_by_label("Switch off channels of").focus()
    page.keyboard.press("Tab")
    for key, at in [("ArrowRight", 1), ("End", 2), ("ArrowRight", 2), ("ArrowLeft", 1), ("Home", 0), ("End", 2)]:
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.textContent") == str(at + 1)
        assert switches.evaluate_all("all => all.map(each => each.tabIndex)") == [
            0 if n == at else -1 for n in range(3)
        ]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") not in {"1", "2", "3"}


def test_the_broken_network_is_compared_with_the_unbroken_one(page):
    unbroken = outputs(page)
    select("Transposed kernel", "conv2", page)
    broken = outputs(page)
    page.get_by_role("button", name="Compare with the unbroken network").click()
    assert outputs(page) == broken
    of_b = page.evaluate("store.passes.b.steps.map(step => [...step.output])")
    assert of_b == unbroken
    # Both agree up to the convolution with the mistake.
    assert [a == b for a, b in zip(broken, of_b, strict=True)] == [True, True, False, False, False, False]


def test_the_other_network_can_be_broken_while_there_are_two(page):
    page.get_by_role("button", name="Compare with the unbroken network").click()
    unbroken = outputs(page)
    page.locator(".break").get_by_label("Network").select_option("b")
    check_flatten_order(page)
    assert outputs(page) == unbroken
    of_b = page.evaluate("[...store.passes.b.steps.at(-1).output]")
    expected = logits_of(PARAMETERS, IMAGES[:1] / 255, Mistakes(channels_last=True))
    assert np.abs(np.array(of_b) - expected).max() < 1e-12


def shades(canvas: Locator) -> np.ndarray:
    return np.array(canvas.evaluate(SHADES))


def as_shades(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values.ravel() - low) / (high - low) * 255


def maps(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True).locator(".pair canvas").nth(1)


def test_the_occlusion_map_is_that_of_numpy(page):
    label = int(PREDICTED[0])
    page.get_by_label("Square").select_option("3")
    page.get_by_role("button", name="Draw the occlusion map").click()
    page.locator(".matters .figure[aria-busy=false] [role=status]:not(:empty)").wait_for()
    expected = occlusion(NET, PARAMETERS, IMAGES[:1] / 255, label, 3)
    found = shades(maps(page, "Occlusion map"))
    wanted = as_shades(expected, min(0, expected.min()), max(0, expected.max()))
    assert np.abs(found - wanted).max() <= 0.5 + 1e-6
    whole = np.exp(log_softmax(logits_of(PARAMETERS, IMAGES[:1] / 255)))[0, label]
    status = page.locator(".matters .result").inner_text()
    assert f"The probability of {CLASSES[label]} is {whole:.3f}." in status
    # Another image: the map would belong to no image that is shown.
    page.evaluate("store.update({ image: store.facts.examples[1].image })")
    page.evaluate(DRAWN)
    assert page.locator(".matters .result").inner_text() == ""
    assert not maps(page, "Occlusion map").is_visible()


def test_covering_that_lowers_the_probability_nowhere_says_so(tools):
    """A network that sees nothing: its weights are 0."""
    zeros = {name: np.zeros_like(each) for name, each in PARAMETERS.items()}
    page = tools(page_data(NET, zeros, IMAGES, LABELS, classes=CLASSES))
    page.get_by_role("button", name="Draw the occlusion map").click()
    page.locator(".matters .figure[aria-busy=false] [role=status]:not(:empty)").wait_for()
    expected = f"Covering no square lowers the probability of {CLASSES[0]} (0.250)."
    assert page.locator(".matters .result").inner_text() == expected


# Work in slices of one piece each: the clock moves on by ten milliseconds whenever it is read.
ONE_PIECE_A_SLICE = "{ let now = 0; performance.now = () => (now += 10); }"
COVER = "document.querySelector('.matters .controls button').click()"
PROGRESS = "tool => tool.querySelector('progress').value"


def test_covering_is_abandoned_for_another_image_whose_map_is_then_computed(page):
    page.evaluate(ONE_PIECE_A_SLICE)
    another = "store.update({ image: store.facts.examples[1].image }); store.draw()"
    page.evaluate(f"{COVER}; {another}")
    page.evaluate(DRAWN)
    assert page.locator(".matters .figure").first.get_attribute("aria-busy") == "false"
    assert page.locator(".matters .result").inner_text() == ""
    third = "store.update({ image: store.facts.examples[2].image }); store.draw()"
    page.evaluate(f"{COVER}; {third}; {COVER}")
    page.locator(".matters .figure[aria-busy=false] [role=status]:not(:empty)").wait_for()
    expected = occlusion(NET, PARAMETERS, IMAGES[2:3] / 255, int(PREDICTED[2]), 2)
    wanted = as_shades(expected, min(0, expected.min()), max(0, expected.max()))
    assert np.abs(shades(maps(page, "Occlusion map")) - wanted).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("tool", ["break", "matters"])
def test_a_tool_that_is_hidden_stops_its_work_and_can_do_it_again(page, tool):
    counted(page)
    page.evaluate(ONE_PIECE_A_SLICE)
    section = page.locator(f"section.{tool}")
    page.evaluate(COVER) if tool == "matters" else check_flatten_order(page)
    page.wait_for_function(f"({PROGRESS})(document.querySelector('section.{tool}')) > 0")
    section.evaluate("tool => { tool.hidden = true; }")
    page.evaluate("new Promise(done => setTimeout(() => setTimeout(done, 0), 0))")
    done = section.evaluate(PROGRESS)
    page.evaluate(DRAWN)
    assert section.evaluate(PROGRESS) == done < 40
    section.evaluate("tool => { tool.hidden = false; tool.dispatchEvent(new CustomEvent('shown')); }")
    if tool == "matters":
        page.evaluate(COVER)
        page.locator(".matters .figure[aria-busy=false] [role=status]:not(:empty)").wait_for()
    else:
        assert counted(page).startswith(f"{correct(Mistakes(channels_last=True)).sum()} of 40")


def loss_gradient(label: int) -> np.ndarray:
    """By central differences."""
    X, step = IMAGES[:1] / 255, 1e-6
    result = np.zeros(X.size)
    for at in range(X.size):
        change = np.zeros(X.size)
        change[at] = step
        both = np.concatenate([X + change.reshape(X.shape), X - change.reshape(X.shape)])
        losses = -log_softmax(logits_of(PARAMETERS, both))[:, label]
        result[at] = (losses[0] - losses[1]) / (2 * step)
    return result


@pytest.mark.parametrize("label", [None, 2])
def test_the_gradient_map_is_that_of_numpy_for_the_predicted_and_for_a_chosen_class(page, label):
    if label is not None:
        page.get_by_label("Class", exact=True).select_option(str(label))
    gradient = loss_gradient(int(PREDICTED[0]) if label is None else label)
    most = np.abs(gradient).max()
    assert np.abs(shades(maps(page, "Gradient of the loss")) - as_shades(gradient, -most, most)).max() <= 0.51
    name = CLASSES[int(PREDICTED[0]) if label is None else label]
    assert page.locator(".matters .subject").inner_text().startswith(f"{name}, ")


def parameters_shown(page: Page, side: str = "a") -> dict[str, list[float]]:
    page.evaluate(DRAWN)
    return page.evaluate(f"Object.fromEntries([...store.passes.{side}.model.parameters].map(([n, v]) => [n, [...v]]))")


def is_epoch(shown: dict[str, list[float]], epoch: int) -> bool:
    return all(np.array_equal(np.array(shown[name], np.float32), EPOCHS[epoch][name].ravel()) for name in EPOCHS[epoch])


def test_the_slider_moves_through_the_parameters_of_the_epochs_with_the_keyboard(page):
    slider = page.get_by_label("Epoch", exact=True)
    slider.focus()
    assert page.evaluate("store.state.a.epoch") is None
    for key, epoch in [("ArrowLeft", 2), ("ArrowLeft", 1), ("ArrowRight", 2), ("Home", 0), ("End", 3)]:
        page.keyboard.press(key)
        assert is_epoch(parameters_shown(page), epoch)
        assert page.locator(".kernel-rows [aria-current] .epoch").inner_text() == str(epoch)
    page.keyboard.press("ArrowLeft")
    page.evaluate(DRAWN)
    expected = "After epoch 2: loss 1.100, training accuracy 50.0%, test accuracy 45.0%."
    assert page.locator(".epochs .now").inner_text() == slider.get_attribute("aria-valuetext") == expected
    page.keyboard.press("Home")
    page.evaluate(DRAWN)
    assert page.locator(".epochs .now").inner_text() == "Before training: loss and accuracies not known."


def test_mistakes_stay_planted_while_the_epoch_changes(page):
    check_flatten_order(page)
    page.get_by_label("Epoch", exact=True).fill("1")
    expected = logits_of(EPOCHS[1], IMAGES[:1] / 255, Mistakes(channels_last=True))
    assert np.abs(np.array(outputs(page)[-1]) - expected).max() < 1e-12


def test_the_untrained_network_is_shown_next_to_the_trained_one(page):
    page.get_by_role("button", name="Show the untrained network as B").click()
    assert is_epoch(parameters_shown(page, "a"), 3)
    assert is_epoch(parameters_shown(page, "b"), 0)


def test_a_run_that_kept_later_epochs_only_has_no_network_before_training(tools):
    data = page_data(NET, PARAMETERS, IMAGES, LABELS, epochs=EPOCHS[2:], points=[(3.0000001, 0.8, 0.7, 0.65)])
    for epoch, each in zip((2, 3), data["runs"][0]["epochs"], strict=True):
        each["epoch"] = epoch
    page = tools(data)
    assert not page.locator(".epochs").get_by_text("Show the untrained network as B").is_visible()
    said = page.locator(".epochs .now")
    assert said.inner_text() == "After epoch 3: loss 0.800, training accuracy 70.0%, test accuracy 65.0%."
    page.get_by_label("Epoch", exact=True).fill("0")
    page.evaluate(DRAWN)
    assert said.inner_text() == "After epoch 2: loss and accuracies not known."


def test_playing_begins_at_the_start_and_stops_at_the_end_or_when_it_is_paused(tools):
    page = tools(clock=True)
    page.clock.run_for(100)
    button = page.locator(".epochs .buttons button").first
    assert page.evaluate("store.state.a.epoch") is None
    button.click()
    assert button.inner_text() == "Pause"
    assert page.evaluate("store.state.a.epoch") == 0
    page.clock.run_for(900)
    assert page.evaluate("store.state.a.epoch") == 1
    button.click()
    page.clock.run_for(5000)
    assert page.evaluate("store.state.a.epoch") == 1
    assert button.inner_text() == "Play"
    button.click()
    page.clock.run_for(5000)
    assert page.evaluate("store.state.a.epoch") == 3
    assert button.inner_text() == "Play"


def test_whoever_wants_no_motion_steps_through_the_epochs(tools):
    page = tools(motion="reduce")
    play, slider = page.get_by_role("button", name="Play"), page.get_by_label("Epoch", exact=True)
    assert slider.is_visible()
    assert not play.is_visible()
    slider.press("Home")
    assert is_epoch(parameters_shown(page), 0)
    page.emulate_media(reduced_motion="no-preference")
    play.click()
    page.emulate_media(reduced_motion="reduce")
    play.wait_for(state="hidden")
    page.emulate_media(reduced_motion="no-preference")
    assert play.inner_text() == "Play"  # and no longer "Pause"


def test_the_kernels_of_all_epochs_are_drawn_on_one_scale(page):
    weights = np.array([each["conv1.weight"] for each in EPOCHS])
    most = np.abs(weights).max()
    rows = page.locator(".kernel-rows li")
    assert rows.count() == len(EPOCHS)
    for epoch, channel in [(0, 0), (1, 2), (3, 1)]:
        found = shades(rows.nth(epoch).locator("canvas").nth(channel))
        assert np.abs(found - as_shades(weights[epoch, channel], -most, most)).max() <= 0.5 + 1e-6


def test_a_line_goes_through_the_points_of_the_run(page):
    numbers = re.compile(r"[\d.]+")
    for name, column, count in [("loss", 1, 6), ("train", 2, 6), ("test", 3, 3)]:
        path = page.locator(f".curve.{name} path").first.get_attribute("d") or ""
        places = np.array([[float(v) for v in numbers.findall(part)] for part in path[1:].split("L")])
        known = np.array([(point[0], point[column]) for point in POINTS if point[column] is not None], float)
        assert len(places) == page.locator(f".curve.{name} circle").count() == count
        for axis in (0, 1):
            slope, start = np.polyfit(known[:, axis], places[:, axis], 1)
            assert np.abs(slope * known[:, axis] + start - places[:, axis]).max() < 0.02
            assert (slope > 0) == (axis == 0)


@pytest.mark.parametrize(
    ("scale", "ticks"), [(1, ["0", "0.5", "1", "1.5", "2", "2.5", "3"]), (0.1, ["0", "0.1", "0.2", "0.3"])]
)
def test_the_epochs_at_the_axis_are_round_numbers(tools, scale, ticks):
    points = [(epoch * scale, *rest) for epoch, *rest in POINTS]
    page = tools(page_data(NET, PARAMETERS, IMAGES, LABELS, points=points))
    at_the_axis = "texts => texts.filter(text => text.getAttribute('y') === '309').map(text => text.textContent)"
    found = page.locator(".curves text").evaluate_all(at_the_axis)
    assert found[0] == "0"
    assert found == ticks


def test_a_run_without_epochs_says_how_to_keep_them(tools):
    page = tools(page_data(NET, PARAMETERS, IMAGES, LABELS, points=POINTS))
    assert page.locator(".epochs code").inner_text() == "python -m lenet_multi.train --keep-epochs --out runs/first"
    assert not page.get_by_label("Epoch", exact=True).is_visible()
    assert page.locator(".curve.loss circle").count() == len(POINTS)


def test_controls_that_do_not_fit_the_network_are_not_offered(tools):
    one = Architecture((3, 4, 5), (Flatten(), Dense(2)))
    page = tools(page_data(one, random_parameters(one), np.zeros((1, 3, 4, 5), np.uint8), [0]))
    assert not page.get_by_label("Transposed kernel").is_visible()
    assert not page.get_by_label("Activation", exact=True).is_visible()
    assert page.get_by_label("Switch off channels of").locator("option").all_inner_texts() == ["dense1"]


def test_a_view_that_fails_is_reported_and_the_others_go_on(browser):
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(error.message))
    open_modules(
        page, "dom", "drawing", "page_data", "forward", "store", "views/break", "views/matters", "views/epochs"
    )
    page.evaluate(BUILD, DATA)
    page.evaluate("store.views.unshift(() => { throw new Error('planted'); })")
    for number in (1, 2):
        page.evaluate(f"store.update({{ image: store.facts.examples[{number}].image }})")
        page.evaluate(DRAWN)
        assert errors == ["planted"] * number
        expected = logits_of(PARAMETERS, IMAGES[number : number + 1] / 255)
        assert np.abs(np.array(outputs(page)[-1]) - expected).max() < 1e-12
        name = CLASSES[int(PREDICTED[number])]
        assert page.locator(".matters .subject").inner_text().startswith(f"{name}, ")
    page.close()


STATE_OF_TOOLS = """[...document.querySelectorAll('.tools-column > section')].map(tool =>
    tool.innerHTML + [...tool.querySelectorAll('canvas')].map(canvas => canvas.toDataURL()).join())"""


def test_hidden_tools_compute_nothing_until_they_are_shown(page):
    counted(page)
    page.evaluate("document.querySelectorAll('.tools-column > section').forEach(tool => { tool.hidden = true; })")
    before = page.evaluate(STATE_OF_TOOLS)
    page.evaluate("store.update({ image: store.facts.examples[1].image, a: { ...store.state.a, epoch: 1 } })")
    page.evaluate(DRAWN)
    assert page.evaluate(STATE_OF_TOOLS) == before
    page.evaluate(
        """document.querySelectorAll('.tools-column > section').forEach(tool => {
            tool.hidden = false;
            tool.dispatchEvent(new CustomEvent('shown'));
        })"""
    )
    counted(page)
    after = page.evaluate(STATE_OF_TOOLS)
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, False]


def test_nothing_is_computed_while_nothing_changes(page):
    counted(page)
    before = page.evaluate(STATE_OF_TOOLS)
    page.evaluate("store.update({ highlighted: { layer: 'conv1', channel: 0 } })")
    page.evaluate(DRAWN)
    assert page.evaluate(STATE_OF_TOOLS) == before
    assert page.locator(".cost[aria-busy=true]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_tools_are_readable(tools, size, scheme):
    page = tools(scheme=scheme, size=size)
    counted(page)
    page.get_by_role("button", name="Draw the occlusion map").click()
    page.locator(".matters .figure[aria-busy=false] [role=status]:not(:empty)").wait_for()
    assert not page.evaluate(TOO_WIDE)
    contrast, text = page.evaluate(CONTRAST, "p, li, h2, h3, label, button, select, option, output, code")
    assert contrast >= 4.5, text


def test_names_in_the_data_are_text(page):
    assert page.locator("img").count() == 0
    assert page.get_by_label("Class", exact=True).locator("option").all_inner_texts()[1:] == CLASSES
