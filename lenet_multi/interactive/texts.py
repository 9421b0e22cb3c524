"""The words on the page, which a translation can replace: web/texts.json, and copies of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lenet_multi.errors import UserError
from lenet_multi.system.names import readable
from lenet_multi.system.regular_files import open_regular

ENGLISH = Path(__file__).with_name("web") / "texts.json"
MOST_BYTES = 2**20
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def page_texts(translation: Path | None = None) -> dict[str, str]:
    """The page's texts by name.

    Args:
        translation: a file with the same names; English when None.

    Raises:
        UserError: when the file cannot be read, or has other names, values that are no texts, or texts with other
            placeholders.
    """
    english: dict[str, str] = json.loads(ENGLISH.read_text(encoding="utf-8"))
    if translation is None:
        return english
    texts = _read(translation)
    advice = f"start from a copy of {ENGLISH}"
    for name in english:
        if name not in texts:
            raise UserError(f"--texts '{translation}' lacks '{name}': {advice}")
        if not isinstance(texts[name], str):
            raise UserError(f"--texts '{translation}': '{name}' is not a text: {advice}")
    for name in texts:
        if name not in english:
            raise UserError(f"--texts '{translation}' has '{name[:100]}', which the page does not: {advice}")
    for name, text in english.items():
        known, found = (set(PLACEHOLDER.findall(each)) for each in (text, texts[name]))
        if other := sorted(known ^ found):
            problem = "lacks" if other[0] in known else "has an unknown placeholder"
            raise UserError(f"--texts '{translation}': '{name}' {problem} {{{other[0][:100]}}}: {advice}")
    return {name: readable(texts[name]) for name in english}


def filled(text: str, /, **values: object) -> str:
    """A text with values in place of `{name}`, as `text` in web/dom.js does it. Other braces stay as they are."""
    return PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), text)


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as problem:  # a path with a null byte is a ValueError
        reason = getattr(problem, "strerror", None) or problem
        raise UserError(f"--texts '{path}' cannot be read ({reason}): check the path") from problem
    if len(content) > MOST_BYTES:
        raise UserError(f"--texts '{path}' has more than {MOST_BYTES:,} bytes: choose another file")
    try:
        texts = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as problem:
        raise UserError(f"--texts '{path}' is not a JSON file in UTF-8 ({problem}): correct it") from problem
    if not isinstance(texts, dict):
        raise UserError(f"--texts '{path}' is not a JSON object of texts: start from a copy of {ENGLISH}")
    return texts
