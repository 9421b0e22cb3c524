"""Tests the files of the built site, and the site in a browser; see scripts/browser-test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import built_site
import pytest
from chromium import BROKEN_PICTURES, CONTRAST, DESKTOP, PHONE, TIMEOUT, TOO_WIDE, record_problems
from playwright.sync_api import Page
from sphinx.util.inventory import InventoryFile

import lenet_multi

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
PAGES = [str(path.relative_to(SITE)) for path in built_site.html_files(SITE)]
CONTENT_PAGES = [page for page in PAGES if not page.startswith(("_modules", "genindex", "py-modindex", "search"))]
TEXTS = "article :is(p, li, td, h1, h2, pre span, a)"
# The tab of each backend, and what only the code in it has.
TABS = {"torch": "PyTorch", "tensorflow": "Keras", "mxnet": "Gluon", "jax": "Flax"}
FRAMEWORKS = tuple(TABS.values())
ONLY_THERE = ("optimizer.zero_grad(", "layers.Flatten(", "autograd.record()", "nnx.value_and_grad(")


# Files


def test_the_site_is_built():
    assert "index.html" in PAGES, "run scripts/docs first"


def test_nothing_is_loaded_from_other_hosts():
    assert list(built_site.loaded_externally(SITE)) == []


def test_no_link_or_picture_is_broken():
    assert list(built_site.broken(SITE)) == []


def test_every_picture_has_alternative_text():
    assert list(built_site.without_alternative(SITE)) == []


def test_every_public_name_is_in_the_reference():
    with (SITE / "objects.inv").open("rb") as file:
        inventory = InventoryFile.loads(file.read(), uri="")
    documented = {name.rpartition(".")[2] for kind in inventory.data.values() for name in kind}
    assert set(lenet_multi.__all__) <= documented


def test_faults_of_a_site_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//fonts.example/f.css">'
        '<a href="b.html#there">right</a><a href="b.html#nowhere">wrong</a><a href="https://example.org">external</a>'
        '<img src="gone.png" alt="A picture."><img src="b.png"><style>@import "https://cdn.example/s.css";</style>'
    )
    (tmp_path / "b.html").write_text('<p id="there">text</p><img src="b.png" alt="b.png">')
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "s.css").write_text(
        "@font-face { src: url(http://fonts.example/f.woff) } p { background: url(no.png) }"
    )
    assert list(built_site.loaded_externally(tmp_path)) == [
        "a.html: https://cdn.example/x.js",
        "a.html: //fonts.example/f.css",
        "a.html: https://cdn.example/s.css",
        "s.css: http://fonts.example/f.woff",
    ]
    assert list(built_site.broken(tmp_path)) == ["a.html: b.html#nowhere", "a.html: gone.png", "s.css: no.png"]
    assert list(built_site.without_alternative(tmp_path)) == ["a.html: b.png", "b.html: b.png"]


# Pages in the browser


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a page requests many files at once, and the default of 5 would refuse some

    def handle_error(self, request, client_address) -> None:
        """Ignore errors: a browser may close a connection early, which is no fault of the site."""


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of the site on a local server."""
    server = Server(("127.0.0.1", 0), partial(QuietHandler, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def on_disk() -> str:
    return SITE.as_uri() + "/"


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A page that must have no problems at the end of the test."""
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    problems = record_problems(page)
    yield page
    context.close()
    assert problems == []


def test_low_contrast_and_a_page_that_is_too_wide_are_found(browser):
    page = browser.new_page(viewport=PHONE)
    page.set_content("<article style='background: #fff8'><p>clear<p style='color: #aaa'>faint</article>")
    contrast, text = page.evaluate(CONTRAST, TEXTS)
    assert (round(contrast, 1), text) == (2.3, "faint")
    assert not page.evaluate(TOO_WIDE)
    page.set_content("<article><p style='width: 500px'>wide</article>")
    assert page.evaluate(TOO_WIDE)
    page.close()


def test_problems_of_a_page_are_recorded(browser, served):
    page = browser.new_page()
    problems = record_problems(page)
    page.goto(served + "index.html")
    assert problems == []
    page.set_content(
        "<script>console.error('logged'); throw new Error('thrown')</script>"
        f"<img src='{served}gone.png'><img src='http://external.invalid/x.png'>",
        wait_until="load",
    )
    page.close()
    recorded = " ".join(problems)
    for problem in ("logged", "thrown", "gone.png: 404", "external.invalid/x.png is external"):
        assert problem in recorded


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_is_readable(browser, served, size, scheme):
    """It has no problems, no missing picture, no sideways scrolling, and enough contrast."""
    context = browser.new_context(viewport=size, color_scheme=scheme)
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    problems = record_problems(page)
    for name in CONTENT_PAGES:
        page.goto(served + name, wait_until="load")
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        assert page.evaluate(BROKEN_PICTURES) == [], name
        assert not page.evaluate(TOO_WIDE), name
        contrast, text = page.evaluate(CONTRAST, TEXTS)
        assert contrast >= 4.5, f"{name}: the contrast of {text!r} is only {contrast:.1f}"
    context.close()
    assert problems == []


@pytest.mark.parametrize("name", [page for page in PAGES if page not in CONTENT_PAGES])
def test_index_and_search_pages_open(page, served, name):
    page.goto(served + name)


def open_tabs(page: Page) -> set[str]:
    """The names of the open tabs in all tab sets of the page."""
    return {label.inner_text() for label in page.locator(".sd-tab-set > input:checked + label").all()}


@pytest.mark.parametrize("where", ["served", "on_disk"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_selected_tab_switches_all_tab_sets_and_is_remembered(page, request, where, framework):
    address = request.getfixturevalue(where)
    page.goto(address + "lenet.html")
    num_sets = page.locator(".sd-tab-set").count()
    assert num_sets >= 5
    assert open_tabs(page) == {FRAMEWORKS[0]}
    page.locator(".sd-tab-set").nth(2).get_by_text(framework, exact=True).click()
    assert open_tabs(page) == {framework}
    assert page.locator(".sd-tab-content:visible").count() == num_sets
    page.reload()
    assert open_tabs(page) == {framework}
    page.goto(address + "backends.html")
    assert open_tabs(page) == {framework}


def test_tabs_can_be_selected_with_the_keyboard(page, served):
    page.goto(served + "lenet.html")
    page.locator(".sd-tab-set > input").first.focus()
    page.keyboard.press("ArrowRight")
    assert open_tabs(page) == {"Keras"}


@pytest.mark.parametrize(("framework", "only_there"), list(zip(FRAMEWORKS, ONLY_THERE, strict=True)))
def test_each_tab_shows_the_code_of_its_framework(page, served, framework, only_there):
    page.goto(served + "lenet.html")
    page.locator(".sd-tab-set").first.get_by_text(framework, exact=True).click()
    visible = " ".join(page.locator(".sd-tab-content:visible").all_inner_texts())
    assert only_there in visible


def test_the_code_shown_is_the_code(page, served):
    """Every code block in the tabs is in the source files, character by character."""
    page.goto(served + "lenet.html")
    for module, framework in TABS.items():
        page.locator(".sd-tab-set").first.get_by_text(framework, exact=True).click()
        package = Path(lenet_multi.__file__).parent
        program = package.parent / "docs" / "programs" / f"lenet5_{framework.lower().replace('pytorch', 'torch')}.py"
        source = (package / "backends" / f"{module}.py").read_text() + program.read_text()
        blocks = page.locator(".sd-tab-content:visible pre").all_inner_texts()
        assert len(blocks) >= 5
        for block in blocks:
            assert block.strip() in source


CUT_OFF = """[...document.querySelectorAll('article pre')]
    .filter(block => block.checkVisibility() && block.scrollWidth > block.clientWidth)
    .map(block => block.textContent.trim().slice(0, 60))"""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_line_of_the_code_is_cut_off(browser, served, framework):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(served + "lenet.html")
    page.locator(".sd-tab-set").first.get_by_text(framework, exact=True).click()
    assert page.evaluate(CUT_OFF) == []
    page.evaluate(
        "[...document.querySelectorAll('article pre')].find(e => e.checkVisibility()).append('x'.repeat(120))"
    )
    assert len(page.evaluate(CUT_OFF)) == 1
    context.close()


def test_formulas_use_the_font_of_the_site(page, served):
    page.goto(served + "lenet.html")
    page.wait_for_function("document.fonts.status === 'loaded'")
    assert page.evaluate("[...document.fonts].map(font => font.status)") == ["loaded"]
    fraction = page.locator("math mfrac").first.bounding_box()
    assert fraction is not None
    assert fraction["height"] > 20
    assert "$" not in page.locator("article").inner_text()


def test_search_works_without_a_network(page, served):
    page.goto(served + "search.html?q=flatten")
    page.get_by_role("link", name="Where the frameworks differ").first.wait_for()


def test_the_notebook_can_be_downloaded(page, served):
    page.goto(served + "first-steps.html")
    link = page.get_by_role("link", name="download it")
    assert link.get_attribute("download") is not None
    response = page.request.get(served + (link.get_attribute("href") or ""))
    assert response.body() == (SITE.parents[1] / "first-steps.ipynb").read_bytes()
