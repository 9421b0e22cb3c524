"""Tests the network playground as a whole: every network, both widths, light and dark, accessibility."""

from __future__ import annotations

import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import CONTRAST, DESKTOP, PHONE, TOO_WIDE
from playwright.sync_api import Page, expect
from small_folder import write_folder
from small_runs import NETWORKS, write_network, write_run

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.checks.float64_reference import forward, log_softmax, xavier_uniform
from lenet_multi.data import load_dataset
from lenet_multi.interactive.images import chosen_images
from lenet_multi.interactive.texts import page_texts
from lenet_multi.runs.weights import save_weights

TEXTS = "p, li, td, th, h1, h2, h3, a, button, label, summary, legend, output"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """The option for a small data set of 28 x 28."""
    return ["--dataset", str(write_folder(tmp_path_factory.mktemp("data") / "small"))]


def probabilities(page: Page) -> list[float]:
    cells = page.locator(".prediction tbody td:nth-child(3)").all_inner_texts()
    return [float(cell) for cell in cells]


def choose_example(page: Page) -> None:
    """Choose the first test image that the page shows."""
    page.locator(".examples button").first.click()


def violations(page: Page) -> list[str]:
    """What axe-core finds, one line for each rule."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_shows_its_own_layers_and_probabilities(name, play, data, tmp_path):
    page = play(write_network(tmp_path, name), options=data)
    architecture = NETWORKS[name]
    assert page.locator(".layer h3").all_inner_texts() == list(architecture.named_layers)
    maps = {layer: 1 if len(shape) == 1 else shape[0] for layer, shape in architecture.output_shapes.items()}
    for number, count in enumerate(maps.values()):
        assert page.locator(".layer").nth(number).locator("canvas").count() == count
    test = load_dataset(data[1]).test
    outputs = forward(architecture, xavier_uniform(architecture), test.scaled(chosen_images(test)[:1]))
    expected = np.exp(log_softmax(list(outputs.values())[-1]))[0]
    np.testing.assert_allclose(probabilities(page), expected, atol=0.0006)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_is_accessible_and_fits(size, scheme, play, data, tmp_path):
    """Every tool, with one network and with two."""
    first, second = (write_network(tmp_path, "lenet5", seed) for seed in range(2))
    page = play(first, second, size=size, scheme=scheme, options=data)
    choose_example(page)
    for two in (False, True):
        if two:
            page.get_by_label("B", exact=True).select_option(index=2)
        for tab in page.get_by_role("tab").all():
            tab.click()
            assert_accessible(page, tab.inner_text())


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_the_page_is_accessible_while_it_is_used(size, scheme, play, data, tmp_path):
    """The tour, the numbers of each kind of layer, a map that was computed, a problem; with two networks as well."""
    first, second = (write_network(tmp_path, "lenet5", seed) for seed in range(2))
    page = play(first, second, size=size, scheme=scheme, options=data)
    choose_example(page)
    assert_accessible(page, "the start")
    page.locator(".tour > summary").click()
    for step in range(1, 9):
        page.locator(".tour-step summary").click()
        assert_accessible(page, f"step {step}")
        if step < 8:
            page.get_by_role("button", name="Next").click()
    page.get_by_label("Open a picture or a run").set_input_files({"name": "a.txt", "mimeType": "", "buffer": b"no"})
    expect(page.get_by_role("alert")).not_to_be_empty()
    assert_accessible(page, "a problem")
    page.get_by_role("tab", name="What matters").click()
    page.get_by_role("button", name="Draw the occlusion map").click()
    page.locator(".matters .figure[aria-busy=false] [role=status]:not(:empty)").wait_for()
    assert_accessible(page, "an occlusion map")
    for side in ("", "A", "B", "difference A \N{MINUS SIGN} B"):
        if side == "A":
            page.get_by_label("B", exact=True).select_option(index=2)
        for layer in ("conv2", "pool1", "flatten", "dense2") if side in ("", "B") else ("conv1",):
            page.get_by_role("group", name=f"{layer} {side}".strip(), exact=True).locator("canvas").first.click()
            expect(page.locator(".pointed-line")).to_contain_text(f"{layer}, ")
            assert_accessible(page, f"a number of {layer} {side}")


def assert_accessible(page: Page, state: str) -> None:
    assert violations(page) == [], state
    assert not page.evaluate(TOO_WIDE), state
    contrast, text = page.evaluate(CONTRAST, TEXTS)
    assert contrast >= 4.5, f"{state}: the contrast of {text!r} is only {contrast:.1f}"


def test_the_checker_finds_what_is_not_accessible(play, data, tmp_path):
    page = play(write_network(tmp_path, "lenet5"), options=data)
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert [violation.partition(":")[0] for violation in violations(page)] == ["html-has-lang"]


def test_the_tour_is_used_with_the_keyboard(play, data, tmp_path):
    page = play(write_network(tmp_path, "lenet5"), options=data)
    page.locator(".tour > summary").focus()
    page.keyboard.press("Enter")
    titles = []
    for _ in range(8):
        titles.append(page.locator(".tour-step h3").inner_text())
        summary = page.locator(".tour-step summary")
        answer = page.locator(".tour-step details p")
        assert not answer.is_visible()
        summary.focus()
        page.keyboard.press("Enter")
        assert answer.is_visible()
        if len(titles) < 8:
            page.get_by_role("button", name="Next").focus()
            page.keyboard.press("Enter")
    assert len(set(titles)) == 8
    assert page.get_by_role("button", name="Next").is_disabled()


# Which steps of the tour, of 1 to 8, fit a network.
TOURS = {
    "lenet5": range(1, 9),
    "no-convolution": (1, 5, 6, 7, 8),
    "no-pooling": (1, 2, 3, 5, 6, 7, 8),
    "only-pooling": (1, 5, 6, 7, 8),
}
OTHERS = {
    "no-pooling": Architecture((1, 28, 28), (Conv(2, 5, 0, "relu"), Flatten(), Dense(10))),
    "only-pooling": Architecture((1, 28, 28), (Pool("max", 4, 4), Flatten(), Dense(10))),
}


def tour_of(page: Page) -> list[str]:
    """The text of each step, from the first to the last."""
    back, forth = (page.get_by_role("button", name=name, exact=True) for name in ("Back", "Next"))
    while back.is_enabled():
        back.click()
    texts = []
    while True:
        texts.append(page.locator(".tour-step").evaluate("step => step.textContent"))
        assert page.locator(".tour .buttons p").inner_text().startswith(f"Step {len(texts)} of ")
        if forth.is_disabled():
            return texts
        forth.click()


def test_the_tour_describes_the_network_of_side_a(play, data, tmp_path):
    files = {name: write_network(tmp_path, name) for name in ("lenet5", "no-convolution")}
    for name, network in OTHERS.items():
        files[name] = tmp_path / f"{name}.safetensors"
        save_weights(files[name], xavier_uniform(network), {"architecture": network.to_dict()})
    page = play(*files.values(), options=data)
    page.locator(".tour > summary").click()
    titles = {page_texts()[f"tour.{step}.title"]: step for step in range(1, 9)}
    for number, name in enumerate(files):
        page.locator(".sides").get_by_label("A", exact=True).select_option(index=number)
        texts = tour_of(page)
        assert [titles[next(title for title in titles if text.startswith(title))] for text in texts] == [*TOURS[name]]
        for text in texts:
            assert not re.search(r"undefined|NaN|[{}]|\b0 (?!to\b)", text), text
        flat = {**NETWORKS, **OTHERS}[name].output_shapes["flatten"][0]
        assert any(f"The {flat} numbers after flatten" in text for text in texts)


def test_the_tour_keeps_its_answer_open_while_the_network_is_only_broken(play, data, tmp_path):
    page = play(write_network(tmp_path, "lenet5"), options=data)
    page.locator(".tour > summary").click()
    page.locator(".tour-step summary").click()
    page.get_by_role("tab", name="Break it").click()
    page.get_by_label("Flatten in the wrong order").check()
    page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
    assert page.locator(".tour-step details p").is_visible()


def test_without_scripts_the_page_says_so(browser, play, data, tmp_path):
    address = play(write_network(tmp_path, "lenet5"), options=data).url
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "JavaScript" in page.locator("noscript").inner_text()
    context.close()


def test_hostile_names_are_text(play, tmp_path):
    """In the title of a run, which is that of its folder, and in the names of its classes."""
    hostile = "<img src=x onerror=alert(1)>"
    names = (f"{hostile}</script>", "'\"&amp;", *map(str, range(8)))
    page = play(write_run(tmp_path / hostile, names=names), write_run(tmp_path / "other", names=names, seed=1))
    assert page.locator("img").count() == 0
    assert page.get_by_label("A", exact=True).locator("option").first.inner_text() == f"PyTorch: {hostile}"
    shown = page.locator(".prediction tbody th").all_inner_texts()
    assert shown[:2] == [*names[:2]]


# Counts what a page does by itself.
COUNT_WORK = """
window.work = { draws: 0, timers: 0, frames: 0, reactions: 0 };
const count = (owner, name, kind, isLater) => {
    const original = owner[name];
    owner[name] = function (...given) {
        if (isLater) {
            const [callback, ...rest] = given;
            return original.call(this, (...values) => { window.work[kind] += 1; callback(...values); }, ...rest);
        }
        window.work[kind] += 1;
        return original.apply(this, given);
    };
};
const frame = window.requestAnimationFrame.bind(window);
window.nextFrame = () => new Promise(frame);
count(CanvasRenderingContext2D.prototype, "putImageData", "draws", false);
for (const name of ["setTimeout", "setInterval"]) count(window, name, "timers", true);
count(window, "requestAnimationFrame", "frames", true);
new PerformanceObserver(list => { window.work.reactions += list.getEntriesByName("reaction").length; })
    .observe({ entryTypes: ["measure"] });
