"""The curves in the report: drawn by matplotlib at first, and as points from which the page's script draws others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lenet_multi.comparison.findings import ComparedNetwork
from lenet_multi.pictures.canvas import svg
from lenet_multi.training.curves import LINE_COLORS, PANELS, draw_overlaid, line_style
from lenet_multi.training.points import Point, rounded, thinned

MOST_LINES = 24  # runs that the script draws at once; their lines all differ
MOST_POINTS = 300  # of a run that the script draws

DASHES = {"-": "none", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}
# Markers four units wide, as paths that begin in the middle.
MARKERS = {
    "o": "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z",
    "s": "m-2-2h4v4h-4z",
    "^": "m0-2l2 4h-4z",
    "D": "m0-2.8l2.8 2.8-2.8 2.8-2.8-2.8z",
    "v": "m0 2l2-4h-4z",
}


def inline_panel(networks: Sequence[ComparedNetwork], panel: str) -> str:
    """A panel of the curves as an SVG element with a transparent background, in the color of the page's text."""
    from matplotlib import rc_context

    ink = "#010203"  # a color used nowhere else, to be replaced
    parts = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {**dict.fromkeys(parts, ink), "figure.facecolor": "none", "axes.facecolor": "none"}
    with rc_context(settings):
        figure = draw_overlaid({net.title: net.points for net in networks}, [panel])
        drawn = svg(figure, dict.fromkeys(("Creator", "Format", "Type"))).decode()  # without matplotlib's links
    element = drawn[drawn.index("<svg ") :].replace(ink, "currentColor")
    # HTML does not need the namespaces.
    for namespace in (' xmlns:xlink="http://www.w3.org/1999/xlink"', ' xmlns="http://www.w3.org/2000/svg"'):
        element = element.replace(namespace, "", 1)
    # On a dark background the page makes these colors brighter.
    for number, color in enumerate(LINE_COLORS, start=1):
        element = element.replace(color, f"var(--line-{number})")
    return element


def svg_line(number: int) -> dict[str, str]:
    """The line with this number: the page's color for it, and the dashes and the marker's path in SVG."""
    style = line_style(number)
    color = f"var(--line-{number % len(LINE_COLORS) + 1})"
    return {"color": color, "dashes": DASHES[style["linestyle"]], "marker": MARKERS[style["marker"]]}


def curves(points: Sequence[Point]) -> list[list[float | None]]:
    """The epochs of a run's points, and their values in each panel."""
    kept = thinned(points, MOST_POINTS)
    return [[rounded(getattr(point, name)) for point in kept] for name in ("epoch", *PANELS)]
