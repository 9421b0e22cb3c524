"""The chapter's figure: train loss, train accuracy and test accuracy over the epochs."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenet_multi.recorder import Point

PANELS = {"train_loss": "train loss", "train_acc": "train accuracy", "test_acc": "test accuracy"}
# Okabe and Ito's colors (2008), which color-blind people tell apart; each has a line style too, for print and for all.
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINE_STYLES = ("-", "--", "-.", ":")
LINE_MARKERS = ("o", "s", "^", "D", "v")


def draw_curves(points: Sequence[Point], num_epochs: int, title: str = "") -> Figure:
    """A matplotlib figure of the curves; it needs no screen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    plot_curves(axes, points, num_epochs, title)
    axes.legend()
    return figure


def plot_curves(axes: Axes, points: Sequence[Point], num_epochs: int, title: str = "") -> None:
    """The curves in a panel of a figure."""
    epochs = [point.epoch for point in points]
    tested = [point for point in points if point.test_acc is not None]
    axes.plot(epochs, [point.train_loss for point in points], "-", label="train loss")
    axes.plot(epochs, [point.train_acc for point in points], "--", label="train acc")
    test_epochs, test_accs = [point.epoch for point in tested], [point.test_acc or 0.0 for point in tested]
    axes.plot(test_epochs, test_accs, "-.", marker="o", ms=3, clip_on=False, label="test acc")
    axes.set(xlabel="epoch", xlim=(0, max(num_epochs, 1)), ylim=(0, None), title=title)
    axes.grid(alpha=0.4)


def line_style(number: int) -> dict[str, str]:
    """Color, line style and marker of the line with this number, counted from 0; the first sixty all differ."""
    return {
        "color": LINE_COLORS[number % len(LINE_COLORS)],
        "linestyle": LINE_STYLES[number % len(LINE_STYLES)],
        "marker": LINE_MARKERS[number % len(LINE_MARKERS)],
    }


def draw_overlaid(runs: Mapping[str, Sequence[Point]], panels: Sequence[str] = tuple(PANELS)) -> Figure:
    """The curves of several runs in the same panels, a line for each run; it needs no screen.

    Args:
        runs: the legend's text to the points of the run, in the order of `line_style`.
        panels: which of `PANELS` to draw, side by side. Where there are several, a legend stands below them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels), 3 if len(panels) == 1 else 3.5), dpi=120, layout="constrained")
    last = max((points[-1].epoch for points in runs.values() if points), default=1.0)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (name, points) in enumerate(runs.items()):
            known = [point for point in points if getattr(point, panel) is not None]
            style = line_style(number)
            # Train curves have several points an epoch: the marker at each epoch's end is enough.
            ends = [i for i, point in enumerate(known) if point.test_acc is not None]
            axes.plot(
                [point.epoch for point in known],
                [getattr(point, panel) for point in known],
                label=name,
                ms=4,
                markevery=ends,
                **style,
            )
        axes.set(xlabel="epoch", ylabel=PANELS[panel], xlim=(0, last * 1.02))
        axes.grid(alpha=0.4)
    if len(panels) > 1 and runs:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6))
    return figure


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def animation(num_epochs: int) -> Callable[[Sequence[Point]], None] | None:
    """What redraws the figure in place under a notebook's running cell; None outside notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):  # a plain IPython terminal cannot show pictures
        return None
    from IPython.display import Image, display

    handle = None

    def show(points: Sequence[Point]) -> None:
        nonlocal handle
        image = Image(data=png(draw_curves(points, num_epochs)))
        if handle is None:
            handle = display(image, display_id=True)
        else:
            handle.update(image)

    return show
