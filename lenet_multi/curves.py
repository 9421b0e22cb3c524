"""The chapter's figure: train loss, train accuracy and test accuracy over the epochs."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenet_multi.recorder import Point


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
