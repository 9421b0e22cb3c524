"""Renders formulas as MathML, which browsers support natively: no script and no network access are needed."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.writers.html5 import HTML5Translator


def mathml(latex: str, display: str) -> str:
    """Convert a LaTeX formula to a <math> element.

    Args:
        latex: the formula, without dollar signs.
        display: `inline` or `block`.

    Raises:
        SphinxError: when the result is not valid XML, or still contains LaTeX, which the converter copies unchanged if
            it does not support it.
    """
    converted = convert(latex, display=display)
    try:
        ElementTree.fromstring(converted)
    except ElementTree.ParseError as error:
        raise SphinxError(f"formula {latex!r} does not convert to MathML ({error}): use simpler LaTeX") from error
    unconverted = [command for command in ("\\", "&amp;") if command in converted]
    if unconverted:
        raise SphinxError(f"formula {latex!r} contains unsupported LaTeX ({unconverted[0]}): use simpler LaTeX")
    return converted


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula."""
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(mathml(node.astext(), "block"))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
