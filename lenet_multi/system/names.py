"""Names that people read: those of files may hold bytes that are not UTF-8."""

from __future__ import annotations

import re

# Python reads a byte of a file name that is not UTF-8 as half of a surrogate pair (PEP 383). No encoding has it.
NOT_TEXT = re.compile("[\ud800-\udfff]")


def readable(text: str) -> str:
    """The text with a replacement character for each byte that is not UTF-8: for figures, reports and JSON to read.

    The path of a file that will be opened again stays as it is. Python's JSON escapes such a byte and restores it.
    """
    return NOT_TEXT.sub("\ufffd", text)
