"""Look inside a trained network: the feature maps of its convolutions, for images of your choice.

    python -m lenet_multi.activations --weights runs/first --classes pullover,coat --out maps.png
    python -m lenet_multi.activations --weights runs/first --examples 3,17 --against tensorflow --out difference.svg

A row for each image: the image, then every map with its layer and channel. With `--against`, the maps of two frameworks
stand one above the other, and below them their difference.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.architecture import PRESETS, Architecture, Conv, Pool
from lenet_multi.backends import load_backend, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.cli import (
    Parser,
    add_data_options,
    add_device_option,
    add_network_options,
    architecture_from,
    positive_int,
    run_command,
    some_path,
)
from lenet_multi.data import Dataset, load_dataset, require_images_fit
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
from lenet_multi.errors import UserError
from lenet_multi.evaluate import trained_on
from lenet_multi.files import write_whole
from lenet_multi.layout import canonical_output
from lenet_multi.run import weights_path
from lenet_multi.weights import architecture_of, load_weights, require_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenet_multi.backends.interface import Backend, Network

MAX_MAPS = 64  # of one layer, in a row
MAX_EXAMPLES = 20  # rows of one picture

# What Fashion-MNIST's classes are called besides; spelled as `_plain` spells them.
OTHER_NAMES = {
    "tshirt": "T-shirt/top",
    "top": "T-shirt/top",
    "pant": "trouser",
    "sweater": "pullover",
    "jumper": "pullover",
    "dresse": "dress",
    "trainer": "sneaker",
    "boot": "ankle boot",
}

# In points, as everything drawn.
GAP, ROW_GAP = 20.0, 24.0
LEAST_TILE, LARGEST_TILE, IMAGE_SIDE = 46.0, 96.0, 108.0
TILE_GAP, LABEL_HEIGHT, LABEL_SIZE = 5.0, 9.0, 6.5


def activations(
    backend: Backend,
    network: Network | Mapping[str, np.ndarray],
    images: np.ndarray,
    architecture: Architecture = PRESETS["lenet5"],
    device: str = "auto",
) -> dict[str, np.ndarray]:
    """What each layer gives, after its activation, with the channels first in every framework.

    Args:
        backend: from `load_backend`.
        network: the backend's own, from its `LeNet`; or canonical parameters, name to float32 array.
        images: (N, C, H, W), either uint8, which are scaled to [0, 1] as in training, or float32, taken as they are.
        architecture: what the network was built from, or what the parameters are for.
        device: where the network is put that is built for parameters: `auto`, `cpu`, `gpu` or `gpu:1`.

    Returns:
        Layer name to float32 array: (N, C, H, W) for convolutions and poolings, (N, units) from flatten on. Flatten
        goes through channels, then rows, then columns; the last layer holds the logits.

    Raises:
        UserError: when images, parameters and network do not fit together, or the outputs are not finite.
    """
    if images.ndim != 4 or images.shape[1:] != architecture.input_shape or len(images) == 0:
        expected = ", ".join(map(str, architecture.input_shape))
        raise UserError(f"images of shape {images.shape}, expected (N, {expected}), and at least one")
    if images.dtype not in (np.uint8, np.float32):
        raise UserError(f"images of {images.dtype}, expected uint8, or float32 from 0 to 1: convert them")
    X = np.array(images, np.float32, order="C")
    if images.dtype == np.uint8:
        X /= 255
    if isinstance(network, Mapping):
        require_fit(network, architecture, Path("parameters"))
        net = backend.LeNet(architecture, device=device)
        backend.set_parameters(net, network)
    else:
        net = network
    given = backend.layer_outputs(net, X)
    if list(given) != list(architecture.named_layers):
        wanted = ", ".join(architecture.named_layers)
        raise UserError(f"a network of {', '.join(given)}, expected {wanted}: give the architecture it was built from")
    outputs = {}
    for name, shape in architecture.output_shapes.items():
        output = canonical_output(architecture, name, given[name], backend.LAYOUT)
        if output.shape != (len(X), *shape):
            raise UserError(
                f"layer {name} gives {output.shape}, expected {(len(X), *shape)}: "
                "give the architecture that the network was built from"
            )
        if not np.isfinite(output).all():
            raise UserError(f"layer {name} gives numbers that are not finite, expected finite ones: take other weights")
        outputs[name] = np.ascontiguousarray(output, np.float32)
    return outputs


def layers_with_maps(architecture: Architecture) -> list[str]:
    """The convolutions and poolings, in order."""
    return [name for name, layer in architecture.named_layers.items() if isinstance(layer, Conv | Pool)]


def default_layers(architecture: Architecture) -> list[str]:
    """The first two convolutions, or as many as there are; without any, the first two poolings."""
    names = layers_with_maps(architecture)
    convolutions = [name for name in names if isinstance(architecture.named_layers[name], Conv)]
    return (convolutions or names)[:2]


def difference_in_words(first: np.ndarray, second: np.ndarray) -> str:
    """How far two frameworks' (N, C, H, W) of one layer lie apart, as a phrase."""
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
    """A row for each image: the image, then the maps of each layer, labelled with layer and channel.

    All maps of a layer have one scale, which stands above them, and so have all differences. Of a layer with more than
    `MAX_MAPS` channels the first so many are drawn, which stands there too.

    Args:
        images: (N, C, H, W), uint8 or float32 from 0 to 1.
        outputs: framework's name to what `activations` gives for these images. Of two frameworks, the maps of the
            second stand below those of the first, and below them the first less the second.
        layers: which layers, convolutions or poolings.
        captions: what stands below each image; may have several lines.
        title: stands at the top.

    Raises:
        UserError: when a layer gives no maps, or the frameworks are neither one nor two.
    """
    if len(outputs) not in (1, 2):
        raise UserError(f"{len(outputs)} frameworks, expected one, or two to compare")
    for layer in layers:
        if any(layer not in arrays or arrays[layer].ndim != 4 for arrays in outputs.values()):
            raise UserError(f"layer {layer} gives no maps, expected a convolution or a pooling of the network")
    arrays = {layer: [of_layer[layer] for of_layer in outputs.values()] for layer in layers}
    image_height, image_width = (IMAGE_SIDE * side / max(images.shape[2:]) for side in images.shape[2:])
    bands = list(outputs)
    if len(bands) == 2:
        bands.append(f"{bands[0]} less {bands[1]}")
    caption_lines = [caption.split("\n") for caption in captions]
    left_height = LABEL_HEIGHT + image_height + LINE * (max(map(len, caption_lines)) + 1.5)
    # Where one layer has many maps, the few of another are drawn larger.
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


