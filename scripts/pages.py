"""How the scripts write what they measured into the pages."""

import re
from pathlib import Path

from lenet_multi.errors import UserError
from lenet_multi.files import write_whole


def replace_block(page: Path, name: str, text: str) -> None:
    """Put text between a page's markers `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        UserError: when the page does not have them.
    """
    before = page.read_text() if page.is_file() else ""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", flags=re.S)
    if len(marked.findall(before)) != 1:
        raise UserError(f"'{page}' has no place marked <!-- {name} --> to <!-- end of {name} -->: mark one")
    after = marked.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", before)
    write_whole(page, after.encode())
