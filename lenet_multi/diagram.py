"""Draw a network from its description.

    python -m lenet_multi.diagram --out lenet.svg
    python -m lenet_multi.diagram --notation compressed --architecture lenet5-max --out lenet.png

The same description gives the same bytes with the same matplotlib, so that a picture can be committed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from math import log2
from typing import TYPE_CHECKING, Any

from lenet_multi.architecture import PRESETS, Architecture, Conv, Dense, Flatten, Layer, Pool, Shape, kind_of
from lenet_multi.cli import Parser, add_network_options, architecture_from, run_command, some_path
from lenet_multi.drawing import (
    FAINT,
    INK,
    LINE,
    MARGIN,
    TIMES,
    canvas,
    draw_text,
    picture,
    require_picture_path,
    text_width,
)
from lenet_multi.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PLANES = 16  # drawn of a stack of feature maps

FILLS = {"input": "#d5d9de", "conv": "#a9cbe8", "pool": "#b5dcc0", "flatten": "#e3d3ea", "dense": "#f5cf9f"}
EDGES = {"input": "#6b7580", "conv": "#2f6ea5", "pool": "#3b8553", "flatten": "#80559a", "dense": "#b06f14"}

# In points, as everything drawn.
TEXT_GAP, NAME_SIZE = 9.0, 9.0
LARGEST_PLANE, SMALLEST_SIDE = 84.0, 4.0
LARGEST_BAR, SMALLEST_BAR, BAR_WIDTH = 128.0, 12.0, 8.0
GAP = 30.0  # between two stacks, at least
BOX_HEIGHT, BOX_GAP, BOX_PADDING = 22.0, 14.0, 14.0


def shape_text(shape: Shape) -> str:
    """`(6, 28, 28)`, and `(120)` for a shape of one dimension."""
    return f"({', '.join(map(str, shape))})"


def operation_lines(layer: Layer) -> list[str]:
    """What a layer does, a few words a line: window, padding or stride, activation."""
    match layer:
        case Conv(_, size, padding):
            lines = [f"{size}{TIMES}{size} conv", *([f"pad {padding}"] if padding else [])]
        case Pool(kind, size, stride):
            return [f"{size}{TIMES}{size} {kind} pool", f"stride {stride}"]
        case Flatten():
            return ["flatten"]
        case Dense():
            lines = ["dense"]
    return [*lines, *([layer.activation] if layer.activation else [])]


def box_text(layer: Layer) -> str:
    """A layer in the compressed notation, in a few words, its channels or units in brackets."""
    match layer:
        case Conv(channels, size, padding):
            return f"{size}{TIMES}{size} conv ({channels})" + (f", pad {padding}" if padding else "")
        case Pool(kind, size, stride):
            return f"{size}{TIMES}{size} {kind} pool, stride {stride}"
        case Flatten():
            return "flatten"
        case Dense(units):
            return f"FC ({units})"


def in_words(architecture: Architecture) -> str:
    """The network as a sentence, for readers who do not see its picture."""
    parts = [f"An image of shape {shape_text(architecture.input_shape)}"]
    shapes = architecture.output_shapes
    parts += [
        f"{name} ({', '.join(operation_lines(layer))}) gives {shape_text(shapes[name])}"
        for name, layer in architecture.named_layers.items()
    ]
    return f"{'; '.join(parts)}, the logits. {_size_text(architecture)}."


def _size_text(architecture: Architecture) -> str:
    return f"{architecture.num_parameters:,} parameters, {architecture.multiply_adds:,} multiply-adds per image"


def draw_data_flow(architecture: Architecture) -> Figure:
    """Feature maps as stacked planes from left to right, each with its shape, and between them what is done.

    Sides of planes and bars grow with their sizes, but less than in proportion. A stack of more than `MAX_PLANES`
    channels is drawn with so many planes, and a line says so. In each plane the window and the one number that the
    operation makes of it are drawn where they are.
    """
    shapes = {"input": architecture.input_shape, **architecture.output_shapes}
    drawn = [_Drawn(name, shape, architecture) for name, shape in shapes.items()]
    operations = [operation_lines(layer) for layer in architecture.layers]

    names = [(item.name, shape_text(item.shape)) for item in drawn]
    name_widths = [max(text_width(name, NAME_SIZE, bold=True), text_width(text)) for name, text in names]
    drawn_end = _place(drawn, name_widths, [max(map(text_width, lines)) for lines in operations])
    notes = [f"{architecture.name}: {_size_text(architecture)}"]
    if any(item.planes < item.shape[0] for item in drawn if item.is_stack):
        notes.append(f"stacks of more than {MAX_PLANES} channels are drawn with {MAX_PLANES} planes")
    note_end = MARGIN + max(text_width(note) for note in notes)

    tallest = max(item.height for item in drawn)
    width = max(drawn_end, note_end) + MARGIN
    notes_height = LINE * (len(notes) + 0.5)
    operations_height = LINE * (max(map(len, operations)) + 0.5)
    center = MARGIN + notes_height + operations_height + tallest / 2
    height = center + tallest / 2 + 2 * LINE + 10 + MARGIN
    figure, axes = canvas(width, height)
    for item in drawn:
        item.draw(axes, center)
    for i, (name, layer) in enumerate(architecture.named_layers.items()):
        before, item = drawn[i], drawn[i + 1]
        if before.is_stack and item.is_stack:
            _draw_window(axes, before, item, layer, low=i % 2 == 1)
        else:
            _draw_fan(axes, before, item, full=isinstance(layer, Dense))
        top = MARGIN + notes_height + operations_height - LINE
        for line in operations[i]:
            draw_text(axes, (before.right + item.left) / 2, top, line, gid=f"{name} operation")
            top -= LINE
    for item, (name, text) in zip(drawn, names, strict=True):
        draw_text(
            axes, item.middle, height - MARGIN - LINE, name, size=NAME_SIZE, weight="bold", gid=f"{item.name} name"
        )
        draw_text(axes, item.middle, height - MARGIN - 2 * LINE, text, gid=f"{item.name} shape")
    for i, note in enumerate(reversed(notes)):
        draw_text(axes, MARGIN, MARGIN + LINE * i, note, color=FAINT, align="left")
    return figure


def draw_compressed(architecture: Architecture) -> Figure:
    """A box for each layer, from the image at the bottom to the logits at the top; beside it shape and activation."""
    texts = [f"image {shape_text(architecture.input_shape)}", *map(box_text, architecture.layers)]
    kinds = ["input", *map(kind_of, architecture.layers)]
    notes = [""]
    for name, layer in architecture.named_layers.items():
        activation = layer.activation if isinstance(layer, Conv | Dense) else None
        notes.append(shape_text(architecture.output_shapes[name]) + (f", {activation}" if activation else ""))
    notes[-1] += ", the logits"
    footer = [architecture.name, *_size_text(architecture).split(", ")]
    box_width = max(text_width(text, NAME_SIZE) for text in texts) + 2 * BOX_PADDING
    width = MARGIN + box_width + 10 + max(text_width(note) for note in notes) + MARGIN
    width = max(width, 2 * MARGIN + max(text_width(line) for line in footer))
    bottom = MARGIN + LINE * (len(footer) + 0.5)
    height = bottom + len(texts) * (BOX_HEIGHT + BOX_GAP) - BOX_GAP + MARGIN
    figure, axes = canvas(width, height)
    from matplotlib.patches import FancyBboxPatch

    names = ["input", *architecture.named_layers]
    for name, text, kind, note in zip(names, texts, kinds, notes, strict=True):
        if name != "input":
            start, end = (MARGIN + box_width / 2, bottom - BOX_GAP), (MARGIN + box_width / 2, bottom)
            arrow = {"arrowstyle": "-|>", "color": INK, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
            axes.annotate("", end, start, arrowprops=arrow)
        box = FancyBboxPatch(
            (MARGIN + 3, bottom + 3),
            box_width - 6,
            BOX_HEIGHT - 6,
            boxstyle="round,pad=3",
            fc=FILLS[kind],
            ec=EDGES[kind],
            lw=1,
        )
        axes.add_patch(box)
        baseline = bottom + BOX_HEIGHT / 2 - NAME_SIZE * 0.36
        draw_text(axes, MARGIN + box_width / 2, baseline, text, size=NAME_SIZE, gid=f"{name} box")
        draw_text(axes, MARGIN + box_width + 10, baseline, note, color=FAINT, align="left", gid=f"{name} note")
        bottom += BOX_HEIGHT + BOX_GAP
    for i, line in enumerate(reversed(footer)):
        draw_text(axes, MARGIN, MARGIN + LINE * i, line, color=FAINT, align="left")
    return figure


NOTATIONS: dict[str, Callable[[Architecture], Figure]] = {"data-flow": draw_data_flow, "compressed": draw_compressed}


class _Drawn:
    """A stack of feature maps, or a bar for a vector; `left` and `center` say where it stands."""

    left = center = 0.0

    def __init__(self, name: str, shape: Shape, architecture: Architecture) -> None:
        self.name, self.shape = name, shape
        self.kind = "input" if name == "input" else kind_of(architecture.named_layers[name])
        self.is_stack = len(shape) == 3
        if self.is_stack:
            largest = max(max(s[1:]) for s in [architecture.input_shape, *architecture.output_shapes.values()] if s[1:])
            channels, rows, columns = shape
            scale = LARGEST_PLANE * (max(rows, columns) / largest) ** 0.7 / max(rows, columns)
            self.plane_width, self.plane_height = max(columns * scale, SMALLEST_SIDE), max(rows * scale, SMALLEST_SIDE)
            self.planes = min(channels, MAX_PLANES)
            self.depth = 6 * log2(channels)
        else:
            longest = max(s[0] for s in architecture.output_shapes.values() if len(s) == 1)
            self.plane_width = BAR_WIDTH
            self.plane_height = max(LARGEST_BAR * (shape[0] / longest) ** 0.45, SMALLEST_BAR)
            self.planes, self.depth = 1, 0.0
        self.width, self.height = self.plane_width + self.depth, self.plane_height + self.depth

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def front(self) -> tuple[float, float]:
        """The upper left corner of the plane in front, which is the lower right one."""
        return self.left + self.depth, self.center + self.height / 2 - self.depth

    def draw(self, axes: Axes, center: float) -> None:
        """The planes, those behind first."""
        from matplotlib.patches import Rectangle

        self.center = center
        for i in range(self.planes):
            shift = self.depth * i / (self.planes - 1) if self.planes > 1 else 0.0
            corner = self.left + shift, center + self.height / 2 - shift - self.plane_height
            plane = Rectangle(corner, self.plane_width, self.plane_height, fc=FILLS[self.kind], ec=EDGES[self.kind])
            plane.set(linewidth=0.7, gid=f"{self.name} plane")
            axes.add_patch(plane)

    def cells(self, row: float, column: float, rows: float, columns: float) -> tuple[float, float, float, float]:
        """The part of the front plane that these rows and columns take up: left, top, width, height."""
        x, y = self.front
        cell_width, cell_height = self.plane_width / self.shape[2], self.plane_height / self.shape[1]
        return x + column * cell_width, y - row * cell_height, columns * cell_width, rows * cell_height


def _place(drawn: Sequence[_Drawn], name_widths: Sequence[float], operation_widths: Sequence[float]) -> float:
    """Put each as near to the one before as the names above and the operations below let it come; give the end."""
    drawn[0].left = MARGIN + max(0.0, (name_widths[0] - drawn[0].width) / 2)
    end = 0.0  # of the operation before, which stands in the middle of its gap
    for i, half in enumerate(width / 2 for width in operation_widths):
        before, item = drawn[i], drawn[i + 1]
        names_apart = before.middle + name_widths[i] / 2 + TEXT_GAP + (name_widths[i + 1] - item.width) / 2
        operations_apart = 2 * (end + TEXT_GAP + half) - before.right
        item.left = max(before.right + GAP, names_apart, operations_apart)
        end = (before.right + item.left) / 2 + half
    return max(end, drawn[-1].middle + max(drawn[-1].width, name_widths[-1]) / 2)


def _draw_window(axes: Axes, before: _Drawn, item: _Drawn, layer: Layer, low: bool) -> None:
    """The window of one output number in the layer's input, and lines from it to that number."""
    from matplotlib.patches import Rectangle

    assert isinstance(layer, Conv | Pool)
    stride, padding = (1, layer.padding) if isinstance(layer, Conv) else (layer.stride, 0)
    # High and low in turn, so that what comes into a plane and what goes out of it lie apart.
    at = 0.7 if low else 0.3
    spans = []
    for size, outputs in zip(before.shape[1:], item.shape[1:], strict=True):
        index = min(int(at * outputs), outputs - 1)
        first = index * stride - padding
        # What lies in the padding is not drawn.
        start, end = (min(max(edge, 0), size) for edge in (first, first + layer.kernel_size))
        spans.append((index, start, end - start))
    (row, top, rows), (column, left, columns) = spans
    x, y, width, height = before.cells(top, left, rows, columns)
    to_x, to_y, to_width, to_height = item.cells(row, column, 1, 1)
    style: dict[str, Any] = {"lw": 0.7, "color": INK}
    axes.add_patch(
        Rectangle((x, y - height), width, height, fc="white", ec=INK, lw=0.8, alpha=0.75, gid=f"{item.name} window")
    )
    axes.add_patch(
        Rectangle(
            (to_x, to_y - to_height), to_width, to_height, fc=INK, ec=INK, lw=0.5, zorder=3, gid=f"{item.name} number"
        )
    )
    for start_y, end_y in ((y, to_y), (y - height, to_y - to_height)):
        axes.plot([x + width, to_x], [start_y, end_y], **style)