class _Block:
    """One layer's maps in a row of the picture: a grid of them, each below its label.

    `outputs` are one framework's or two's, (N, C, H, W) each; `room` is the height that the maps may grow to.
    """

    def __init__(self, layer: str, outputs: Sequence[np.ndarray], room: float) -> None:
        _, channels, rows, columns = outputs[0].shape
        self.layer = layer
        self.num_maps = min(channels, MAX_MAPS)
        # Not higher than wide, and with as few places left empty as can be.
        least = ceil(sqrt(self.num_maps))
        self.across = min(range(least, 2 * least), key=lambda n: (-self.num_maps % n, n))
        down = ceil(self.num_maps / self.across)
        side = min(max(room / down - LABEL_HEIGHT - TILE_GAP, LEAST_TILE), LARGEST_TILE)
        self.tile_height, self.tile_width = (side * size / max(rows, columns) for size in (rows, columns))
        self.step_down = LABEL_HEIGHT + self.tile_height + TILE_GAP
        self.step_across = max(self.tile_width, LEAST_TILE) + TILE_GAP  # the label must have room
        self.height = down * self.step_down

        bands = [output[:, : self.num_maps] for output in outputs]
        low, high = (float(f([f(band) for band in bands])) for f in (np.min, np.max))
        what = f"{channels} maps" if channels <= MAX_MAPS else f"the first {MAX_MAPS} of {channels} maps"
        self.heading = [f"{layer}, {what} of {rows} {TIMES} {columns}", f"dark {low:.3g}, bright {high:.3g}"]
        self.bands: list[tuple[np.ndarray, str, float, float]] = [(band, "viridis", low, high) for band in bands]
        if len(bands) == 2:
            difference = bands[0].astype(np.float64) - bands[1]
            span = float(np.abs(difference).max())
            self.bands.append((difference, "RdBu_r", -span, span))
            self.heading.append(difference_in_words(outputs[0], outputs[1]))
            self.heading.append(f"blue {-span:.3g}, white 0, red {span:.3g}" if span else "white 0")
        self.width = max(self.across * self.step_across - TILE_GAP, *map(text_width, self.heading))

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
    """Pixels from `top` downwards, in a thin frame; `low` and `high` are the ends of the color scale."""
    from matplotlib.patches import Rectangle

    if low == high:  # every number is the same: the middle of the scale
        low, high = low - 1, high + 1
    extent = (x, x + width, top - height, top)
    axes.imshow(pixels, cmap=colors, vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="nearest")
    axes.add_patch(Rectangle((x, top - height), width, height, fill=False, ec=FAINT, lw=0.4))


