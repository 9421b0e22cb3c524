"""The pictures of the network, drawn from its description each time the site is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from lenet_multi import PRESETS
from lenet_multi.diagram import NOTATIONS, in_words
from lenet_multi.drawing import picture

FOLDER = "generated"


def draw(app: Sphinx) -> None:
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    architecture = PRESETS["lenet5"]
    for notation, drawing in NOTATIONS.items():
        title = f"The network {architecture.name}, {notation} notation"
        content = picture(drawing(architecture), ".svg", title, in_words(architecture))
        (folder / f"{architecture.name}-{notation}.svg").write_bytes(content)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
