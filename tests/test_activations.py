"""Looking inside: every framework gives the same maps in one layout, and the picture shows them under their names."""

import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from conftest import INSTALLED, SECOND, UNKNOWN_BACKEND, needs_two, write_folder
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lenet_multi import activations as module
from lenet_multi.architecture import PRESETS, Architecture, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import BACKENDS, load_backend
from lenet_multi.checks.float64_reference import forward
from lenet_multi.data import Dataset, Split, load_dataset
from lenet_multi.data.published import FASHION_MNIST, MNIST
from lenet_multi.errors import UserError
from lenet_multi.pictures.example_selection import MAX_EXAMPLES, class_label, select_examples
from lenet_multi.pictures.feature_map_figure import MAX_MAPS, ColorBar, describe_difference, draw_activations
from lenet_multi.pictures.feature_maps import activations, default_layers, select_layers
from lenet_multi.runs.weights import save_weights

LENET5 = PRESETS["lenet5"]
NETWORKS = {
    "lenet5": LENET5,
    "three convolutions": lenet(
        conv_channels=(3, 5, 4), kernel_sizes=(5, 3, 3), pooling="max", activation="relu", dense_units=(7,)
    ),
    "one convolution": lenet(conv_channels=(4,), dense_units=(), activation="tanh"),
    "colors, not square": lenet(input_shape=(3, 17, 30), conv_channels=(2, 3), kernel_sizes=(3,)),
}
every_network = pytest.mark.parametrize("architecture", NETWORKS.values(), ids=NETWORKS)


def random_parameters(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in architecture.parameter_shapes.items()}


def random_images(architecture: Architecture, number: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (number, *architecture.input_shape), dtype=np.uint8)


@every_network
@pytest.mark.parametrize("name", INSTALLED)
def test_every_framework_computes_what_the_float64_reference_computes(name, architecture):
    parameters, images = random_parameters(architecture), random_images(architecture)
    outputs = activations(load_backend(name), parameters, images, architecture)
    expected = forward(architecture, parameters, images / 255)
    assert list(outputs) == list(architecture.named_layers)
    for layer, shape in architecture.output_shapes.items():
        assert outputs[layer].shape == (3, *shape)
        assert outputs[layer].dtype == np.float32
        np.testing.assert_allclose(outputs[layer], expected[layer], rtol=1e-5, atol=1e-5, err_msg=layer)


@needs_two
@every_network
def test_the_frameworks_agree_within_1e_5(architecture):
    parameters, images = random_parameters(architecture), random_images(architecture)
    all_outputs = [activations(load_backend(name), parameters, images, architecture) for name in INSTALLED]
    for first, second in combinations(all_outputs, 2):
        for layer in architecture.named_layers:
            np.testing.assert_allclose(first[layer], second[layer], rtol=0, atol=1e-5, err_msg=layer)


def test_a_network_and_its_parameters_give_the_same(backend):
    net = backend.LeNet(LENET5, seed=5, device="cpu")
    images = random_images(LENET5)
    from_net = activations(backend, net, images)
    from_parameters = activations(backend, backend.get_parameters(net), images, device="cpu")
    for layer, output in from_net.items():
        np.testing.assert_array_equal(output, from_parameters[layer])


def test_bytes_are_scaled_and_floats_are_taken_as_they_are(backend):
    parameters, images = random_parameters(LENET5), random_images(LENET5)
    scaled = images.astype(np.float32) / 255
    scaled.setflags(write=False)
    for layer, output in activations(backend, parameters, images).items():
        np.testing.assert_array_equal(output, activations(backend, parameters, scaled)[layer])


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((28, 28), np.uint8), r"images of shape \(28, 28\), expected \(N, 1, 28, 28\)"),
        (np.zeros((2, 28, 28, 1), np.uint8), r"images of shape \(2, 28, 28, 1\), expected"),
        (np.zeros((0, 1, 28, 28), np.uint8), "with N at least 1"),
        (np.zeros((2, 1, 28, 28)), "images of dtype float64, expected uint8, or float32"),
    ],
)
def test_images_of_another_form_are_refused(images, told):
    with pytest.raises(UserError, match=told):
        activations(load_backend("torch"), random_parameters(LENET5), images)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            lenet(conv_channels=(6,), dense_units=(84,)),
            "the network has the layers conv1, pool1, conv2, .*, but its architecture conv1, pool1, fl",
        ),
        (lenet(conv_channels=(6, 5)), r"layer conv2 has output shape \(3, 16, 10, 10\), expected \(3, 5, 10, 10\)"),
    ],
)
def test_a_network_that_is_not_of_the_architecture_is_refused(backend, other, told):
    net = backend.LeNet(LENET5, device="cpu")
    with pytest.raises(UserError, match=told):
        activations(backend, net, random_images(LENET5), other)


