"""Names that people read: those of files may hold control characters, and bytes that are not UTF-8."""

from __future__ import annotations

import re

# Control characters, except tabs and ends of lines, can be commands for the terminal. Python reads a byte that is not
# UTF-8 in the name of a file as half of a surrogate pair (PEP 383), which no encoding has. XML can hold none of them.
NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def readable(text: str) -> str:
    """The text with a replacement character for each that is not text: for figures, reports and JSON to read.

    The path of a file that will be opened again stays as it is: Python's JSON escapes such characters, and restores
    them.
    """
    return NOT_TEXT.sub("\ufffd", text)


def printable(text: str) -> str:
    """The text with an escape sequence for each character that is not text: for a terminal."""
    return NOT_TEXT.sub(lambda found: repr(found[0])[1:-1], text)
