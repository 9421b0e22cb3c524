"""The report of a comparison: one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from lenet_multi.backends import BACKENDS
from lenet_multi.checks.parity_table import cell
from lenet_multi.comparison.findings import ComparedNetwork, confusion_matrix
from lenet_multi.comparison.results import Comparison
from lenet_multi.pictures.canvas import svg
from lenet_multi.training.curves import LINE_COLORS, PANELS, draw_overlaid, drawn_or_none, line_style

PICTURES = 12  # misclassified examples shown per network
PICTURES_OF_PAIR = 12  # examples shown per pair of networks that disagree
LISTED = 200  # indices of examples listed per pair


def page(comparison: Comparison) -> str:
    """The report as HTML; styles, curves and images are embedded, and nothing is loaded from elsewhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lenet_multi.comparison", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    findings = comparison.findings
    networks, labels = findings.networks, findings.labels
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        findings=findings,
        cell=cell,
        frameworks=BACKENDS,
        line_colors=" ".join(f"--line-{number}: {color};" for number, color in enumerate(LINE_COLORS, start=1)),
        panels=[
            (title, drawn_or_none(f"'{title}' in the report", partial(_inline_panel, networks, panel)))
            for panel, title in PANELS.items()
        ],
        legend=[(net.title, _swatch(number)) for number, net in enumerate(networks)],
        confusions=[(net, confusion_matrix(labels, net.predicted, findings.dataset.num_classes)) for net in networks],
        classes=findings.dataset.class_names,
        labels=labels,
        pictures=PICTURES,
        pictures_of_pair=PICTURES_OF_PAIR,
        listed=LISTED,
        by_name={net.name: net for net in networks},
        picture=lambda number: data_uri(findings.dataset.test.scaled(number)),
    )


def data_uri(image: np.ndarray) -> str:
    """An image (C, H, W) with pixels in [0, 1], of one or three channels, as a PNG in a data URI."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    imsave(buffer, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _inline_panel(networks: Sequence[ComparedNetwork], panel: str) -> str:
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


def _swatch(number: int) -> dict[str, str]:
    """The line with this number in the legend: the page's color for it, and the dashes of an SVG line."""
    dashes = {"-": "none", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}
    color = f"var(--line-{number % len(LINE_COLORS) + 1})"
    return {"color": color, "dashes": dashes[line_style(number)["linestyle"]]}
