"""HTML pages in one file: their templates, and a policy under which a browser runs one script and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def template_environment(package: str, folder: str = "") -> Environment:
    """Templates that escape what they insert, and write JSON without spaces.

    Args:
        package: the package that holds them.
        folder: their folder in the package.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def content_policy(script: str) -> str:
    """A page's Content-Security-Policy: a browser runs this script alone, loads nothing, and sends no form.

    Args:
        script: the text of the element.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
