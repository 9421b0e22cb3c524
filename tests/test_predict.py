"""Pictures are classified in every framework alike, and what the network saw is said and can be looked at."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED
from PIL import Image

from lenet_multi import activations, predict, save_weights, train
from lenet_multi.architecture import lenet
from lenet_multi.data import DataError
from lenet_multi.data.network_input import network_input
from lenet_multi.runs.checkpoint import CHECKPOINT
from lenet_multi.runs.prediction import Prediction
from lenet_multi.training.settings import Settings

GREY = (1, 28, 28)


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_folder):
    """A short run on Fashion-MNIST's format, whose classes are numbers."""
    out = tmp_path_factory.mktemp("predict") / "run"
    options = ["--epochs", "2", "--activation", "relu", "--lr", "0.1", "--batch-size", "16", "--device", "cpu"]
    assert train.main(["--dataset", str(small_folder), "--out", str(out), *options]) == 0
    return out


def write_photo(path, color=True, **options):
    """A dark thing on a bright ground."""
    pixels = np.full((60, 40, 3), 230, np.uint8)
    pixels[20:40, 10:30] = (200, 30, 20)
    image = Image.fromarray(pixels)
    (image if color else image.convert("L")).save(path, **options)
    return path


@pytest.fixture
def photo(tmp_path):
    return write_photo(tmp_path / "photo.png")


def test_every_framework_gives_the_same_probabilities(run, photo, tmp_path, capsys):
    found = {}
    for name in INSTALLED:
        file = tmp_path / f"{name}.json"
        assert predict.main(["--weights", str(run), "--backend", name, "--json", str(file), str(photo)]) == 0
        (described,) = json.loads(file.read_text())
        found[name] = [described["probabilities"][str(label)] for label in range(10)]
        assert sum(found[name]) == pytest.approx(1)
        line = capsys.readouterr().out.strip()
        label, probability = max(enumerate(found[name]), key=lambda pair: pair[1])
        assert line.startswith(f"{photo}: {label} {probability:.3f}, ")
        assert line.count(",") == 2
    for values in found.values():
        np.testing.assert_allclose(values, found["torch"], atol=1e-5)


def test_the_prediction_is_that_of_the_network(run, photo, tmp_path):
    from lenet_multi import load_backend, load_weights

    predict.main(["--weights", str(run), "--json", str(tmp_path / "p.json"), "--without", "invert", str(photo)])
    pixels = np.asarray(Image.open(photo).convert("L").resize((28, 28), Image.Resampling.LANCZOS))
    backend = load_backend("torch")
    net = backend.LeNet(lenet(activation="relu"), device="cpu")
    backend.set_parameters(net, load_weights(run / CHECKPOINT)[0])
    logits = backend.layer_outputs(net, pixels[np.newaxis, np.newaxis] / np.float32(255))["dense3"][0]
    expected = np.exp(logits) / np.exp(logits).sum()
    (described,) = json.loads((tmp_path / "p.json").read_text())
    np.testing.assert_allclose([described["probabilities"][str(n)] for n in range(10)], expected, atol=1e-6)