def _as_picture(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) of three channels, else (H, W), the mean of the channels; from 0 to 1."""
    pixels = image / 255 if image.dtype == np.uint8 else image.clip(0, 1)
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels.mean(axis=0)


def _plain(name: str) -> str:
    """A name without case, punctuation and the plural's s: `T-Shirts` as `tshirt`."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")


def class_label(name: str, class_names: Sequence[str]) -> int:
    """The label of a class by its name, forgivingly, or by its number.

    Case, spaces, hyphens and a plural do not matter, and Fashion-MNIST's classes go by other usual names too.

    Raises:
        UserError: for any other; it lists the known ones.
    """
    plain = [_plain(known) for known in class_names]
    for wanted in (_plain(name), _plain(OTHER_NAMES.get(_plain(name), ""))):
        if wanted and wanted in plain:
            return plain.index(wanted)
    if name.strip().isdecimal() and int(name) < len(class_names):
        return int(name)
    numbers = f"its number from 0 to {len(class_names) - 1}"
    named = any(not known.isdecimal() for known in class_names)
    expected = f"one of {', '.join(class_names)}, or {numbers}" if named else numbers
    raise UserError(f"class '{name}', expected {expected}: take one of these")


def chosen_examples(
    dataset: Dataset, classes: Sequence[str] = (), examples: Sequence[int] = (), per_class: int = 1
) -> list[int]:
    """Indices in the test set: the first `per_class` of each class, then `examples`; none twice.

    Raises:
        UserError: when a class is unknown or has too few examples, an index is not in the test set, or there are none
            or more than `MAX_EXAMPLES`.
    """
    labels = dataset.test.labels
    indices: list[int] = []
    for label in dict.fromkeys(class_label(name, dataset.class_names) for name in classes):
        found = np.flatnonzero(labels == label)
        if len(found) < per_class:
            raise UserError(
                f"class '{dataset.class_names[label]}' has {len(found)} test examples in '{dataset.name}', "
                f"expected at least {per_class}: take fewer or another class"
            )
        indices += found[:per_class].tolist()
    for index in examples:
        if not 0 <= index < len(labels):
            raise UserError(
                f"example {index}, expected an index in the test set of '{dataset.name}', from 0 to {len(labels) - 1}"
            )
    indices = list(dict.fromkeys([*indices, *examples]))
    if not indices:
        raise UserError(
            "neither --classes nor --examples, expected what to draw: "
            f"classes of {', '.join(dataset.class_names)}, or indices in the test set"
        )
    if len(indices) > MAX_EXAMPLES:
        raise UserError(f"{len(indices)} examples, expected at most {MAX_EXAMPLES} in one picture: draw several")
    return indices