def test_parameters_of_another_network_are_refused():
    with pytest.raises(UserError, match=r"conv2.weight has shape \(16, 6, 5, 5\), expected \(5, 6, 5, 5\)"):
        activations(
            load_backend("torch"), random_parameters(LENET5), random_images(LENET5), lenet(conv_channels=(6, 5))
        )


def test_outputs_that_are_not_finite_are_refused():
    relu = lenet(activation="relu")
    huge = {name: np.full(shape, 1e30, np.float32) for name, shape in relu.parameter_shapes.items()}
    with pytest.raises(UserError, match="the output of layer conv2 is not finite"):
        activations(load_backend("torch"), huge, random_images(relu), relu)


def test_the_first_two_convolutions_are_drawn_unless_told_otherwise():
    assert default_layers(LENET5) == ["conv1", "conv2"]
    assert default_layers(lenet(conv_channels=(6, 16, 8), kernel_sizes=(3,))) == ["conv1", "conv2"]
    assert default_layers(lenet(conv_channels=(6,))) == ["conv1"]
    pools = Architecture((1, 28, 28), (Pool("max", 2, 2), Flatten(), Dense(10)))
    assert default_layers(pools) == ["pool1"]
    assert select_layers(LENET5, None) == ["conv1", "conv2"]
    assert select_layers(LENET5, ["pool2", "conv1", "pool2"]) == ["pool2", "conv1"]


def test_layers_without_maps_are_refused():
    for name in ("dense1", "flatten", "conv3", ""):
        told = f"--layers '{name}' is not a convolution or pooling: choose one of conv1, pool1, conv2, pool2$"
        with pytest.raises(UserError, match=told):
            select_layers(LENET5, ["conv1", name])
    with pytest.raises(UserError, match="no convolution and no pooling"):
        select_layers(Architecture((1, 28, 28), (Flatten(), Dense(10))), None)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("pullover", 2),
        ("Pullovers", 2),
        ("SWEATER", 2),
        ("jumper", 2),
        ("coat", 4),
        ("ankle boot", 9),
        ("Ankle-Boots", 9),
        ("ankle_boot", 9),
        ("boot", 9),
        ("T-shirt/top", 0),
        ("t-shirt", 0),
        ("tshirts", 0),
        ("top", 0),
        ("trousers", 1),
        ("dresses", 3),
        ("dress", 3),
        ("shirt", 6),
        ("bag", 8),
        ("4", 4),
        (" 9 ", 9),
    ],
)
def test_a_class_goes_by_its_usual_names(name, label):
    assert class_label(name, FASHION_MNIST.class_names) == label


@pytest.mark.parametrize("label", range(10))
def test_every_class_goes_by_its_own_name(label):
    assert class_label(FASHION_MNIST.class_names[label], FASHION_MNIST.class_names) == label
    assert class_label(str(label), FASHION_MNIST.class_names) == label
    assert class_label(str(label), MNIST.class_names) == label


@pytest.mark.parametrize("name", ["hat", "10", "-1", "2.0", "s", ""])
def test_an_unknown_class_is_told_the_known_ones(name):
    with pytest.raises(UserError) as problem:
        class_label(name, FASHION_MNIST.class_names)
    assert str(problem.value) == (
        f"unknown class '{name}': choose one of T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, "
        "bag, ankle boot, or a number from 0 to 9"
    )


def test_other_names_of_garments_are_not_digits():
    with pytest.raises(UserError, match="unknown class 'sweater': choose a number from 0 to 9"):
        class_label("sweater", MNIST.class_names)


