"""The report of a comparison: one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lenet_multi.backends import BACKENDS
from lenet_multi.checks.parity_table import cell
from lenet_multi.comparison.findings import EXAMINED, confusion_matrix
from lenet_multi.comparison.page_curves import MOST_LINES, curves, inline_panel, svg_line
from lenet_multi.comparison.plan import Plan, RunSpec
from lenet_multi.comparison.results import Comparison
from lenet_multi.system.html_page import content_policy, template_environment
from lenet_multi.training.curves import LINE_COLORS, PANELS, drawn_or_none

PICTURES = 12  # misclassified examples shown per network
PICTURES_OF_PAIR = 12  # examples shown per pair of networks that disagree
LISTED = 200  # indices of examples listed per pair
SCRIPT = Path(__file__).with_name("report.js")


def page(comparison: Comparison) -> str:
    """The report as HTML; styles, script, curves and images are embedded, and nothing is loaded from elsewhere."""
    findings, script = comparison.findings, SCRIPT.read_text(encoding="utf-8")
    networks, labels = findings.examined, findings.labels
    template = template_environment("lenet_multi.comparison").get_template("report.html.j2")
    return template.render(
        comparison=comparison,
        findings=findings,
        policy=content_policy(script),
        script=script,
        data=_script_data(comparison),
        filters=_settings_of(comparison) if len(comparison.results) > EXAMINED else {},
        cell=cell,
        frameworks=BACKENDS,
        line_colors=" ".join(f"--line-{number}: {color};" for number, color in enumerate(LINE_COLORS, start=1)),
        panels=[
            (title, drawn_or_none(f"'{title}' in the report", partial(inline_panel, networks, panel)))
            for panel, title in PANELS.items()
        ],
        lines=[svg_line(number) for number in range(len(networks))],
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


def _script_data(comparison: Comparison) -> dict[str, object]:
    """What the page's script sorts by, filters by and draws: for each row of the table, in its order."""
    networks = {net.name: net for net in comparison.findings.networks}
    examined = {net.name: number for number, net in enumerate(comparison.findings.examined)}
    settings = _settings_of(comparison)
    return {
        "settings": [{"name": name, "values": values} for name, values in settings.items()],
        "runs": [
            {
                "name": result.spec.name,
                "settings": [settings[name].index(value) for name, value in _settings(comparison.plan, result.spec)],
                "values": result.values,
                "curves": curves(networks[result.spec.name].points) if result.spec.name in networks else None,
                "line": examined.get(result.spec.name),
            }
            for result in comparison.results
        ],
        "panels": list(PANELS.values()),
        "lines": [svg_line(number) for number in range(MOST_LINES)],
    }


def _settings(plan: Plan, spec: RunSpec) -> Iterator[tuple[str, str]]:
    """What distinguishes a run from the others: its framework, if there are several, and its varied options."""
    if len(plan.backends) > 1:
        yield "framework", BACKENDS[spec.backend]
    yield from spec.varied.items()


def _settings_of(comparison: Comparison) -> dict[str, list[str]]:
    """The settings that distinguish the runs, each with its values in the order in which the runs have them."""
    values: dict[str, dict[str, None]] = {}
    for result in comparison.results:
        for name, value in _settings(comparison.plan, result.spec):
            values.setdefault(name, {})[value] = None
    return {name: list(found) for name, found in values.items()}
