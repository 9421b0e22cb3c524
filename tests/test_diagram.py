"""Tests of the diagrams: labels follow the description, nothing overlaps, and files are complete and reproducible."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest
from conftest import imported_frameworks

from lenet_multi import __main__, diagram
from lenet_multi.architecture import PRESETS, Architecture, ArchitectureError, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.pictures.canvas import BACKGROUND, picture
from lenet_multi.pictures.network_diagram import MAX_PLANES, NOTATIONS, describe, draw_compressed, draw_data_flow

LENET5 = PRESETS["lenet5"]


def random_architecture(seed: int) -> Architecture:
    """Up to five convolutions, with or without poolings, and up to three hidden dense layers, on random shapes."""
    rng = np.random.default_rng(seed)
    while True:
        layers: list = []
        for _ in range(rng.integers(1, 6)):
            activation = ("sigmoid", "tanh", "relu", None)[rng.integers(4)]
            channels = int(rng.choice([1, 3, 16, 17, 64, 1000]))
            layers.append(Conv(channels, int(rng.integers(1, 12)), int(rng.integers(0, 12)), activation))
            if rng.random() < 0.6:
                layers.append(Pool(str(rng.choice(["avg", "max"])), int(rng.integers(1, 4)), int(rng.integers(1, 8))))
        layers.append(Flatten())
        layers += [Dense(int(rng.integers(1, 2000)), "tanh") for _ in range(rng.integers(0, 4))]
        shape = (int(rng.integers(1, 5)), int(rng.integers(1, 100)), int(rng.integers(1, 100)))
        try:
            return Architecture(shape, (*layers, Dense(10)))
        except ArchitectureError:
            continue


ARCHITECTURES = {
    "lenet5": LENET5,
    "three convolutions": lenet(conv_channels=(8, 40, 24), kernel_sizes=(5, 5, 3), dense_units=(), pooling="max"),
    "one convolution": lenet(conv_channels=(12,), dense_units=()),
    "no convolution": Architecture((1, 1, 1), (Flatten(), Dense(10))),
    "five, wide": lenet(
        input_shape=(3, 64, 160), conv_channels=(32, 64, 128, 256, 512), kernel_sizes=(3,), paddings=(1,)
    ),
    "window in the padding": Architecture((1, 4, 9), (Conv(2, 2, 9), Conv(1, 3, 20), Flatten(), Dense(10))),
    **{f"random {seed}": random_architecture(seed) for seed in range(8)},
}

every_network = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
every_notation = pytest.mark.parametrize("notation", NOTATIONS)


def texts(figure, gid: str) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_gid() == gid]


def patches(figure, gid: str) -> list:
    return [patch for patch in figure.axes[0].patches if patch.get_gid() == gid]


def extents(figure, artists) -> list:
    """The bounding boxes of the artists, in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists]


def test_the_data_flow_of_lenet5_shows_the_chapters_shapes_and_operations():
    figure = draw_data_flow(LENET5)
    names = ["input", "conv1", "pool1", "conv2", "pool2", "flatten", "dense1", "dense2", "dense3"]
    assert [texts(figure, f"{name} name") for name in names] == [[name] for name in names]
    assert [texts(figure, f"{name} shape")[0] for name in names] == [
        "(1, 28, 28)",
        "(6, 28, 28)",
        "(6, 14, 14)",
        "(16, 10, 10)",
        "(16, 5, 5)",
        "(400)",
        "(120)",
        "(84)",
        "(10)",
    ]
    assert [texts(figure, f"{name} operation") for name in names[1:]] == [
        ["5\u00d75 conv", "pad 2", "sigmoid"],
        ["2\u00d72 avg pool", "stride 2"],
        ["5\u00d75 conv", "sigmoid"],
        ["2\u00d72 avg pool", "stride 2"],
        ["flatten"],
        ["dense", "sigmoid"],
        ["dense", "sigmoid"],
        ["dense"],
    ]
    assert figure.axes[0].texts[-1].get_text() == "lenet5: 61,706 parameters, 416,520 multiply-adds per image"


def test_the_compressed_notation_runs_from_the_image_at_the_bottom_up_to_the_logits():
    figure = draw_compressed(PRESETS["lenet5-max"])
    boxes = [text for text in figure.axes[0].texts if str(text.get_gid()).endswith(" box")]
    boxes.sort(key=lambda text: text.get_position()[1])
    assert [text.get_text() for text in boxes] == [
        "image (1, 28, 28)",
        "5\u00d75 conv (6), pad 2",
        "2\u00d72 max pool, stride 2",
        "5\u00d75 conv (16)",
        "2\u00d72 max pool, stride 2",
        "flatten",
        "FC (120)",
        "FC (84)",
        "FC (10)",
    ]
    assert texts(figure, "conv2 note") == ["(16, 10, 10), sigmoid"]
    assert texts(figure, "dense3 note") == ["(10), the logits"]