def labelled(labels: list[int]) -> Dataset:
    split = Split(np.zeros((len(labels), 1, 28, 28), np.uint8), np.array(labels, np.uint8))
    return Dataset("few", split, split, FASHION_MNIST.class_names)


def test_examples_are_the_first_of_each_class_and_those_named_none_twice():
    dataset = labelled([4, 2, 2, 7, 4, 2])
    assert select_examples(dataset, ["pullover", "coat"]) == [1, 0]
    assert select_examples(dataset, ["coat", "sweater", "4"], per_class=2) == [0, 4, 1, 2]
    assert select_examples(dataset, [], [5, 3]) == [5, 3]
    assert select_examples(dataset, ["coat"], [3, 0, 3]) == [0, 3]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({}, "nothing to draw: pass --classes with some of T-shirt/top, trouser, "),
        ({"classes": ["hat"]}, "unknown class 'hat': choose one of T-shirt/top"),
        ({"classes": ["bag"]}, "class 'bag' has only 0 test examples in 'few', not 1"),
        ({"classes": ["coat"], "per_class": 3}, "class 'coat' has only 2 test examples in 'few', not 3"),
        ({"examples": [6]}, "example 6 is not in the test set of 'few': choose an index from 0 to 5"),
        ({"examples": [-1]}, "example -1 is not in the test set of 'few': choose an index from 0 to 5"),
    ],
)
def test_examples_that_are_not_there_are_refused(chosen, told):
    with pytest.raises(UserError, match=re.escape(told)):
        select_examples(labelled([4, 2, 2, 7, 4, 2]), **chosen)


def test_more_examples_than_a_picture_holds_are_refused():
    dataset = labelled([4] * (MAX_EXAMPLES + 1))
    assert len(select_examples(dataset, ["coat"], per_class=MAX_EXAMPLES)) == MAX_EXAMPLES
    with pytest.raises(UserError, match=f"{MAX_EXAMPLES + 1} examples, but a picture holds at most {MAX_EXAMPLES}"):
        select_examples(dataset, ["coat"], per_class=MAX_EXAMPLES + 1)


def test_the_difference_in_words_says_how_large_and_where():
    first = np.zeros((2, 3, 4, 4), np.float32)
    second = first.copy()
    assert describe_difference(first, second) == "no difference"
    second[1, 2, 3, 0], second[0, 1, 0, 0] = 0.25, -0.125
    assert describe_difference(first, second) == "largest absolute difference 0.25, in channel 2"


def drawn(architecture: Architecture, frameworks: int = 1, number: int = 2, layers: list[str] | None = None):
    """A picture of outputs drawn at random, and what went into it."""
    rng = np.random.default_rng(0)
    outputs = {
        f"Framework {i}": {
            name: rng.normal(0, 1, (number, *shape)).astype(np.float32)
            for name, shape in architecture.output_shapes.items()
        }
        for i in range(frameworks)
    }
    images = random_images(architecture, number)
    layers = layers or default_layers(architecture)
    captions = [f"test image {i}: coat\npredicted: ankle boot" for i in range(number)]
    return draw_activations(images, outputs, layers, captions, "A title"), images, outputs


def texts(figure, gid: str) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_gid() == gid]


def test_a_row_shows_the_image_first_and_then_every_map_under_its_label():
    figure, images, outputs = drawn(LENET5)
    shown = figure.axes[0].images
    assert len(shown) == 2 * (1 + 6 + 16)
    maps = outputs["Framework 0"]
    for row in range(2):
        image, *tiles = shown[23 * row : 23 * (row + 1)]
        np.testing.assert_allclose(image.get_array(), images[row, 0] / 255)
        left, right, *_ = image.get_extent()
        assert all(tile.get_extent()[0] > right for tile in tiles)
        assert left >= 0
        for channel in range(6):
            np.testing.assert_array_equal(tiles[channel].get_array(), maps["conv1"][row, channel])
        for channel in range(16):
            np.testing.assert_array_equal(tiles[6 + channel].get_array(), maps["conv2"][row, channel])
        assert texts(figure, f"row {row} band 0 conv1") == [f"conv1 ch {channel}" for channel in range(6)]
        assert texts(figure, f"row {row} band 0 conv2") == [f"conv2 ch {channel}" for channel in range(16)]
        assert texts(figure, f"row {row} caption") == [f"test image {row}: coat", "predicted: ankle boot"]
    assert texts(figure, "title") == ["A title"]


