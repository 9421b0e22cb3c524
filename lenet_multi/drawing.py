"""What the drawn pictures share: a canvas that counts in points, text whose width is known, files with the same bytes.

A picture has one pair of axes over all of it, so that everything stands where its code says. Points are 1/72 inch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_multi.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg")
FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture is the same on every machine
# An opaque pale ground with dark ink reads well on a page of any color, and in print.
GROUND, INK, FAINT = "#f7f7f4", "#1d2733", "#4d5b6a"
MARGIN, LINE, TEXT_SIZE = 14.0, 12.0, 8.5  # points
TIMES = "\u00d7"


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many points, and axes that count in points from its lower left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=144, facecolor=GROUND)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width), ylim=(0, height), autoscale_on=False)
    axes.axis("off")
    return figure, axes


def draw_text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    size: float = TEXT_SIZE,
    color: str = INK,
    align: str = "center",
    weight: str = "normal",
    gid: str | None = None,
) -> None:
    """A line of text with its baseline at `y`; `gid` names it in the figure and in SVG."""
    style: dict[str, Any] = {"fontsize": size, "color": color, "weight": weight, "fontfamily": FONT, "gid": gid}
    axes.text(x, y, text, ha=align, va="baseline", parse_math=False, **style)


@cache
def text_width(text: str, size: float = TEXT_SIZE, bold: bool = False) -> float:
    """How wide a line of text will be, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text:
        return 0.0
    prop = FontProperties(family=FONT, weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=prop).get_extents().x1)


def require_picture_path(path: Path) -> None:
    """Check, before the work begins, that a picture can go to `--out`.

    Raises:
        UserError: when the name does not end in .png or .svg, its folder is not there, or it is a folder itself.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"--out '{path}', expected a name that ends in .png or .svg: choose another")
    if path.is_dir():
        raise UserError(f"--out '{path}' is a folder, expected the name of a file: choose another")
    if not path.parent.is_dir():
        raise UserError(f"--out '{path}': its folder is not there, expected one that is: make it first")


def picture(figure: Figure, ending: str, title: str, description: str) -> bytes:
    """The figure as the content of a PNG or SVG file; the same bytes each time, with the same matplotlib.

    Args:
        figure: what is drawn.
        ending: `.png` or `.svg`.
        title: the picture in a few words, which a browser shows under the pointer.
        description: what it tells, for readers who do not see it.
    """
    metadata: dict[str, Any] = {"Title": title, "Description": description}
    if ending.lower() == ".png":
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata=metadata)
        return buffer.getvalue()
    # A screen reader takes the name from <title> and the rest from <desc>, which matplotlib does not write.
    drawn = svg(figure, metadata).decode().replace("<svg ", '<svg role="img" ', 1)
    return drawn.replace("</title>", f"</title>\n <desc>{escape(description, quote=False)}</desc>", 1).encode()


def svg(figure: Figure, metadata: Mapping[str, Any]) -> bytes:
    """The figure as the content of an SVG file, letters as outlines; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    # Without a salt and without the date taken out, identifiers and date would be new each time.
    with matplotlib.rc_context({"svg.hashsalt": "lenet_multi", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={**metadata, "Date": None})
    return buffer.getvalue()
