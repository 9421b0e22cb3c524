"""Draws a network from its description, in two notations.

The same description gives the same bytes with the same version of matplotlib, so pictures can be committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2
from typing import TYPE_CHECKING, Any

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Layer, Pool, Shape, kind_of
from lenet_multi.pictures.canvas import (
    FAINT,
    INK,
    LINE,
    MARGIN,
    TIMES,
    canvas,
    draw_text,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PLANES = 16  # largest number of planes in a stack of feature maps

FILLS = {"input": "#d5d9de", "conv": "#a9cbe8", "pool": "#b5dcc0", "flatten": "#e3d3ea", "dense": "#f5cf9f"}
EDGES = {"input": "#6b7580", "conv": "#2f6ea5", "pool": "#3b8553", "flatten": "#80559a", "dense": "#b06f14"}

# All lengths are in points.
TEXT_GAP, NAME_SIZE = 9.0, 9.0
LARGEST_PLANE, SMALLEST_SIDE = 84.0, 4.0
LARGEST_BAR, SMALLEST_BAR, BAR_WIDTH = 128.0, 12.0, 8.0
GAP = 30.0  # smallest distance between two stacks
BOX_HEIGHT, BOX_GAP, BOX_PADDING = 22.0, 14.0, 14.0


def shape_text(shape: Shape) -> str:
    """Return a shape as text: `(6, 28, 28)`, or `(120)` for one dimension."""
    return f"({', '.join(map(str, shape))})"


def operation_lines(layer: Layer) -> list[str]:
    """Return a layer's operation in short lines: window, padding or stride, activation."""
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
    """Return a layer's text in the compressed notation, with its channels or units in parentheses."""
    match layer:
        case Conv(channels, size, padding):
            return f"{size}{TIMES}{size} conv ({channels})" + (f", pad {padding}" if padding else "")
        case Pool(kind, size, stride):
            return f"{size}{TIMES}{size} {kind} pool, stride {stride}"
        case Flatten():
            return "flatten"
        case Dense(units):
            return f"FC ({units})"


def describe(architecture: Architecture) -> str:
    """Return the network as a sentence, for readers who cannot see the picture."""
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
    """Draw feature maps as stacked planes from left to right, with their shapes and the operations between them.

    Larger feature maps and vectors are drawn larger, but less than proportionally. A stack of more than `MAX_PLANES`
    channels is drawn with `MAX_PLANES` planes, and a line says so. The picture shows one window of each operation and
    the output number that it produces.
    """
    shapes = {"input": architecture.input_shape, **architecture.output_shapes}
    items = [_Item(name, shape, architecture) for name, shape in shapes.items()]
    operations = [operation_lines(layer) for layer in architecture.layers]

    names = [(item.name, shape_text(item.shape)) for item in items]
    name_widths = [max(text_width(name, NAME_SIZE, bold=True), text_width(text)) for name, text in names]
    items_end = _place(items, name_widths, [max(map(text_width, lines)) for lines in operations])
    notes = [f"{architecture.name}: {_size_text(architecture)}"]
    if any(item.planes < item.shape[0] for item in items if item.is_stack):
        notes.append(f"stacks of more than {MAX_PLANES} channels are drawn with {MAX_PLANES} planes")
    note_end = MARGIN + max(text_width(note) for note in notes)

    tallest = max(item.height for item in items)
    width = max(items_end, note_end) + MARGIN
    notes_height = LINE * (len(notes) + 0.5)
    operations_height = LINE * (max(map(len, operations)) + 0.5)
    center = MARGIN + notes_height + operations_height + tallest / 2
    height = center + tallest / 2 + 2 * LINE + 10 + MARGIN
    figure, axes = canvas(width, height)
    for item in items:
        item.draw(axes, center)
    for i, (name, layer) in enumerate(architecture.named_layers.items()):
        before, item = items[i], items[i + 1]
        if before.is_stack and item.is_stack:
            _draw_window(axes, before, item, layer, low=i % 2 == 1)
        else:
            _draw_fan(axes, before, item, full=isinstance(layer, Dense))
        top = MARGIN + notes_height + operations_height - LINE
        for line in operations[i]:
            draw_text(axes, (before.right + item.left) / 2, top, line, gid=f"{name} operation")
            top -= LINE
    for item, (name, text) in zip(items, names, strict=True):
        draw_text(
            axes, item.middle, height - MARGIN - LINE, name, size=NAME_SIZE, weight="bold", gid=f"{item.name} name"
        )
        draw_text(axes, item.middle, height - MARGIN - 2 * LINE, text, gid=f"{item.name} shape")
    for i, note in enumerate(reversed(notes)):
        draw_text(axes, MARGIN, MARGIN + LINE * i, note, color=FAINT, align="left")
    return figure


