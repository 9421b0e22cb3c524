"""Draws feature maps: one row per image, with every map labelled by layer and channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_multi.errors import UserError
from lenet_multi.pictures.canvas import FAINT, INK, LINE, MARGIN, TIMES, canvas, draw_text, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_MAPS = 64  # of one layer, per image

# All lengths are in points.
GAP, ROW_GAP = 20.0, 24.0
SMALLEST_TILE, LARGEST_TILE, IMAGE_SIDE = 46.0, 96.0, 108.0
TILE_GAP, LABEL_HEIGHT, LABEL_SIZE = 5.0, 9.0, 6.5
BAR_WIDTH, BAR_HEIGHT, BAR_GAP, BAR_STEPS = 60.0, 6.0, 4.0, 40


def describe_difference(first: np.ndarray, second: np.ndarray) -> str:
    """The largest difference between two frameworks' maps (N, C, H, W) of one layer, in words."""
    per_channel = np.abs(first.astype(np.float64) - second).max(axis=(0, 2, 3))
    if not per_channel.any():
        return "no difference"
    return f"largest absolute difference {per_channel.max():.3g}, in channel {per_channel.argmax()}"


def draw_activations(
    images: np.ndarray,
    outputs: Mapping[str, Mapping[str, np.ndarray]],
    layers: Sequence[str],
    captions: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw a row for each image: the image, then the maps of each layer, labelled with layer and channel.

    All maps of a layer share one color scale, and all differences another; color bars above the maps show them. Of a
    layer with more than `MAX_MAPS` channels, the first `MAX_MAPS` are drawn, and the heading says so.

    Args:
        images: (N, C, H, W), uint8 or float32 from 0 to 1.
        outputs: framework name to the result of `activations` for these images. With two frameworks, the second one's
            maps are below the first one's, and below both is the first minus the second.
        layers: convolutions or poolings.
        captions: the text below each image; may have several lines.
        title: the text at the top.

    Raises:
        UserError: when a layer has no maps, or the number of frameworks is neither one nor two.
    """
    if len(outputs) not in (1, 2):
        raise UserError(f"{len(outputs)} frameworks, expected one or two")
    for layer in layers:
        if any(layer not in arrays or arrays[layer].ndim != 4 for arrays in outputs.values()):
            raise UserError(f"layer {layer} has no maps, expected a convolution or a pooling")
    arrays = {layer: [of_layer[layer] for of_layer in outputs.values()] for layer in layers}
    image_height, image_width = (IMAGE_SIDE * side / max(images.shape[2:]) for side in images.shape[2:])
    bands = list(outputs)
    if len(bands) == 2:
        bands.append(f"{bands[0]} minus {bands[1]}")
    caption_lines = [caption.split("\n") for caption in captions]
    left_height = LABEL_HEIGHT + image_height + LINE * (max(map(len, caption_lines)) + 1.5)
    # Next to a layer with many maps, the maps of one with few are drawn larger.
    band_height = max(left_height, *(_Block(layer, both, 0).height for layer, both in arrays.items()))
    blocks = [_Block(layer, both, band_height) for layer, both in arrays.items()]

    left_width = max(IMAGE_SIDE, *(text_width(line, bold=True) for lines in [bands, *caption_lines] for line in lines))
    lefts = [MARGIN + left_width + GAP]
    for block in blocks:
        lefts.append(lefts[-1] + block.width + GAP)
    width = max(lefts[-1] - GAP, MARGIN + text_width(title, bold=True)) + MARGIN
    header = LINE * (len(blocks[0].heading) + 0.5 + (1.5 if title else 0))
    row_height = len(bands) * (band_height + GAP) - GAP + ROW_GAP
    height = MARGIN + header + len(images) * row_height - ROW_GAP + MARGIN
    figure, axes = canvas(width, height)

    top = height - MARGIN
    if title:
        draw_text(axes, MARGIN, top - LINE * 0.75, title, weight="bold", align="left", gid="title")
    for block, left in zip(blocks, lefts, strict=False):
        for i, line in enumerate(block.heading):
            y = top - header + LINE * (len(block.heading) - i - 0.25)
            if isinstance(line, ColorBar):
                line.draw(axes, left, y, f"{block.layer} heading")
            else:
                draw_text(axes, left, y, line, align="left", color=FAINT if i else INK, gid=f"{block.layer} heading")
    top -= header
    for row, image in enumerate(images):
        if row:
            axes.plot([MARGIN, width - MARGIN], [top + ROW_GAP / 2] * 2, color=FAINT, lw=0.5)
        for band, name in enumerate(bands):
            below = top - LABEL_HEIGHT
            if band == 0:
                _show(axes, _as_picture(image), MARGIN, below, image_width, image_height, "gray", 0, 1)
                below -= image_height
                for line in caption_lines[row]:
                    below -= LINE
                    draw_text(axes, MARGIN, below, line, align="left", gid=f"row {row} caption")
                below -= LINE / 2
            if len(bands) > 1:
                draw_text(axes, MARGIN, below - LINE, name, weight="bold", align="left", gid=f"row {row} band {band}")
            for block, left in zip(blocks, lefts, strict=False):
                block.draw(axes, left, top, row, band)
            top -= band_height + GAP
        top += GAP - ROW_GAP
    return figure


@dataclass(frozen=True)
class ColorBar:
    """A color scale between its two ends, on one line. If they are equal, a single color and its value."""

    colors: str
    low: float
    high: float

    @property
    def labels(self) -> tuple[str, ...]:
        """The ends as text."""
        return (f"{self.high:.3g}",) if self.low == self.high else (f"{self.low:.3g}", f"{self.high:.3g}")

    @property
    def width(self) -> float:
        return sum(text_width(label) + BAR_GAP for label in self.labels) + self._bar_width

    @property
    def _bar_width(self) -> float:
        return BAR_HEIGHT if self.low == self.high else BAR_WIDTH

    def draw(self, axes: Axes, left: float, baseline: float, gid: str) -> None:
        *low, high = self.labels
        for label in low:
            draw_text(axes, left, baseline, label, color=FAINT, align="left", gid=gid)
            left += text_width(label) + BAR_GAP
        steps = BAR_STEPS if low else 1
        edges = np.linspace(left, left + self._bar_width, steps + 1)
        colors = np.linspace(0, 1, steps)[np.newaxis] if low else np.full((1, 1), 0.5)  # the middle, as in the maps
        style: dict[str, Any] = {"cmap": self.colors, "vmin": 0, "vmax": 1, "edgecolors": "face", "lw": 0.2}
        axes.pcolormesh(edges, [baseline, baseline + BAR_HEIGHT], colors, **style)
        draw_text(axes, left + self._bar_width + BAR_GAP, baseline, high, color=FAINT, align="left", gid=gid)


class _Block:
    """One layer's maps in a row of the picture: a grid, with a label above each map.

    `outputs` are (N, C, H, W), of one framework or two; the maps may grow to the height `room`.
    """

    def __init__(self, layer: str, outputs: Sequence[np.ndarray], room: float) -> None:
        _, channels, rows, columns = outputs[0].shape
        self.layer = layer
        self.num_maps = min(channels, MAX_MAPS)
        # No higher than wide, and with as few empty places as possible.
        least = ceil(sqrt(self.num_maps))
        self.across = min(range(least, 2 * least), key=lambda n: (-self.num_maps % n, n))
        down = ceil(self.num_maps / self.across)
        side = min(max(room / down - LABEL_HEIGHT - TILE_GAP, SMALLEST_TILE), LARGEST_TILE)
        self.tile_height, self.tile_width = (side * size / max(rows, columns) for size in (rows, columns))
        self.step_down = LABEL_HEIGHT + self.tile_height + TILE_GAP
        self.step_across = max(self.tile_width, SMALLEST_TILE) + TILE_GAP  # room for the label
        self.height = down * self.step_down

        bands = [output[:, : self.num_maps] for output in outputs]
        low, high = (float(f([f(band) for band in bands])) for f in (np.min, np.max))
        what = f"{channels} maps" if channels <= MAX_MAPS else f"the first {MAX_MAPS} of {channels} maps"
        self.heading: list[str | ColorBar] = [f"{layer}, {what} of {rows} {TIMES} {columns}"]
        self.heading.append(ColorBar("viridis", low, high))
        self.bands: list[tuple[np.ndarray, str, float, float]] = [(band, "viridis", low, high) for band in bands]
        if len(bands) == 2:
            difference = bands[0].astype(np.float64) - bands[1]
            span = float(np.abs(difference).max())
            self.bands.append((difference, "RdBu_r", -span, span))
            self.heading.append(describe_difference(outputs[0], outputs[1]))
            self.heading.append(ColorBar("RdBu_r", -span if span else 0.0, span))
        headings = (line.width if isinstance(line, ColorBar) else text_width(line) for line in self.heading)
        self.width = max(self.across * self.step_across - TILE_GAP, *headings)

    def draw(self, axes: Axes, left: float, top: float, row: int, band: int) -> None:
        maps, colors, low, high = self.bands[band]
        for channel in range(self.num_maps):
            down, across = divmod(channel, self.across)
            x, y = left + across * self.step_across, top - down * self.step_down - LABEL_HEIGHT
            label, gid = f"{self.layer} ch {channel}", f"row {row} band {band} {self.layer}"
            draw_text(axes, x, y + 2, label, size=LABEL_SIZE, color=FAINT, align="left", gid=gid)
            _show(axes, maps[row, channel], x, y, self.tile_width, self.tile_height, colors, low, high)


def _show(
    axes: Axes,
    pixels: np.ndarray,
    x: float,
    top: float,
    width: float,
    height: float,
    colors: str,
    low: float,
    high: float,
) -> None:
    """Draw pixels from `top` downwards in a thin frame; `low` and `high` are the ends of the color scale."""
    from matplotlib.patches import Rectangle

    if low == high:  # all values are equal: the middle of the scale
        low, high = low - 1, high + 1
    extent = (x, x + width, top - height, top)
    axes.imshow(pixels, cmap=colors, vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="nearest")
    axes.add_patch(Rectangle((x, top - height), width, height, fill=False, ec=FAINT, lw=0.4))


def _as_picture(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) of three channels, else (H, W), the mean of the channels; from 0 to 1."""
    pixels = image / 255 if image.dtype == np.uint8 else image.clip(0, 1)
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels.mean(axis=0)
