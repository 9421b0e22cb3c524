"""Writes measurements into pages: Markdown tables, and blocks between two markers."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import write_atomically


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with a line for the titles and one for each row."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replace_block(page: Path, name: str, text: str) -> None:
    """Replace the text between a page's markers `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        UserError: when the page does not have exactly one such block, or cannot be written.
    """
    before = page.read_text() if page.is_file() else ""
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", flags=re.S)
    count = len(block.findall(before))
    if count != 1:
        raise UserError(f"'{page}' has {count} blocks from <!-- {name} --> to <!-- end of {name} -->, expected 1")
    after = block.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before)
    write_atomically(page, after.encode())