def test_a_label_stands_just_above_its_map():
    figure, *_ = drawn(LENET5, number=1)
    labels = [text for text in figure.axes[0].texts if str(text.get_gid()).startswith("row 0 band 0")]
    for label, tile in zip(labels, figure.axes[0].images[1:], strict=True):
        x, y = label.get_position()
        left, _, _, top = tile.get_extent()
        assert x == left
        assert 0 < y - top < 5


def test_a_layers_maps_share_the_scale_that_stands_above_them():
    figure, _, outputs = drawn(LENET5)
    conv1 = outputs["Framework 0"]["conv1"]
    assert texts(figure, "conv1 heading") == [
        "conv1, 6 maps of 28 \u00d7 28",
        *ColorBar("viridis", conv1.min(), conv1.max()).labels,
    ]
    limits = {figure.axes[0].images[i].get_clim() for i in (1, 6, 24, 29)}
    assert limits == {(float(conv1.min()), float(conv1.max()))}


def test_two_frameworks_stand_one_above_the_other_with_their_difference_below():
    figure, _, outputs = drawn(LENET5, frameworks=2)
    first, second = (maps["conv1"] for maps in outputs.values())
    difference = first.astype(np.float64) - second
    span = np.abs(difference).max()
    shown = figure.axes[0].images
    assert len(shown) == 2 * (1 + 3 * 22)
    for row in range(2):
        tiles = shown[67 * row + 1 :]
        for band, maps in enumerate((first, second, difference)):
            np.testing.assert_array_equal(tiles[22 * band + 4].get_array(), maps[row, 4])
        assert tiles[44].get_clim() == pytest.approx((-span, span))
        tops = [tiles[22 * band].get_extent()[3] for band in range(3)]
        assert tops == sorted(tops, reverse=True)
        bands = [texts(figure, f"row {row} band {band}") for band in range(3)]
        assert bands == [["Framework 0"], ["Framework 1"], ["Framework 0 minus Framework 1"]]
    assert texts(figure, "conv1 heading")[3:] == [describe_difference(first, second), f"{-span:.3g}", f"{span:.3g}"]


def test_equal_frameworks_are_said_to_be():
    outputs = {"conv1": np.full((1, 6, 28, 28), 0.5, np.float32)}
    figure = draw_activations(random_images(LENET5, 1), {"a": outputs, "b": outputs}, ["conv1"], ["an image"])
    assert texts(figure, "conv1 heading")[1:] == ["0.5", "no difference", "0"]


def test_many_channels_are_cut_off_and_the_heading_says_so():
    wide = Architecture((1, 6, 6), (Conv(MAX_MAPS + 36, 3), Flatten(), Dense(10)))
    figure, *_ = drawn(wide, number=1)
    assert len(figure.axes[0].images) == 1 + MAX_MAPS
    assert texts(figure, "conv1 heading")[0] == f"conv1, the first {MAX_MAPS} of {MAX_MAPS + 36} maps of 4 \u00d7 4"


LAYOUTS = {
    **NETWORKS,
    "many channels": lenet(conv_channels=(1, 200), dense_units=()),
    "narrow": lenet(input_shape=(2, 40, 7), conv_channels=(7,), kernel_sizes=(3,)),
    "twelve layers": Architecture((1, 30, 30), (*[Conv(13, 3)] * 12, Flatten(), Dense(10))),
}


@pytest.mark.parametrize("frameworks", [1, 2])
@pytest.mark.parametrize("architecture", LAYOUTS.values(), ids=LAYOUTS)
def test_no_label_and_no_map_overlaps_another_or_leaves_the_picture(architecture, frameworks):
    layers = list(architecture.output_shapes)[-5:] if len(architecture.layers) > 12 else None
    layers = [name for name in layers if name.startswith("conv")] if layers else None
    figure, *_ = drawn(architecture, frameworks, layers=layers)
    renderer = FigureCanvasAgg(figure).get_renderer()
    things = [*figure.axes[0].texts, *figure.axes[0].images]
    boxes = [thing.get_window_extent(renderer) for thing in things]
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes])
    assert (corners[:, :2] >= 0).all()
    assert (corners[:, 2:] <= (figure.bbox.x1, figure.bbox.y1)).all()
    left, bottom, right, top = (column[:, np.newaxis] for column in corners.T)
    overlap = (left < right.T) & (right > left.T) & (bottom < top.T) & (top > bottom.T)
    overlap &= ~np.eye(len(things), dtype=bool)
    assert not overlap.any(), [getattr(things[i], "get_text", str)() for i in np.argwhere(overlap)[0]]