def test_several_pictures_have_a_line_each_and_the_steps_are_said(run, photo, tmp_path, capsys):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "black.png")
    assert predict.main(["--weights", str(run), str(photo), str(tmp_path / "black.png")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.splitlines() == [
        f"{photo}: converted to grey; resized from 60 x 40 (height x width) to 28 x 28 pixels",
        f"{tmp_path}/black.png: as it is",
    ]


def test_a_bright_border_is_inverted_where_the_network_knows_light_on_black(photo):
    given = network_input(photo, GREY, light_on_black=True)
    assert given.steps[-1] == "inverted, because its border is bright"
    assert given.pixels[0, 0, 0] == 255 - 230
    for kept in (network_input(photo, GREY, light_on_black=False), network_input(photo, GREY, True, ["invert"])):
        assert kept.pixels[0, 0, 0] == 230


def test_a_run_on_fashion_mnist_inverts_and_names_its_classes(photo, tmp_path, capsys):
    architecture = lenet()
    parameters = {name: np.zeros(shape, np.float32) for name, shape in architecture.parameter_shapes.items()}
    parameters["dense3.bias"][9] = 3
    settings = Settings("fashion-mnist", "", num_train=1, num_test=1, epochs=1, batch_size=1, lr=1.0, seed=0)
    metadata = {"architecture": architecture.to_dict(), "run": {"settings": asdict(settings)}}
    save_weights(tmp_path / "w.safetensors", parameters, metadata)
    assert predict.main(["--weights", str(tmp_path / "w.safetensors"), str(photo)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{photo}: ankle boot 0.691, T-shirt/top 0.034, trouser 0.034")
    assert "inverted" in err


def test_a_network_on_own_pictures_predicts_their_classes(tmp_path, capsys):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng([label, number]).integers(0, 80, (12, 12, 3)) + 170 * label
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "own" / name / f"{number}.png")
    options = [
        "--conv-channels",
        "3",
        "--dense-units",
        "8",
        "--activation",
        "relu",
        "--epochs",
        "8",
        "--batch-size",
        "4",
    ]
    out = tmp_path / "run"
    assert train.main(["--dataset", str(tmp_path / "own"), "--lr", "0.1", *options, "--out", str(out)]) == 0
    capsys.readouterr()
    pictures = [str(tmp_path / "own" / name / "0.png") for name in ("cat", "dog")]
    assert predict.main(["--weights", str(out), *pictures]) == 0
    printed, said = capsys.readouterr()
    first, second = printed.splitlines()
    assert f"{pictures[0]}: cat 0.9" in first
    assert f"{pictures[1]}: dog 0.9" in second
    assert "inverted" not in said


def test_what_the_network_sees_can_be_saved(run, photo, tmp_path):
    seen = tmp_path / "seen"
    assert predict.main(["--weights", str(run), "--save-input", str(seen), str(photo)]) == 0
    assert (np.asarray(Image.open(seen / "photo.png")) == network_input(photo, GREY, False).pixels[0]).all()


def test_activations_draws_a_picture_without_the_data(run, photo, tmp_path, capsys):
    picture = tmp_path / "maps.svg"
    assert activations.main(["--weights", str(run), "--image", str(photo), "--out", str(picture)]) == 0
    assert capsys.readouterr().out.startswith(f"{photo}, predicted: ")
    assert all(text in picture.read_text() for text in ("conv1", "conv2", "photo.png"))
    both = ["--weights", str(run), "--image", str(photo), "--examples", "0", "--out", str(tmp_path / "both.svg")]
    assert activations.main(both) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "test image 0",
        f"{photo}, predicted",
    ]


@pytest.mark.parametrize(("orientation", "steps"), [(0, ()), (2, ("rotated by its EXIF orientation",)), (9, ())])
def test_only_a_known_orientation_is_said_to_rotate(orientation, steps, tmp_path):
    image = Image.new("L", (28, 28))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photo.jpg", exif=exif)
    assert network_input(tmp_path / "photo.jpg", GREY, False).steps == steps


def test_a_prediction_is_one_line_of_text():
    made = Prediction(Path("a\nb\x1b[31m.png"), np.array([0.75, 0.25]), ("c\n", "\x07"), ())
    assert str(made) == r"a b\x1b[31m.png: c  0.750, \x07 0.250"


def test_a_change_of_the_pixel_format_is_told(tmp_path):
    Image.fromarray(np.full((28, 28), 257 * 100, np.uint16)).save(tmp_path / "deep.png")
    Image.new("CMYK", (28, 28)).save(tmp_path / "printed.jpg")
    deep, printed = (network_input(tmp_path / name, GREY, False) for name in ("deep.png", "printed.jpg"))
    assert deep.steps == ("reduced from 16 bits to 8",)
    assert (deep.pixels == 100).all()
    assert printed.steps == ("converted from CMYK to RGB", "converted to grey")


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (["grey"], "is in color, but the network takes grey images: do not leave out grey"),
        (["resize"], "has 60 x 40 pixels, but the network takes 28 x 28: do not leave out resize"),
    ],
)
def test_a_step_that_the_network_needs_cannot_be_left_out(without, message, photo):
    with pytest.raises(DataError, match=message):
        network_input(photo, GREY, False, without)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "missing.png: cannot be read (No such file or directory): expected a PNG or JPEG file"),
        (
            ["--without", "polish", "{photo}"],
            "--without polish: there is no such step: choose from rotate, white, grey",
        ),
        (["--save-input", "{folder}", "{photo}"], "photo.png' already exists: choose another folder"),
        (
            ["{photo}", "{photo}", "--save-input", "{folder}/new"],
            "would be written to one file: predict them separately",
        ),
        (["--json", "{folder}/none/p.json", "{photo}"], "its folder does not exist: create it first"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, run, photo, tmp_path, capsys):
    given = [text.format(photo=photo, folder=tmp_path) for text in arguments]
    if "missing.png" in given:
        given = [str(tmp_path / "missing.png")]
    assert predict.main(["--weights", str(run), *given]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