@every_network
def test_the_labels_follow_the_description(architecture):
    flow, compressed = draw_data_flow(architecture), draw_compressed(architecture)
    for name, layer in architecture.named_layers.items():
        shape = ", ".join(map(str, architecture.output_shapes[name]))
        assert texts(flow, f"{name} shape") == [f"({shape})"]
        operation, (box,), (note,) = (
            texts(flow, f"{name} operation"),
            texts(compressed, f"{name} box"),
            texts(compressed, f"{name} note"),
        )
        assert f"({shape})" in note
        match layer:
            case Conv(channels, size, padding):
                assert operation[0] == f"{size}\u00d7{size} conv"
                assert (f"pad {padding}" in operation) == (padding > 0)
                assert box == f"{size}\u00d7{size} conv ({channels})" + (f", pad {padding}" if padding else "")
            case Pool(kind, size, stride):
                assert operation == [f"{size}\u00d7{size} {kind} pool", f"stride {stride}"]
                assert box == f"{size}\u00d7{size} {kind} pool, stride {stride}"
            case Dense(units, activation):
                assert operation == ["dense", *([activation] if activation else [])]
                assert box == f"FC ({units})"
        if isinstance(layer, Conv | Dense) and layer.activation:
            assert layer.activation in operation
            assert layer.activation in note


@every_network
@every_notation
def test_no_label_overlaps_another_or_leaves_the_picture(notation, architecture):
    figure = NOTATIONS[notation](architecture)
    labels = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = extents(figure, labels)
    for (first, box), (second, other) in combinations(zip(labels, boxes, strict=True), 2):
        assert not box.overlaps(other), (first, second)
    for label, box in zip(labels, boxes, strict=True):
        assert box.x0 >= 0, label
        assert box.y0 >= 0, label
        assert box.x1 <= figure.bbox.x1, label
        assert box.y1 <= figure.bbox.y1, label


@every_network
def test_no_label_of_the_data_flow_overlaps_a_plane(architecture):
    figure = draw_data_flow(architecture)
    planes = [patch for patch in figure.axes[0].patches if str(patch.get_gid()).endswith("plane")]
    for label, box in zip(figure.axes[0].texts, extents(figure, figure.axes[0].texts), strict=True):
        assert not any(box.overlaps(plane) for plane in extents(figure, planes)), label


@every_network
def test_stacks_are_separate_and_in_order(architecture):
    figure = draw_data_flow(architecture)
    end = 0.0
    for name in ("input", *architecture.named_layers):
        planes = extents(figure, patches(figure, f"{name} plane"))
        assert min(plane.x0 for plane in planes) > end
        end = max(plane.x1 for plane in planes)
    assert end <= figure.bbox.x1


@every_network
def test_a_text_fits_in_its_box(architecture):
    figure = draw_compressed(architecture)
    labels = [text for text in figure.axes[0].texts if str(text.get_gid()).endswith(" box")]
    drawn = extents(figure, figure.axes[0].patches)[: len(labels)]
    for label, box in zip(extents(figure, labels), drawn, strict=True):
        assert box.x0 < label.x0
        assert label.x1 < box.x1
        assert box.y0 < label.y0
        assert label.y1 < box.y1


def test_a_stack_has_a_plane_for_each_channel_up_to_a_limit_that_a_note_states():
    figure = draw_data_flow(lenet(conv_channels=(6, MAX_PLANES + 1)))
    assert len(patches(figure, "input plane")) == 1
    assert len(patches(figure, "conv1 plane")) == 6
    assert len(patches(figure, "conv2 plane")) == MAX_PLANES
    assert f"stacks of more than {MAX_PLANES} channels are drawn with {MAX_PLANES} planes" in [
        text.get_text() for text in figure.axes[0].texts
    ]
    assert not any("stacks of" in text.get_text() for text in draw_data_flow(LENET5).axes[0].texts)


def test_planes_keep_the_images_proportions():
    (plane,) = patches(draw_data_flow(lenet(input_shape=(1, 28, 56))), "input plane")
    assert plane.get_width() == pytest.approx(2 * plane.get_height())


@pytest.mark.parametrize(
    ("layer", "channels", "start", "size"),
    [
        # Counted from 0, the output at 0.3 is number 6 of 20, number 6 of 22, and number 3 of 10.
        (Conv(4, 5), 4, 6, 5),
        (Conv(4, 5, padding=1), 4, 5, 5),
        (Pool("max", 3, 2), 1, 6, 3),
    ],
)
def test_a_window_covers_the_inputs_of_its_output(layer, channels, start, size):
    figure = draw_data_flow(Architecture((1, 24, 24), (layer, Flatten(), Dense(10))))
    name = "pool1" if isinstance(layer, Pool) else "conv1"
    (window,), (number,) = patches(figure, f"{name} window"), patches(figure, f"{name} number")
    source, target = patches(figure, "input plane")[-1], patches(figure, f"{name} plane")[-1]
    cell = source.get_width() / 24
    assert window.get_width() == pytest.approx(size * cell)
    assert window.get_x() - source.get_x() == pytest.approx(start * cell)
    from_top = source.get_y() + source.get_height() - window.get_y() - window.get_height()
    assert from_top == pytest.approx(start * cell)
    outputs = (24 + 2 * getattr(layer, "padding", 0) - layer.kernel_size) // getattr(layer, "stride", 1) + 1
    assert number.get_width() == pytest.approx(target.get_width() / outputs)