def _draw_fan(axes: Axes, before: _Drawn, item: _Drawn, full: bool) -> None:
    """From everything before to everything after; with crossing lines where each depends on all (`full`)."""
    x, y = before.front
    starts = [(x + before.plane_width, y), (x + before.plane_width, y - before.plane_height)]
    end_x, end_y = item.front
    ends = [(end_x, end_y), (end_x, end_y - item.plane_height)]
    pairs = [(s, e) for i, s in enumerate(starts) for j, e in enumerate(ends) if full or i == j]
    for (start_x, start_y), (to_x, to_y) in pairs:
        axes.plot([start_x, to_x], [start_y, to_y], lw=0.7, color=INK if full else FAINT, ls="-" if full else "--")


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.diagram", description="Draw a network from its description.")
    parser.add_argument("--out", type=some_path, required=True, metavar="FILE", help="the picture (.png or .svg)")
    parser.add_argument(
        "--notation",
        choices=NOTATIONS,
        default="data-flow",
        help="data-flow: feature maps with their shapes, from left to right; "
        "compressed: a box for each layer, from the bottom to the top (data-flow)",
    )
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    require_picture_path(args.out)
    architecture = architecture_from(args) or PRESETS["lenet5"]
    title = f"The network {architecture.name}, {args.notation} notation"
    figure = NOTATIONS[args.notation](architecture)
    write_whole(args.out, picture(figure, args.out.suffix, title, in_words(architecture)))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
