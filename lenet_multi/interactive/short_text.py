"""Names from files, cut to what a page can show."""

from __future__ import annotations

from lenet_multi.system.names import readable

LONGEST = 60  # characters of a name


def short(text: str, most: int = LONGEST) -> str:
    """The text in one line of at most `most` characters, without control characters."""
    line = " ".join(readable(text[: 10 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