def test_three_channels_are_shown_in_color_and_others_by_their_mean():
    figure, images, _ = drawn(NETWORKS["colors, not square"])
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), images[0].transpose(1, 2, 0) / 255)
    two = lenet(input_shape=(2, 12, 12), conv_channels=(1,), kernel_sizes=(3,))
    figure, images, _ = drawn(two)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), images[0].mean(axis=0) / 255)


def test_what_cannot_be_drawn_is_refused():
    _, images, outputs = drawn(LENET5)
    with pytest.raises(UserError, match="layer dense1 has no maps"):
        draw_activations(images, outputs, ["dense1"], ["", ""])
    with pytest.raises(UserError, match="layer conv7 has no maps"):
        draw_activations(images, outputs, ["conv7"], ["", ""])
    for number in (0, 3):
        with pytest.raises(UserError, match=f"{number} frameworks, expected one or two"):
            draw_activations(images, {str(i): {} for i in range(number)}, ["conv1"], ["", ""])


@pytest.fixture
def weights(tmp_path):
    """A run's folder, and the arguments that name its weights and small data."""
    run = tmp_path / "run"
    run.mkdir()
    architecture = lenet(activation="tanh")
    save_weights(run / "model.safetensors", random_parameters(architecture), {"architecture": architecture.to_dict()})
    return run


@pytest.fixture
def chosen(small_folder, weights):
    return ["--dataset", str(small_folder), "--weights", str(weights / "model.safetensors"), "--device", "cpu"]


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("name", INSTALLED)
def test_the_command_draws_and_tells_each_row(name, ending, chosen, small_folder, tmp_path, capsys):
    out = tmp_path / f"maps.{ending}"
    assert module.main(["--backend", name, *chosen, "--classes", "2,4", "--examples", "7", "--out", str(out)]) == 0
    assert out.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[ending])
    test = load_dataset(str(small_folder)).test
    rows = [int(np.flatnonzero(test.labels == 2)[0]), int(np.flatnonzero(test.labels == 4)[0]), 7]
    logits = forward(lenet(activation="tanh"), random_parameters(lenet(activation="tanh")), test.images[rows] / 255)[
        "dense3"
    ]
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"test image {row}: {test.labels[row]}, predicted: {logits[i].argmax()}" for i, row in enumerate(rows)
    ]
    assert printed.err == ""


@needs_two
@pytest.mark.parametrize(("first", "second"), list(pairwise([*INSTALLED, "torch"])))
def test_the_command_compares_two_frameworks(first, second, chosen, tmp_path, capsys):
    out = tmp_path / "difference.svg"
    backends = ["--backend", first, "--against", second]
    assert module.main([*backends, *chosen, "--classes", "3", "--layers", "pool1,conv2", "--out", str(out)]) == 0
    told, *differences = capsys.readouterr().out.splitlines()
    one, other = BACKENDS[first], BACKENDS[second]
    assert re.fullmatch(rf"test image \d+: 3, predicted by {one}: (\d), predicted by {other}: \1", told)
    assert [line.partition(":")[0] for line in differences] == ["pool1", "conv2"]
    for line in differences:
        found = re.search(r"largest absolute difference (\S+), in channel \d+$", line)
        assert line.endswith("no difference") or (found and float(found[1]) < 1e-5)
    assert all(line in out.read_text() for line in differences)


