"""Tests the page to play in as a whole: every network, both widths, light and dark, accessibility."""

from __future__ import annotations

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import CONTRAST, DESKTOP, PHONE, TOO_WIDE
from playwright.sync_api import Page
from small_folder import write_folder
from small_runs import NETWORKS, write_network

from lenet_multi.checks.float64_reference import forward, log_softmax, xavier_uniform
from lenet_multi.data import load_dataset
from lenet_multi.interactive.images import chosen_images

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
            assert violations(page) == []
            assert not page.evaluate(TOO_WIDE)
            contrast, text = page.evaluate(CONTRAST, TEXTS)
            assert contrast >= 4.5, f"the contrast of {text!r} is only {contrast:.1f}"


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


def test_without_scripts_the_page_says_so(browser, play, data, tmp_path):
    address = play(write_network(tmp_path, "lenet5"), options=data).url
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "JavaScript" in page.locator("noscript").inner_text()
    context.close()


def test_hostile_names_are_text(play, data, tmp_path):
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    page = play(write_network(folder, "lenet5"), write_network(tmp_path, "lenet5", 1), options=data)
    assert page.locator("img[src=x]").count() == 0
    assert page.get_by_text("<img src=x").count() >= 0


def test_nothing_is_computed_while_nothing_changes(play, data, tmp_path):
    page = play(write_network(tmp_path, "lenet5"), options=data)
    choose_example(page)
    count = "performance.getEntriesByName('reaction').length"
    page.wait_for_function(f"{count} > 0")
    # If anything computed by itself, one of the next frames would show it.
    frames = "(async () => { for (let i = 0; i < 30; i++) await new Promise(requestAnimationFrame); })()"
    before = page.evaluate(count)
    page.evaluate(frames)
    assert page.evaluate(count) == before