def test_the_description_names_every_layer_and_shape():
    text = describe(LENET5)
    for name, shape in LENET5.output_shapes.items():
        assert f"{name} (" in text
        assert f"gives ({', '.join(map(str, shape))})" in text


@every_notation
def test_an_svg_has_title_and_description_for_screen_readers_and_no_date(notation, tmp_path):
    out = tmp_path / "net.svg"
    assert diagram.main(["--notation", notation, "--conv-channels", "3,4", "--out", str(out)]) == 0
    root = ET.fromstring(out.read_text())
    svg = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert [child.tag for child in root][:2] == [f"{svg}title", f"{svg}desc"]
    assert root[0].text == f"The network custom, {notation} notation"
    assert root[1].text == describe(lenet(conv_channels=(3, 4)))
    assert not root.findall(".//{http://purl.org/dc/elements/1.1/}date")
    assert BACKGROUND in out.read_text()  # an opaque background keeps the picture readable on a dark page


def test_markup_in_a_description_is_escaped():
    svg = picture(draw_compressed(LENET5), ".svg", "a < b & c", "<script> & co")
    root = ET.fromstring(svg)
    assert (root[0].text, root[1].text) == ("a < b & c", "<script> & co")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_same_network_gives_the_same_bytes_in_every_process(ending, tmp_path):
    first, second = tmp_path / f"first.{ending}", tmp_path / f"second.{ending}"
    assert diagram.main(["--out", str(first)]) == 0
    subprocess.run([sys.executable, "-m", "lenet_multi.diagram", "--out", str(second)], check=True)
    assert first.read_bytes() == second.read_bytes()


def test_the_ending_of_the_name_decides_the_format(tmp_path):
    assert __main__.main(["diagram", "--out", str(tmp_path / "net.PNG")]) == 0
    assert (tmp_path / "net.PNG").read_bytes().startswith(b"\x89PNG")


def test_drawing_imports_no_framework(tmp_path):
    code = (
        "import sys; from lenet_multi import diagram; "
        f"diagram.main(['--out', {str(tmp_path / 'net.svg')!r}]); "
        f"sys.exit(bool({imported_frameworks()}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "net.pdf"], "error: --out 'net.pdf' does not end in .png or .svg: choose one of these formats\n"),
        (["--out", "net"], "error: --out 'net' does not end in .png or .svg: choose one of these formats\n"),
        (["--out", "no/net.svg"], "error: --out 'no/net.svg': its folder does not exist: create it first\n"),
        (["--out", "folder.svg"], "error: --out 'folder.svg' is not a regular file: choose another name\n"),
        (["--out", "pipe.svg"], "error: --out 'pipe.svg' is not a regular file: choose another name\n"),
        ([], "error: the following arguments are required: --out: see python -m lenet_multi.diagram --help\n"),
        (["--notation", "uml", "--out", "n.svg"], "error: argument --notation: invalid choice: 'uml'"),
        (["--kernel-sizes", "40", "--out", "n.svg"], "error: layer conv1: a 40 x 40 window is larger than its padded"),
    ],
)
def test_an_invalid_option_is_a_one_line_error_and_leaves_no_file(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.svg").mkdir()
    os.mkfifo(tmp_path / "pipe.svg")
    assert diagram.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"folder.svg", "pipe.svg"}


def test_an_interrupted_drawing_keeps_the_previous_picture(tmp_path, monkeypatch):
    out = tmp_path / "net.svg"
    assert diagram.main(["--out", str(out)]) == 0
    before = out.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(NOTATIONS, "data-flow", interrupted)
    assert diagram.main(["--out", str(out)]) == 130
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_file_that_this_package_did_not_write_is_not_overwritten(ending, tmp_path, capsys):
    out = tmp_path / f"net.{ending}"
    figure = draw_compressed(LENET5)
    figure.savefig(out)  # the same drawing, but written by matplotlib without this package's mark
    before = out.read_bytes()
    assert diagram.main(["--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"error: --out '{out}' exists, but this package did not write it: choose another name, or remove the file\n"
    )
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_that_this_package_wrote_is_overwritten(ending, tmp_path):
    out = tmp_path / f"net.{ending}"
    assert diagram.main(["--notation", "compressed", "--out", str(out)]) == 0
    before = out.read_bytes()
    assert diagram.main(["--out", str(out)]) == 0
    assert out.read_bytes() != before
    assert list(tmp_path.iterdir()) == [out]
