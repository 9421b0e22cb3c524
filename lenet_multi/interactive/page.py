"""The page: one HTML file that holds its styles, its script, its texts and all data, and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenet_multi.interactive.script import joined_script
from lenet_multi.system.html_page import content_policy, template_environment
from lenet_multi.system.output_path import require_output_path

WEB = Path(__file__).with_name("web")
ENDINGS = (".html",)
MARK = "lenet_multi playground"  # marks the files that this package wrote


def require_page_path(path: Path) -> None:
    """Check, before the work starts, that a page can be written to `--out`.

    Raises:
        UserError: as `require_output_path`.
    """
    require_output_path(path, ENDINGS, MARK)


def page(data: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
        data: what its script reads, from `page_data`.
    """
    environment = template_environment("lenet_multi.interactive", "web")
    # Browsers read no NaN and no infinity, which Python would write.
    environment.policies["json.dumps_kwargs"]["allow_nan"] = False
    script = joined_script(WEB)
    return environment.get_template("page.html.j2").render(
        texts=data["texts"],
        policy=content_policy(script),
        mark=MARK,
        styles=_styles(),
        data=data,
        script=script,
    )


def _styles() -> str:
    """The styles of the page, then those of its views, which may build on them."""
    files = [WEB / "page.css", *sorted((WEB / "views").glob("*.css"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