@needs_two
def test_two_frameworks_with_one_wrong_are_seen_to_differ(chosen, tmp_path, monkeypatch, capsys):
    """The difference is measured, not assumed: a backend whose conv2 is off by a half in channel 5."""
    backend = load_backend(SECOND)
    right = backend.layer_outputs

    def wrong(net, X):
        outputs = right(net, X)
        outputs["conv2"] = outputs["conv2"].copy()
        np.moveaxis(outputs["conv2"], backend.LAYOUT.index("C"), 1)[:, 5] += 0.5
        return outputs

    monkeypatch.setattr(backend, "layer_outputs", wrong)
    out = tmp_path / "difference.png"
    assert module.main(["--against", SECOND, *chosen, "--classes", "3", "--out", str(out)]) == 0
    assert "conv2: largest absolute difference 0.5, in channel 5" in capsys.readouterr().out


def test_the_same_maps_give_the_same_bytes(chosen, tmp_path):
    for ending in ("png", "svg"):
        pictures = []
        for _ in range(2):
            assert module.main([*chosen, "--classes", "3", "--out", str(tmp_path / f"maps.{ending}")]) == 0
            pictures.append((tmp_path / f"maps.{ending}").read_bytes())
        assert pictures[0] == pictures[1]


def test_the_folder_of_a_run_will_do(small_folder, weights, tmp_path):
    out = tmp_path / "maps.png"
    arguments = ["--dataset", str(small_folder), "--weights", str(weights), "--classes", "1", "--per-class", "2"]
    assert module.main([*arguments, "--out", str(out)]) == 0
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "maps.jpg"], "--out 'maps.jpg' does not end in .png or .svg: choose one of these formats"),
        (["--out", "no/maps.png"], "--out 'no/maps.png': its folder does not exist"),
        (["--backend", "caffe"], UNKNOWN_BACKEND),
        (["--against", "pytorch"], "--against pytorch is the same as --backend"),
        (["--classes", "hat"], "unknown class 'hat': choose a number from 0 to 9"),
        (["--classes", "2,,4"], "argument --classes: invalid value '2,,4', expected names separated by commas"),
        (["--examples", "50"], "example 50 is not in the test set of "),
        (
            ["--examples", "x"],
            "argument --examples: invalid value 'x', expected whole numbers separated by commas, as in 6,16",
        ),
        (
            ["--layers", "dense1"],
            "--layers 'dense1' is not a convolution or pooling: choose one of conv1, pool1, conv2, pool2",
        ),
        (["--per-class", "0"], "argument --per-class: invalid value '0', expected a whole number of at least 1"),
        (["--weights", "gone"], "weights file 'gone' does not exist"),
        (["--weights", "empty"], "weights file 'empty/model.safetensors' does not exist"),
        (["--conv-channels", "3,3"], "weights file "),
        (["--device", "tpu"], "unknown device 'tpu': choose auto, cpu, gpu"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, told, chosen, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert module.main([*chosen, "--classes", "2", "--out", "maps.png", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {told}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert [path.name for path in here.iterdir()] == ["empty"]


def test_without_weights_it_says_how_to_get_some(tmp_path, capsys):
    assert module.main(["--classes", "coat", "--out", str(tmp_path / "maps.png")]) == 2
    assert capsys.readouterr().err == (
        "error: --weights is missing: train a network with python -m lenet_multi.train --out runs/first, then pass "
        "--weights runs/first\n"
    )


def test_without_classes_and_examples_it_says_what_there_is(chosen, tmp_path, capsys):
    assert module.main([*chosen, "--out", str(tmp_path / "maps.png")]) == 2
    assert capsys.readouterr().err.startswith("error: nothing to draw: pass --classes with some of ")


def test_images_of_another_size_are_refused(chosen, tmp_path, capsys):
    folder = write_folder(tmp_path / "large", 20, 10, size=32)
    arguments = [*chosen, "--dataset", str(folder), "--classes", "2", "--out", str(tmp_path / "maps.png")]
    assert module.main(arguments) == 2
    assert "images of 1 x 32 x 32, expected 1 x 28 x 28" in capsys.readouterr().err


def test_the_chapters_sweaters_and_coats(fashion_mnist, weights, tmp_path, capsys):
    out = tmp_path / "maps.png"
    arguments = ["--dataset", "fashion-mnist", "--weights", str(weights), "--classes", "sweater,coat"]
    assert module.main([*arguments, "--out", str(out)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [re.sub(r"\d+", "n", line).partition(",")[0] for line in told] == [
        "test image n: pullover",
        "test image n: coat",
    ]
