"""Collects the links, pictures, scripts and styles of the built site, and finds broken and external ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements that a browser fetches without a click, and the attributes with the address.
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
    "link": "href",
}
NOT_LOADED = {
    "author",
    "canonical",
    "help",
    "index",
    "next",
    "prev",
    "search",
}  # values of rel in <link> that are not fetched


@dataclass
class Page(HTMLParser):
    """The references of one page, and the ids that links can point to."""

    path: Path
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    pictures: list[dict[str, str | None]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._in_style = False
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for value in (values.get("id"), values.get("name") if tag == "a" else None) if value}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag == "img":
            self.pictures.append(values)
        if tag in LOADED and values.get(LOADED[tag]) and values.get("rel") not in NOT_LOADED:
            self.loaded.append(values[LOADED[tag]] or "")
        if values.get("style"):
            self.styles.append(values["style"] or "")
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


@cache
def read(path: Path) -> Page:
    return Page(path)


def html_files(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def is_external(reference: str) -> bool:
    """Whether a reference leads out of the site: to another host, or to a program such as mail."""
    parts = urlsplit(reference)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def css_references(css: str) -> list[str]:
    """The addresses in `url(...)` and `@import`."""
    return [a or b for a, b in re.findall(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""", css)]


def loaded_externally(site: Path) -> Iterator[str]:
    """Yield `page: address` for each script, style, font and picture on another host."""
    for path in html_files(site):
        page = read(path)
        references = [*page.loaded, *(address for css in page.styles for address in css_references(css))]
        yield from (f"{path.relative_to(site)}: {address}" for address in references if is_external(address))
    for path in sorted(site.rglob("*.css")):
        references = css_references(path.read_text())
        yield from (f"{path.relative_to(site)}: {address}" for address in references if is_external(address))


def broken(site: Path) -> Iterator[str]:
    """Yield `page: address` for each link, picture, script and style within the site whose target is missing."""
    for path in html_files(site):
        page = read(path)
        for reference in [*page.links, *page.loaded]:
            parts = urlsplit(reference)
            if is_external(reference) or parts.scheme == "data":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            fragment = unquote(parts.fragment)
            if not target.is_file() or (target.suffix == ".html" and fragment and fragment not in read(target).ids):
                yield f"{path.relative_to(site)}: {reference}"
    for path in sorted(site.rglob("*.css")):
        for reference in css_references(path.read_text()):
            parts = urlsplit(reference)
            if is_external(reference) or parts.scheme == "data" or not parts.path:
                continue
            if not (path.parent / unquote(parts.path)).is_file():
                yield f"{path.relative_to(site)}: {reference}"


def without_alternative(site: Path) -> Iterator[str]:
    """Yield `page: picture` for each picture without an alternative text."""
    for path in html_files(site):
        for picture in read(path).pictures:
            source, text = picture.get("src") or "", (picture.get("alt") or "").strip()
            # Without an alternative text, Sphinx writes the picture's address.
            if not text or text == source or Path(text).name == Path(source).name:
                yield f"{path.relative_to(site)}: {source}"
