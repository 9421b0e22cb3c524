"""Tests the report of a comparison in a browser: opened from disk, sorted, filtered, and with other curves chosen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import BROKEN_PICTURES, CONTRAST, DESKTOP, PHONE, TIMEOUT, TOO_WIDE, record_problems
from many_runs import write_many_runs
from playwright.sync_api import Page
from small_folder import write_folder

from lenet_multi.comparison.outcome import write_results
from lenet_multi.comparison.results import RunResult
from lenet_multi.data import load_dataset

MANY = 32
TEXTS = "p, li, td, th, h1, h2, h3, a, button, label, summary, figcaption span"
FAILED = 5  # number of the run that failed


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def few(data, tmp_path_factory) -> Path:
    """The report of a comparison of all installed frameworks, copied out of the comparison's folder."""
    folder = tmp_path_factory.mktemp("few")
    options = ["--dataset", str(data), "--epochs", "1", "--batch-size", "32", "--out", str(folder / "three")]
    subprocess.run([sys.executable, "-m", "lenet_multi.compare", *options], check=True, capture_output=True)
    return Path(shutil.copy(folder / "three" / "report.html", folder / "alone.html"))


@pytest.fixture(scope="module")
def many(data, tmp_path_factory) -> Path:
    """The report of 32 runs, of which one failed."""
    folder = tmp_path_factory.mktemp("many")
    options = ["--dataset", str(data), "--epochs", "1", "--batch-size", "32", "--out", str(folder / "run")]
    subprocess.run([sys.executable, "-m", "lenet_multi.train", *options], check=True, capture_output=True)
    plan, results = write_many_runs(folder / "run", folder / "out", MANY)
    results[FAILED] = RunResult(results[FAILED].spec, reason="the disk is full")
    last = results[-1].run
    assert last
    unknown = replace(last.segments[-1], peak_rss_mb=None)
    results[-1] = RunResult(results[-1].spec, replace(last, segments=[unknown]))
    write_results(folder / "out", plan, results, load_dataset(str(data)))
    return Path(shutil.copy(folder / "out" / "report.html", folder / "alone.html"))


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A page that must have no problems, and request nothing but itself, by the end of the test."""
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    problems, requested = record_problems(page), []
    page.on("request", lambda request: requested.append(request.url.partition(",")[0]))
    yield page
    context.close()
    assert problems == []
    assert [address for address in requested if not address.startswith("data:image/png")] == requested[:1]


def column(page: Page, title: str) -> list[str]:
    """The texts of a column in the rows that are shown; of a failed run, what it says."""
    titles = page.locator("#runs thead th").all_inner_texts()
    number = next(i for i, text in enumerate(titles) if text.startswith(title))
    rows = page.locator("#runs tbody tr:visible").all()
    return [row.locator("th, td").nth(min(number, row.locator("th, td").count() - 1)).inner_text() for row in rows]


def names(page: Page) -> list[str]:
    return column(page, "run")


def drawn(page: Page) -> list[str]:
    """The names in the legend."""
    return page.locator("#legend li").all_inner_texts()


def sort_by(page: Page, title: str) -> str | None:
    """Click a header; the direction that it then has."""
    header = page.locator("#runs thead th").filter(has_text=title)
    header.get_by_role("button").click()
    return header.get_attribute("aria-sort")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("which", ["few", "many"])
def test_the_report_is_readable(browser, request, which, size, scheme):
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    problems = record_problems(page)
    page.goto(request.getfixturevalue(which).as_uri())
    assert page.locator("table").count() >= 1
    assert page.evaluate("document.images.length") >= 1
    for _ in range(2):
        assert page.evaluate(BROKEN_PICTURES) == []
        assert not page.evaluate(TOO_WIDE)
        contrast, text = page.evaluate(CONTRAST, TEXTS)
        assert contrast >= 4.5, f"the contrast of {text!r} is only {contrast:.1f}"
        page.locator("#runs tbody input").nth(1).click()  # then with curves that the script draws
    context.close()
    assert problems == []


@pytest.mark.parametrize("which", ["few", "many"])
def test_without_scripts_the_table_and_the_curves_are_complete(browser, request, which):
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    page = context.new_page()
    page.goto(request.getfixturevalue(which).as_uri())
    assert page.locator("#runs tbody tr:visible").count() == page.locator("#runs tbody tr").count() >= 1
    assert page.locator("#panels svg:visible").count() == 3
    assert page.locator("#legend li").count() >= 1
    assert page.locator("input:visible, button:visible, select:visible, .scripted:visible").count() == 0
    context.close()


def test_numbers_are_sorted_as_numbers_and_failed_runs_come_last(page, many):
    page.goto(many.as_uri())
    planned = names(page)
    assert planned[FAILED] == "pooling=avg lr=0.5 seed=1"
    for title, direction in (("examples/s", "ascending"), ("examples/s", "descending")):
        assert sort_by(page, title) == direction
        *speeds, failed = column(page, title)
        assert failed == "failed: the disk is full"
        numbers = [float(text) for text in speeds]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert min(numbers) < 2000 < 10_000 < max(numbers)  # texts would be in another order
    assert sort_by(page, "examples/s") is None
    assert names(page) == planned


def test_unknown_values_are_sorted_after_the_known_ones(page, many):
    page.goto(many.as_uri())
    for _ in range(2):
        sort_by(page, "peak memory")
        *_, unknown, failed = column(page, "peak memory")
        assert (unknown, failed) == ("unknown", "failed: the disk is full")


def test_runs_are_sorted_by_their_settings(page, many):
    page.goto(many.as_uri())
    assert sort_by(page, "run") == "ascending"
    rates = [name.split()[1] for name in names(page)]
    in_order = ["lr=0.05"] * 4 + ["lr=0.1"] * 4 + ["lr=0.5"] * 3 + ["lr=0.9"] * 4  # one failed
    assert rates[:15] == in_order
    assert names(page)[0] == "pooling=avg lr=0.05 seed=0"


def test_only_one_column_says_that_it_is_sorted(page, many):
    page.goto(many.as_uri())
    sort_by(page, "loss")
    sort_by(page, "test acc")
    assert page.locator("[aria-sort]").all_inner_texts() == ["test acc"]


def test_headers_and_boxes_can_be_used_with_the_keyboard(page, many):
    page.goto(many.as_uri())
    page.locator("#draw-none").focus()
    for _ in range(2):
        page.keyboard.press("Tab")  # over the table, which scrolls, to its first header
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("[aria-sort='ascending']").inner_text() == "loss"
    page.keyboard.press("Space")
    assert page.locator("[aria-sort='descending']").inner_text() == "loss"
    before = drawn(page)
    box = page.locator("#runs tbody input:checked").first
    box.focus()
    page.keyboard.press("Space")
    assert len(drawn(page)) == len(before) - 1


def test_the_filter_finds_words_of_names_and_settings(page, many):
    page.goto(many.as_uri())
    count = page.locator("#count")
    assert count.inner_text() == "32 of 32 runs"
    page.locator("#filter").fill("seed=1  POOLING=max")  # any order, any case
    assert count.inner_text() == "4 of 32 runs"
    assert all("pooling=max" in name and "seed=1" in name for name in names(page))
    page.locator("#filter").fill("torch")
    assert count.inner_text() == "0 of 32 runs"
    page.locator("#filter").fill("failed")
    assert names(page) == ["pooling=avg lr=0.5 seed=1"]


def test_a_setting_is_filtered_by_its_exact_value_and_with_the_others(page, many):
    page.goto(many.as_uri())
    page.get_by_role("combobox", name="lr", exact=True).select_option("0.5")
    assert {name.split()[1] for name in names(page)} == {"lr=0.5"}
    page.get_by_role("combobox", name="pooling", exact=True).select_option("avg")
    assert page.locator("#count").inner_text() == "4 of 32 runs"
    sort_by(page, "test acc")
    assert len(names(page)) == 4
    page.get_by_role("combobox", name="lr", exact=True).select_option("all")
    assert page.locator("#count").inner_text() == "16 of 32 runs"


def test_a_chosen_run_is_drawn_and_the_others_keep_their_colors(page, many):
    page.goto(many.as_uri())
    first = drawn(page)
    assert len(first) == 8
    colors = "[...document.querySelectorAll('#legend li')].map(item => [item.innerText, item.firstChild.style.stroke])"
    before = dict(page.evaluate(colors))
    page.get_by_role("checkbox", name=first[0]).uncheck()
    added = next(name for name in names(page) if name not in first and "lr=0.5 seed=1" not in name)
    page.get_by_role("checkbox", name=added).check()
    after = dict(page.evaluate(colors))
    assert set(after) == {added, *first[1:]}
    assert all(after[name] == before[name] for name in first[1:])
    assert after[added] == before[first[0]]
    for panel in page.locator("#panels figure").all():
        assert panel.locator("g").count() == 8
        assert added in (panel.get_attribute("aria-label") or "")
    page.locator("#draw-best").click()
    assert drawn(page) == first


def test_a_line_goes_through_the_points_of_its_run(page, many):
    page.goto(many.as_uri())
    page.locator("#draw-none").click()
    assert drawn(page) == []
    page.locator("#runs tbody input").first.check()
    data = page.evaluate("JSON.parse(document.getElementById('data').textContent)")
    epochs, loss, _, tested = data["runs"][0]["curves"]
    paths = [panel.locator("g path").first.get_attribute("d") or "" for panel in page.locator("#panels figure").all()]
    assert [len(path.split("L")) for path in paths] == [50, 50, 10]
    points = [tuple(map(float, point.lstrip("M").split())) for point in paths[0].split("L")]
    (x0, y0), (x1, y1) = points[0], points[-1]
    for (x, y), epoch, value in zip(points, epochs, loss, strict=True):
        assert x == pytest.approx(x0 + (x1 - x0) * (epoch - epochs[0]) / (epochs[-1] - epochs[0]), abs=0.02)
        assert y == pytest.approx(y0 + (y1 - y0) * (value - loss[0]) / (loss[-1] - loss[0]), abs=0.02)
    assert y1 > y0  # the loss falls, and y grows downwards
    assert len([value for value in tested if value is not None]) == 10


def test_the_rows_below_are_drawn_up_to_a_limit(page, many):
    page.goto(many.as_uri())
    page.get_by_role("combobox", name="lr", exact=True).select_option("0.9")
    page.locator("#draw-rows").click()
    assert drawn(page) == names(page)
    assert page.locator("#drawn").inner_text() == "8 drawn, at most 24"
    page.get_by_role("combobox", name="lr", exact=True).select_option("all")
    sort_by(page, "test acc")
    page.locator("#draw-rows").click()
    assert sorted(drawn(page)) == sorted(names(page)[:24])
    page.locator("#runs tbody input:not(:checked)").first.click()
    assert page.locator("#drawn").inner_text().startswith("No more than 24 runs can be drawn")
    assert page.locator("#runs tbody input:checked").count() == len(drawn(page)) == 24


def test_a_few_runs_are_all_drawn_and_can_be_left_out(page, few):
    page.goto(few.as_uri())
    shown = drawn(page)
    assert shown == names(page)
    assert page.locator("#filter").count() == 0
    page.locator("#runs tbody input").first.uncheck()
    assert drawn(page) == shown[1:]
    assert sort_by(page, "test acc") == "ascending"
