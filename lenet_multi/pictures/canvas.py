"""A canvas that counts in points, text of known width, and picture files with reproducible bytes.

One pair of axes covers the whole picture: coordinates in the code are positions in the picture. A point is 1/72 inch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.names import readable
from lenet_multi.system.output_path import require_output_path
from lenet_multi.training.curves import plain_text, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg")
FONT = "DejaVu Sans"  # comes with matplotlib, so pictures are the same on every machine
# An opaque pale background with dark ink is readable on a page of any color, and in print.
BACKGROUND, INK, FAINT = "#f7f7f4", "#1d2733", "#4d5b6a"
MARGIN, LINE, TEXT_SIZE = 14.0, 12.0, 8.5  # points
SOFTWARE = "lenet_multi pictures"  # marks the files that this package wrote
TIMES = "\u00d7"


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in points, and axes that count in points from its lower left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=144, facecolor=BACKGROUND)
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
    """Draw a line of text with its baseline at `y`; `gid` names it in the figure and in SVG."""
    style: dict[str, Any] = {"fontsize": size, "color": color, "weight": weight, "fontfamily": FONT, "gid": gid}
    axes.text(x, y, readable(text), ha=align, va="baseline", parse_math=False, **style)


@cache
def text_width(text: str, size: float = TEXT_SIZE, bold: bool = False) -> float:
    """The width of a line of text, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text:
        return 0.0
    prop = FontProperties(family=FONT, weight="bold" if bold else "normal")
    with plain_text():
        return float(TextPath((0, 0), readable(text), size=size, prop=prop).get_extents().x1)


def require_picture_path(path: Path) -> None:
    """Check, before the work starts, that a picture can be written to `--out`.

    Raises:
        UserError: when the name does not end in .png or .svg, its folder does not exist, or it is a folder itself, or a
            file that this package did not write.
    """
    require_output_path(path, ENDINGS, SOFTWARE)


def write_picture(path: Path, figure: Figure, title: str, description: str) -> None:
    """Write a figure to a PNG or SVG file, completely or not at all.

    Args:
        path: ends in .png or .svg.
        figure: the figure.
        title: a few words, which a browser shows as a tooltip.
        description: the content in words, for readers who cannot see it.
    """
    write_atomically(path, picture(figure, path.suffix, title, description))


def picture(figure: Figure, ending: str, title: str, description: str) -> bytes:
    """The content of a PNG or SVG file; with the same matplotlib, the same figure gives the same bytes.

    Args:
        figure: the figure.
        ending: `.png` or `.svg`.
        title: a few words, which a browser shows as a tooltip.
        description: the content in words, for readers who cannot see it.
    """
    description = readable(description)
    metadata: dict[str, Any] = {"Title": readable(title), "Description": description}
    if ending.lower() == ".png":
        return saved(figure, "png", {**metadata, "Software": SOFTWARE})
    # Screen readers read <title> and <desc>; matplotlib does not write <desc>.
    drawn = svg(figure, {**metadata, "Creator": SOFTWARE}).decode().replace("<svg ", '<svg role="img" ', 1)
    return drawn.replace("</title>", f"</title>\n <desc>{escape(description, quote=False)}</desc>", 1).encode()


def svg(figure: Figure, metadata: Mapping[str, Any]) -> bytes:
    """The content of an SVG file, with text as outlines; the same figure gives the same bytes."""
    import matplotlib

    # A fixed salt and no date: otherwise identifiers and date change each time.
    with matplotlib.rc_context({"svg.hashsalt": "lenet_multi", "svg.fonttype": "path"}):
        return saved(figure, "svg", {**metadata, "Date": None})