def draw_compressed(architecture: Architecture) -> Figure:
    """Draw a box for each layer, from the image at the bottom up to the logits, with shape and activation beside it."""
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


class _Item:
    """A stack of feature maps, or a bar for a vector; `left` and `center` are its position."""

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
        """The upper left corner of the front plane, the lowest and rightmost plane of the stack."""
        return self.left + self.depth, self.center + self.height / 2 - self.depth

    def draw(self, axes: Axes, center: float) -> None:
        """Draw the planes, from back to front."""
        from matplotlib.patches import Rectangle

        self.center = center
        for i in range(self.planes):
            shift = self.depth * i / (self.planes - 1) if self.planes > 1 else 0.0
            corner = self.left + shift, center + self.height / 2 - shift - self.plane_height
            plane = Rectangle(corner, self.plane_width, self.plane_height, fc=FILLS[self.kind], ec=EDGES[self.kind])
            plane.set(linewidth=0.7, gid=f"{self.name} plane")
            axes.add_patch(plane)

    def cells(self, row: float, column: float, rows: float, columns: float) -> tuple[float, float, float, float]:
        """Return the left, top, width and height of these rows and columns in the front plane."""
        x, y = self.front
        cell_width, cell_height = self.plane_width / self.shape[2], self.plane_height / self.shape[1]
        return x + column * cell_width, y - row * cell_height, columns * cell_width, rows * cell_height


def _place(items: Sequence[_Item], name_widths: Sequence[float], operation_widths: Sequence[float]) -> float:
    """Place each item as close to the previous one as the texts allow, and return the right end."""
    items[0].left = MARGIN + max(0.0, (name_widths[0] - items[0].width) / 2)
    end = 0.0  # right end of the previous operation, which is centered in its gap
    for i, half in enumerate(width / 2 for width in operation_widths):
        before, item = items[i], items[i + 1]
        names_apart = before.middle + name_widths[i] / 2 + TEXT_GAP + (name_widths[i + 1] - item.width) / 2
        operations_apart = 2 * (end + TEXT_GAP + half) - before.right
        item.left = max(before.right + GAP, names_apart, operations_apart)
        end = (before.right + item.left) / 2 + half
    return max(end, items[-1].middle + max(items[-1].width, name_widths[-1]) / 2)


def _draw_window(axes: Axes, before: _Item, item: _Item, layer: Layer, low: bool) -> None:
    """Draw the window of one output number in the layer's input, and lines from the window to the number."""
    from matplotlib.patches import Rectangle

    assert isinstance(layer, Conv | Pool)
    stride, padding = (1, layer.padding) if isinstance(layer, Conv) else (layer.stride, 0)
    # Alternate between high and low positions, so that the windows of two operations at one stack do not overlap.
    position = 0.7 if low else 0.3  # of the output number, as a fraction of the plane
    spans = []
    for size, outputs in zip(before.shape[1:], item.shape[1:], strict=True):
        index = min(int(position * outputs), outputs - 1)
        first = index * stride - padding
        # Clip the window to the image: the padding is not drawn.
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


def _draw_fan(axes: Axes, before: _Item, item: _Item, full: bool) -> None:
    """Draw lines between the corners of two items; the lines cross if each output depends on all inputs."""
    x, y = before.front
    starts = [(x + before.plane_width, y), (x + before.plane_width, y - before.plane_height)]
    end_x, end_y = item.front
    ends = [(end_x, end_y), (end_x, end_y - item.plane_height)]
    pairs = [(s, e) for i, s in enumerate(starts) for j, e in enumerate(ends) if full or i == j]
    for (start_x, start_y), (to_x, to_y) in pairs:
        axes.plot([start_x, to_x], [start_y, to_y], lw=0.7, color=INK if full else FAINT, ls="-" if full else "--")
