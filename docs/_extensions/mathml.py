"""Formulas as MathML, which browsers draw themselves: no script, no font and no network."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.writers.html5 import HTML5Translator


def mathml(latex: str, display: str) -> str:
    """The formula as a <math> element.

    Raises:
        SphinxError: where the converter did not understand something and passed it on as it was.
    """
    converted = convert(latex, display=display)
    try:
        ElementTree.fromstring(converted)
    except ElementTree.ParseError as problem:
        raise SphinxError(f"formula {latex!r} makes no MathML ({problem}): write it in simpler LaTeX") from problem
    left = [command for command in ("\\", "&amp;") if command in converted]
    if left:
        raise SphinxError(f"formula {latex!r}: {left[0]} was not understood: write it in simpler LaTeX")
    return converted


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(mathml(node.astext(), "block"))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
