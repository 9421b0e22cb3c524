"""Draws train loss, train accuracy and test accuracy over the epochs, as the chapter does."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.names import readable
from lenet_multi.system.stderr import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenet_multi.training.points import Point

PANELS = {"train_loss": "train loss", "train_acc": "train accuracy", "test_acc": "test accuracy"}
# Okabe and Ito's colors (2008), which color-blind readers can tell apart. Line styles differ too, for print.
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINE_STYLES = ("-", "--", "-.", ":")
LINE_MARKERS = ("o", "s", "^", "D", "v")
LEGEND_WIDTH = 130  # characters beside each other below three panels


@contextmanager
def plain_text() -> Iterator[None]:
    """Text that is put into a figure in this block is drawn as it is: a name with two `$` is not read as a formula."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):
        yield


@plain_text()
def draw_curves(points: Sequence[Point], num_epochs: int, title: str = "") -> Figure:
    """Return the curves as a matplotlib figure; needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), dpi=240, layout="constrained")
    axes = figure.subplots()
    plot_curves(axes, points, num_epochs, title)
    axes.legend()
    return figure


def plot_curves(axes: Axes, points: Sequence[Point], num_epochs: int, title: str = "") -> None:
    """Draw the curves in a panel of a figure."""
    epochs = [point.epoch for point in points]
    tested = [point for point in points if point.test_acc is not None]
    axes.plot(epochs, [point.train_loss for point in points], "-", label="train loss")
    axes.plot(epochs, [point.train_acc for point in points], "--", label="train acc")
    test_epochs, test_accs = [point.epoch for point in tested], [point.test_acc or 0.0 for point in tested]
    axes.plot(test_epochs, test_accs, "-.", marker="o", ms=3, clip_on=False, label="test acc")
    axes.set(xlabel="epoch", xlim=(0, max(num_epochs, 1)), ylim=(0, None), title=readable(title))
    axes.grid(alpha=0.4)


def line_style(number: int) -> dict[str, str]:
    """Return the color, line style and marker of a line by its number, from 0; the first sixty lines all differ."""
    return {
        "color": LINE_COLORS[number % len(LINE_COLORS)],
        "linestyle": LINE_STYLES[number % len(LINE_STYLES)],
        "marker": LINE_MARKERS[number % len(LINE_MARKERS)],
    }


@plain_text()
def draw_overlaid(
    runs: Mapping[str, Sequence[Point]], panels: Sequence[str] = tuple(PANELS), title: str = ""
) -> Figure:
    """Return a figure with the curves of several runs, one line per run in each panel; needs no display.

    Args:
        runs: legend text to the points of a run. `line_style` numbers the runs in this order.
        panels: keys of `PANELS`, to draw side by side. A figure of several panels has a legend below them.
        title: a line above the panels; none if empty.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels), 3 if len(panels) == 1 else 3.5), dpi=120, layout="constrained")
    last = max((points[-1].epoch for points in runs.values() if points), default=1.0)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (name, points) in enumerate(runs.items()):
            known = [point for point in points if getattr(point, panel) is not None]
            style = line_style(number)
            # Train curves have several points per epoch: mark only the end of each epoch.
            ends = [i for i, point in enumerate(known) if point.test_acc is not None]
            axes.plot(
                [point.epoch for point in known],
                [getattr(point, panel) for point in known],
                label=readable(name),
                ms=4,
                markevery=ends,
                **style,
            )
        axes.set(xlabel="epoch", ylabel=PANELS[panel], xlim=(0, last * 1.02))
        axes.grid(alpha=0.4)
    if len(panels) > 1 and runs:
        handles, names = figure.axes[0].get_legend_handles_labels()
        columns = LEGEND_WIDTH // (max(map(len, names)) + 7)  # the line before a name is as wide as 7 characters
        figure.legend(handles, names, loc="outside lower center", ncols=max(1, min(len(names), 6, columns)))
    if title:
        figure.suptitle(readable(title), fontsize="medium")
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as the content of a PNG file."""
    return saved(figure, "png")


def saved(figure: Figure, file_format: str, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return the figure as the content of a file of this format."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font has no such character and draws a box
        figure.savefig(buffer, format=file_format, metadata=metadata)
    return buffer.getvalue()


Drawn = TypeVar("Drawn")


def drawn_or_none(what: str, draw: Callable[[], Drawn]) -> Drawn | None:
    """What `draw` returns; if it fails, a warning and None: a figure shows nothing that is not in other files too."""
    try:
        return draw()
    except Exception as problem:  # whatever matplotlib raises
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        say(f"warning: {what} cannot be drawn ({reason})")
        return None


def write_figure(path: Path, draw: Callable[[], bytes]) -> None:
    """Write the picture that `draw` returns, if it can be drawn.

    Raises:
        UserError: when the file cannot be written.
    """
    content = drawn_or_none(f"'{path}'", draw)
    if content is not None:
        write_atomically(path, content)


def animation(num_epochs: int) -> Callable[[Sequence[Point]], None] | None:
    """Return a function that redraws the curves below the running cell of a notebook; None outside notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):  # a plain IPython terminal cannot show pictures
        return None
    from IPython.display import Image, display

    handle = None

    def show(points: Sequence[Point]) -> None:
        nonlocal handle
        image = Image(data=png(draw_curves(points, num_epochs)), width=600)
        if handle is None:
            handle = display(image, display_id=True)
        else:
            handle.update(image)

    return show