"""
FRAMES = "(async () => { for (let i = 0; i < 30; i++) await nextFrame(); })()"


def counting(browser, address: str) -> Page:
    """The page with counters of its work."""
    page = browser.new_page()
    page.add_init_script(COUNT_WORK)
    page.goto(address)
    choose_example(page)
    page.wait_for_function("() => work.reactions > 0")
    page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
    page.evaluate(FRAMES)
    return page


def test_nothing_is_computed_while_nothing_changes(browser, play, data, tmp_path):
    page = counting(browser, play(write_network(tmp_path, "lenet5"), options=data).url)
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
        # If anything computed by itself, one of the next frames would show it.
        page.evaluate(FRAMES)
        before = page.evaluate("({ ...work })")
        page.evaluate(FRAMES)
        assert page.evaluate("({ ...work })") == before
    page.evaluate("(function again() { setTimeout(again, 0); })()")
    page.evaluate(FRAMES)
    assert page.evaluate("work.timers") > before["timers"]
    page.close()


def test_only_the_last_reaction_is_kept_and_an_observer_sees_all(browser, play, data, tmp_path):
    page = counting(browser, play(write_network(tmp_path, "lenet5"), options=data).url)
    before = page.evaluate("work.reactions")
    for number in range(1, 4):
        page.locator(".examples button").nth(number).click()
    page.wait_for_function("before => work.reactions >= before + 3", arg=before)
    assert page.evaluate("performance.getEntriesByName('reaction').length") == 1
    page.close()
