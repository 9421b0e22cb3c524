"""The input of the network playground, as the tests use it: what is on the pad, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import Locator, Page

SEEN = """canvas => {
    const {width, height} = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    return [height, width, ...copy.getImageData(0, 0, width, height).data];
}"""
FRAME = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def seen(page: Page) -> np.ndarray:
    """The pixels on the pad, which are those that the network sees: (H, W, 3)."""
    page.evaluate(FRAME)
    height, width, *values = page.locator(".board canvas").evaluate(SEEN)
    return np.array(values, np.uint8).reshape(height, width, 4)[:, :, :3]


def is_empty(page: Page) -> bool:
    return not seen(page).any()


def board(page: Page, y: float, x: float, size: int = 28) -> tuple[float, float]:
    """The place on the screen of a place on the pad, in pixels of the image."""
    box = page.locator(".board canvas").bounding_box()
    assert box
    return box["x"] + box["width"] * x / size, box["y"] + box["height"] * y / size


def drag(page: Page, *places: tuple[float, float], size: int = 28) -> None:
    page.mouse.move(*board(page, *places[0], size))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*board(page, *place, size), steps=5)
    page.mouse.up()


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def cleared(page: Page) -> Page:
    """The page with nothing on its pad."""
    button(page, "Clear").click()
    page.evaluate(FRAME)
    return page


def choose(page: Page, *paths: Path) -> None:
    page.get_by_label("Open a picture or a run").set_input_files(paths)


def by(*sides: int) -> str:
    """Sides as the page writes them."""
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sides))
