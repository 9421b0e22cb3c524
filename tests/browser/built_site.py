"""What the built site refers to: links, pictures, scripts and styles, and which of them lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; a link is followed by a reader.
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
NOT_LOADED = {"author", "canonical", "help", "index", "next", "prev", "search"}  # of <link>: said, not fetched


@dataclass
class Page(HTMLParser):
    """The references of one page, and the places in it that can be linked to."""

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
        given = dict(attrs)
        self.ids |= {value for value in (given.get("id"), given.get("name") if tag == "a" else None) if value}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag == "img":
            self.pictures.append(given)
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") not in NOT_LOADED:
            self.loaded.append(given[LOADED[tag]] or "")
        if given.get("style"):
            self.styles.append(given["style"] or "")
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


def is_elsewhere(reference: str) -> bool:
    """Whether it leads out of the site: to another host, or to a program like mail."""
    parts = urlsplit(reference)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def css_references(css: str) -> list[str]:
    return [a or b for a, b in re.findall(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""", css)]


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    """`page: address` of each script, style, font and picture that another host would be asked for."""
    for path in html_files(site):
        page = read(path)
        references = [*page.loaded, *(found for css in page.styles for found in css_references(css))]
        yield from (f"{path.relative_to(site)}: {found}" for found in references if is_elsewhere(found))
    for path in sorted(site.rglob("*.css")):
        found_in = css_references(path.read_text())
        yield from (f"{path.relative_to(site)}: {found}" for found in found_in if is_elsewhere(found))


def broken(site: Path) -> Iterator[str]:
    """`page: address` of each link, picture, script and style within the site that leads nowhere."""
    for path in html_files(site):
        page = read(path)
        for reference in [*page.links, *page.loaded]:
            parts = urlsplit(reference)
            if is_elsewhere(reference) or parts.scheme == "data":
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
            if is_elsewhere(reference) or parts.scheme == "data" or not parts.path:
                continue
            if not (path.parent / unquote(parts.path)).is_file():
                yield f"{path.relative_to(site)}: {reference}"


def without_alternative(site: Path) -> Iterator[str]:
    """`page: picture` of each picture that has no alternative text of its own."""
    for path in html_files(site):
        for picture in read(path).pictures:
            source, text = picture.get("src") or "", (picture.get("alt") or "").strip()
            # Where none is given, Sphinx writes the picture's address.
            if not text or text == source or Path(text).name == Path(source).name:
                yield f"{path.relative_to(site)}: {source}"