def chosen_layers(architecture: Architecture, names: Sequence[str] | None) -> list[str]:
    """The layers asked for, or the default ones.

    Raises:
        UserError: when one is not there or gives no maps; it lists those that do.
    """
    known = layers_with_maps(architecture)
    if not known:
        raise UserError("the network has no convolution and no pooling, expected one at least: it has no maps to draw")
    for name in names or ():
        if name not in known:
            raise UserError(f"--layers '{name}', expected one of {', '.join(known)}")
    return list(dict.fromkeys(names)) if names else default_layers(architecture)


def _names(text: str) -> tuple[str, ...]:
    """`pullover, coat` as (pullover, coat)."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}, expected names with commas between")
    return names


def _indices(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected whole numbers with commas between, as in 3,17") from None


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.activations", description="Draw the feature maps of trained layers.")
    parser.add_argument("--backend", default="torch", metavar="NAME", help="torch, tensorflow or mxnet (torch)")
    parser.add_argument("--against", metavar="NAME", help="draw this backend's maps too, and the difference")
    parser.add_argument(
        "--weights", type=weights_path, metavar="FILE", help="the parameters (.safetensors), or the folder of a run"
    )
    parser.add_argument(
        "--classes", type=_names, default=(), metavar="NAME,NAME", help="draw examples of these classes"
    )
    parser.add_argument(
        "--per-class", type=positive_int, default=1, metavar="N", help="how many of each: the first of the test set (1)"
    )
    parser.add_argument(
        "--examples", type=_indices, default=(), metavar="N,N", help="draw these examples of the test set"
    )
    parser.add_argument(
        "--layers", type=_names, metavar="NAME,NAME", help="convolutions or poolings (the first two convolutions)"
    )
    parser.add_argument("--out", type=some_path, required=True, metavar="FILE", help="the picture (.png or .svg)")
    add_data_options(parser, default=None)
    add_device_option(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    parse_device(args.device)
    require_picture_path(args.out)
    if args.weights is None:
        raise UserError(
            "--weights is missing, expected a trained network's parameters: train one with "
            "python -m lenet_multi.train --out runs/first, then give --weights runs/first"
        )
    names = [require_installed(name) for name in (args.backend, args.against) if name is not None]
    if len(set(names)) < len(names):
        raise UserError(f"--against {args.against} is --backend too, expected another: leave --against out")
    parameters, metadata = load_weights(args.weights)
    architecture = architecture_of(args.weights, parameters, metadata, architecture_from(args))
    layers = chosen_layers(architecture, args.layers)
    dataset = load_dataset(trained_on(metadata) if args.dataset is None else args.dataset, args.data_dir)
    require_images_fit(architecture, dataset)
    indices = chosen_examples(dataset, args.classes, args.examples, args.per_class)

    images = dataset.test.images[indices]
    outputs, versions = {}, []
    for name in names:
        backend = load_backend(name)
        outputs[backend.FRAMEWORK] = activations(backend, parameters, images, architecture, args.device)
        versions.append(f"{backend.FRAMEWORK} {backend.VERSION}")
    told = [told_of(dataset, index, row, outputs) for row, index in enumerate(indices)]
    differences = []
    if args.against:
        first, second = outputs.values()
        differences = [f"{layer}: {difference_in_words(first[layer], second[layer])}" for layer in layers]
    title = f"{architecture.name} on {dataset.name}, in {' and '.join(versions)}"
    figure = draw_activations(images, outputs, layers, ["\n".join(lines) for lines in told], title)
    sentences = [*(", ".join(lines) for lines in told), *differences]
    description = f"Feature maps of {', '.join(layers)}. {'; '.join(sentences)}."
    write_whole(args.out, picture(figure, args.out.suffix, title, description))
    print("\n".join(sentences))


def told_of(dataset: Dataset, index: int, row: int, outputs: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """An example of the test set in words: which, what it is, and what each framework takes it for."""
    told = [f"test image {index}: {dataset.class_names[dataset.test.labels[index]]}"]
    for framework, arrays in outputs.items():
        logits = list(arrays.values())[-1][row]
        by = f" by {framework}" if len(outputs) > 1 else ""
        told.append(f"predicted{by}: {dataset.class_names[logits.argmax()]}")
    return told


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
