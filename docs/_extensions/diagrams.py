"""Draws the network diagrams from the network's description, each time the site is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from lenet_multi import PRESETS
from lenet_multi.pictures.canvas import picture
from lenet_multi.pictures.network_diagram import NOTATIONS, describe

FOLDER = "generated"


def draw(app: Sphinx) -> None:
    """Write one SVG file per notation to `generated/` in the source folder."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    architecture = PRESETS["lenet5"]
    for notation, drawing in NOTATIONS.items():
        title = f"The network {architecture.name}, {notation} notation"
        content = picture(drawing(architecture), ".svg", title, describe(architecture))
        (folder / f"{architecture.name}-{notation}.svg").write_bytes(content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
