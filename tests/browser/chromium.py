"""Chromium for the tests, and what it can tell of a page: its problems, its width, its contrast."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

TIMEOUT = 120_000  # milliseconds; long, because the machine may be busy
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium, until the end of the block."""
    chromium = shutil.which("chromium")
    assert chromium, "expected chromium on the PATH: scripts/browser-test installs it"
    # Chromium's sandbox does not work as root, the usual user in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


def record_problems(page: Page) -> list[str]:
    """Return a list to which the page adds its problems: console errors and warnings, failed and external requests."""
    problems: list[str] = []

    def on_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"{message.text} ({message.location['url']})")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            problems.append(f"{response.url}: {response.status}")

    def on_request(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "http://127.0.0.1:")):
            problems.append(f"{request.url} is external")

    page.on("console", on_message)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(f"{request.url} failed"))
    page.on("response", on_response)
    page.on("request", on_request)
    return problems


# True if an element is wider than the window without its own scroll bar, so that the page scrolls sideways.
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
BROKEN_PICTURES = "[...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src)"
# The lowest contrast between text and background, as the Web Content Accessibility Guidelines define it, and its text,
# of the elements that a selector finds.
CONTRAST = """selector => {
    const numbers = color => color.match(/[0-9.]+/g).map(Number);
    const luminance = color => {
        const [r, g, b] = color.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = element => {
        if (!element) return [255, 255, 255];
        const [r, g, b, alpha = 1] = numbers(getComputedStyle(element).backgroundColor);
        if (alpha === 1) return [r, g, b];
        const below = background(element.parentElement);
        return [r, g, b].map((v, i) => alpha * v + (1 - alpha) * below[i]);
    };
    let lowest = [21, ''];
    for (const element of document.querySelectorAll(selector)) {
        if (!element.checkVisibility() || !element.textContent.trim()) continue;
        const text = numbers(getComputedStyle(element).color).slice(0, 3);
        const [brighter, darker] = [luminance(text), luminance(background(element))].sort((a, b) => b - a);
        const contrast = (brighter + 0.05) / (darker + 0.05);
        if (contrast < lowest[0]) lowest = [contrast, element.textContent.slice(0, 40)];
    }
    return lowest;
}"""
