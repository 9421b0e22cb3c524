"""Chromium, and pages to play in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from chromium import DESKTOP, TIMEOUT, launched, record_problems
from playwright.sync_api import Browser, Page
from small_runs import write_color_run, write_run

from lenet_multi import playground


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def grey_run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "grey")


@pytest.fixture(scope="session")
def color_run(tmp_path_factory) -> Path:
    return write_color_run(tmp_path_factory.mktemp("color"))


@pytest.fixture
def play(browser, tmp_path_factory) -> Iterator[Callable[..., Page]]:
    """A function that makes a page from runs or weights files, and opens it.

    At the end of the test, the pages must have printed nothing, had no error, and requested nothing but themselves.
    """
    printed: list[str] = []
    requested: list[str] = []
    files: list[str] = []
    recorded: list[list[str]] = []
    with ExitStack() as stack:

        def open_page(
            *runs: Path, size=DESKTOP, scheme="light", touch=False, options: Sequence[str] = (), name="play.html"
        ) -> Page:
            file = tmp_path_factory.mktemp("play") / name
            assert playground.main(["--weights", *map(str, runs), *options, "--out", str(file)]) == 0
            context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=touch)
            stack.callback(context.close)
            context.set_default_timeout(TIMEOUT)
            page = context.new_page()
            recorded.append(record_problems(page))
            page.on("console", lambda message: printed.append(message.text))
            page.on("request", lambda request: requested.append(request.url.partition(",")[0]))
            files.append(file.as_uri())
            page.goto(files[-1])
            return page

        yield open_page
    assert printed == []
    assert recorded == [[] for _ in files]
    assert [address for address in requested if not address.startswith("data:")] == files
