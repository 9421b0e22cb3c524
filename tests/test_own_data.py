"""Own data: folders of pictures, arrays, any number of classes and image size, in every framework."""

import json
import warnings

import numpy as np
import pytest
from conftest import INSTALLED
from PIL import Image

from lenet_multi import evaluate, load_backend, train
from lenet_multi.architecture import lenet
from lenet_multi.comparison.runner import compare
from lenet_multi.data import DataError, Dataset, load_dataset
from lenet_multi.data.image_file import read_image
from lenet_multi.runs.checkpoint import load_checkpoint

SMALL = ("--conv-channels", "3,4", "--dense-units", "12", "--batch-size", "8", "--epochs", "2", "--device", "cpu")
LOOPS = ("plain", "fast")


def picture(seed, height=20, width=16, color=True):
    shape = (height, width, 3) if color else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def write_classes(folder, counts, **options):
    """PNG files of random pixels in a folder for each class."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(100 * label + number, **options).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def animals(tmp_path):
    """Three classes of twelve colored pictures."""
    return write_classes(tmp_path / "animals", {"cat": 12, "dog": 12, "zebra": 12})


def test_a_part_of_each_class_is_held_out(animals):
    data = load_dataset(str(animals), test_fraction=0.25)
    assert data.class_names == ("cat", "dog", "zebra")
    assert data.image_shape == (3, 20, 16)
    assert np.bincount(data.train.labels).tolist() == [9, 9, 9]
    assert np.bincount(data.test.labels).tolist() == [3, 3, 3]
    pixels = {image.tobytes() for split in (data.train, data.test) for image in split.images}
    files = {np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in animals.glob("*/*.png")}
    assert pixels == files  # no picture is in both, and none is lost
    again = load_dataset(str(animals), test_fraction=0.25)
    assert again.digest == data.digest
    assert load_dataset(str(animals), test_fraction=0.25, split_seed=1).digest != data.digest


def test_labels_are_those_of_the_folders(animals):
    data = load_dataset(str(animals))
    by_pixels = {image.tobytes(): label for image, label in zip(data.train.images, data.train.labels, strict=True)}
    for label, name in enumerate(data.class_names):
        found = [
            by_pixels.get(np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes())
            for path in (animals / name).iterdir()
        ]
        assert {*found} <= {label, None}
        assert found.count(label) == 10


def test_a_folder_may_have_its_own_test_images(tmp_path):
    folder = tmp_path / "own"
    write_classes(folder / "train", {"a": 3, "b": 4}, color=False)
    write_classes(folder / "test", {"a": 2, "b": 1}, color=False)
    data = load_dataset(str(folder))
    assert data.image_shape == (1, 20, 16)
    assert np.bincount(data.train.labels).tolist() == [3, 4]
    assert np.bincount(data.test.labels).tolist() == [2, 1]
    with pytest.raises(DataError, match="has the folders train and test: omit --test-fraction"):
        load_dataset(str(folder), test_fraction=0.5)


def test_images_are_in_color_if_one_file_is(animals):
    grey = picture(7, color=False)
    grey.save(animals / "cat" / "grey.png")
    data = load_dataset(str(animals))
    images = np.concatenate([data.train.images, data.test.images])
    assert any((image == np.asarray(grey)).all() for image in images)


def test_files_of_several_sizes_are_resized_if_told_so(animals):
    picture(8, 40, 32).save(animals / "dog" / "large.jpg")
    picture(9, 10, 8).save(animals / "dog" / "small.jpeg")
    with pytest.raises(DataError) as problem:
        load_dataset(str(animals))
    assert str(problem.value) == (
        f"'{animals}' has images of 3 sizes: pass --image-size, such as 20 16, to resize them. Most have 20 x 16 "
        f"pixels (height x width), but not {animals}/dog/large.jpg (40 x 32), {animals}/dog/small.jpeg (10 x 8)"
    )
    assert load_dataset(str(animals), image_size=(12, 14)).image_shape == (3, 12, 14)


def test_all_files_that_cannot_be_used_are_named(animals):
    (animals / "cat" / "cut.png").write_bytes((animals / "cat" / "0.png").read_bytes()[:300])
    (animals / "dog" / "empty.jpg").write_bytes(b"")
    (animals / "zebra" / "notes.txt").write_text("striped")
    (animals / "zebra" / ".DS_Store").write_bytes(b"hidden files do no harm")
    (animals / "Thumbs.db").write_bytes(b"nor do these")
    with pytest.raises(DataError) as problem:
        load_dataset(str(animals))
    message = str(problem.value)
    assert message.startswith("3 files of")
    for name in ("cat/cut.png", "dog/empty.jpg", "zebra/notes.txt"):
        assert name in message


def test_a_photo_that_is_cut_off_is_named(animals):
    picture(1).save(animals / "cat" / "cut.jpg", quality=95)
    content = (animals / "cat" / "cut.jpg").read_bytes()
    (animals / "cat" / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg: cannot be read"):
        load_dataset(str(animals))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "cat.png").write_bytes(b""),
            "files outside the class folders: .*cat.png: move or remove them",
        ),
        (lambda folder: (folder / "fish").mkdir(), "no images in .*fish: add some, or remove the folder"),
        (lambda folder: write_classes(folder, {"fish": 1}), "fish' has 1 image, too few to hold out 0.2 of them"),
    ],
)
def test_a_folder_that_is_not_as_expected_is_refused(change, message, animals):
    change(animals)
    with pytest.raises(DataError, match=message):
        load_dataset(str(animals))


def test_one_class_is_too_few(tmp_path):
    with pytest.raises(DataError, match="has 1 class folder, expected 2 to 256"):
        load_dataset(str(write_classes(tmp_path / "own", {"cat": 3})))


def test_train_and_test_have_the_same_classes(tmp_path):
    write_classes(tmp_path / "own" / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "own" / "test", {"a": 2, "c": 2})
    with pytest.raises(DataError, match=r"test' lacks b: use the same classes in train and test"):
        load_dataset(str(tmp_path / "own"))


def test_photos_of_many_sizes_get_a_useful_size_as_advice(tmp_path):
    for number in range(6):
        (tmp_path / "own" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture(number, 100 + number, 90).save(tmp_path / "own" / "ab"[number % 2] / f"{number}.png")
    with pytest.raises(DataError, match="have 6 sizes: pass --image-size, such as 32 32"):
        load_dataset(str(tmp_path / "own"))


@pytest.mark.parametrize("names", [("train", "val"), ("train",), ("Train", "Test")])
def test_folders_of_folders_are_explained(names, tmp_path):
    for name in names:
        write_classes(tmp_path / "own" / name, {"a": 2, "b": 2})
    with pytest.raises(
        DataError, match=r"is a folder in the class folder .*: move or remove it; a data set is a folder with"
    ):
        load_dataset(str(tmp_path / "own"))


def test_what_is_beside_train_and_test_is_named(tmp_path, capsys):
    for name in ("train", "test", "val"):
        write_classes(tmp_path / "own" / name, {"a": 2, "b": 2})
    load_dataset(str(tmp_path / "own"))
    assert "has val: not used" in capsys.readouterr().err


def test_a_run_whose_pictures_have_changed_is_warned_about(animals, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main(["--dataset", str(animals), "--out", str(out), *SMALL]) == 0
    picture(77).save(animals / "cat" / "new.png")
    capsys.readouterr()
    assert evaluate.main(["--weights", str(out)]) == 0
    assert "is not what the network was trained and tested on: the files, " in capsys.readouterr().err
    assert train.main(["--resume", "--out", str(out), "--epochs", "3"]) == 2
    assert "has changed since the run in" in capsys.readouterr().err
    assert train.main(["--resume", "--out", str(out), "--epochs", "3", "--image-size", "9", "9"]) == 2
    assert "--image-size 9 9 differs from the run" in capsys.readouterr().err
    animals.rename(tmp_path / "moved")
    assert evaluate.main(["--weights", str(out)]) == 2
    assert f"the folder '{animals}', which the network was trained on, is missing" in capsys.readouterr().err
    (tmp_path / "moved" / "cat" / "new.png").unlink()
    assert evaluate.main(["--weights", str(out), "--dataset", str(tmp_path / "moved")]) == 0
    (tmp_path / "moved" / "cat").rename(tmp_path / "moved" / "wolf")
    assert evaluate.main(["--weights", str(out), "--dataset", str(tmp_path / "moved")]) == 0
    assert "but the network was trained on cat, dog, zebra" in capsys.readouterr().err


def test_the_pictures_that_a_run_held_out_are_held_out_again(animals, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    options = ["--test-fraction", "0.5", "--split-seed", "7", "--out", str(out)]
    assert train.main(["--dataset", "animals", *options, *SMALL]) == 0
    settings = load_checkpoint(out)[0].settings
    assert (settings.test_fraction, settings.split_seed, settings.data_format) == (0.5, 7, "pictures")
    capsys.readouterr()
    assert evaluate.main(["--weights", str(out)]) == 0
    expected = capsys.readouterr()
    assert "18 test images" in expected.err
    for given in ("animals", "moved"):
        if given == "moved":
            animals.rename(tmp_path / "moved")
        assert evaluate.main(["--weights", str(out), "--dataset", given]) == 0
        printed = capsys.readouterr()
        assert (printed.out, "warning" in printed.err) == (expected.out, False)
    assert train.main(["--resume", "--out", str(out), "--epochs", "3", "--dataset", "moved", "--device", "cpu"]) == 0
    assert evaluate.main(["--weights", str(out), "--dataset", "moved", "--split-seed", "3"]) == 0
    assert "--test-fraction or --split-seed differ" in capsys.readouterr().err


def test_reading_pictures_leaves_the_warnings_of_the_process_alone(animals):
    before = list(warnings.filters)
    for _ in range(3):
        load_dataset(str(animals))
    assert warnings.filters == before


def test_a_network_of_two_channels_takes_no_pictures(animals):
    with pytest.raises(DataError, match="takes images of 2 channels, expected 1 or 3"):
        load_dataset(str(animals), channels=2)


def test_lack_of_memory_is_no_damage(animals, monkeypatch):
    def fail(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(MemoryError):
        read_image(animals / "cat" / "0.png")


def test_a_network_in_color_is_tested_on_grey_pictures(animals, tmp_path):
    out = tmp_path / "run"
    assert train.main(["--dataset", str(animals), "--out", str(out), *SMALL]) == 0
    grey = write_classes(tmp_path / "grey", {"cat": 5, "dog": 5, "zebra": 5}, color=False)
    assert evaluate.main(["--weights", str(out), "--dataset", str(grey)]) == 0


def test_small_data_gets_a_batch_size_as_advice(animals, capsys):
    assert train.main(["--dataset", str(animals)]) == 2
    assert "the default batch size of 256 is larger than the 30 training examples" in capsys.readouterr().err


def test_options_of_a_folder_of_images_are_refused_for_other_data(small_folder):
    with pytest.raises(DataError, match="--image-size is for folders of PNG or JPEG files"):
        load_dataset(str(small_folder), image_size=(8, 8))


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    image = picture(1, 6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    image.save(tmp_path / "photo.png", exif=exif)
    assert (np.asarray(read_image(tmp_path / "photo.png")[0]) == np.rot90(np.asarray(image), -1)).all()


def test_transparent_pixels_are_white(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255  # opaque black above, transparent black below
    Image.fromarray(pixels).save(tmp_path / "sign.png")
    read = np.asarray(read_image(tmp_path / "sign.png")[0])
    assert (read[:2] == 0).all()
    assert (read[2:] == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / "deep.png")
    image, _ = read_image(tmp_path / "deep.png")
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 100, 255]]


def test_arrays_may_be_grey_or_channels_last():
    labels = np.array([0, 1, 2])
    grey = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(3, 5, 4)
    data = Dataset.from_arrays((grey, labels), (grey, labels), ["x", "y", "z"])
    assert data.image_shape == (1, 5, 4)
    last = np.arange(3 * 5 * 4 * 3, dtype=np.uint8).reshape(3, 5, 4, 3)
    data = Dataset.from_arrays((last, labels), (last, labels), channels_last=True)
    assert data.image_shape == (3, 5, 4)
    assert (data.train.images == last.transpose(0, 3, 1, 2)).all()
    assert data.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 2], ["x", "y"], "training labels up to 2, but 2 class names"),
        ([0, 0, 0], ["x"], "has 1 class, expected 2 to 256"),
        ([0, 1, 1], list(map(str, range(257))), "has 257 classes, expected 2 to 256"),
    ],
)
def test_labels_need_names(labels, names, message):
    images = np.zeros((3, 5, 4), np.uint8)
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays((images, np.array(labels)), (images, np.array(labels)), names)


def test_images_of_two_sizes_are_refused():
    labels = np.array([0, 1, 1])
    with pytest.raises(DataError, match="training images of 1 x 5 x 4, uint8 but test images of 1 x 5 x 5, uint8"):
        Dataset.from_arrays((np.zeros((3, 5, 4), np.uint8), labels), (np.zeros((3, 5, 5), np.uint8), labels))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", INSTALLED)
def test_float_pixels_train_as_bytes_do(name, loop):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 3, 14, 12), np.uint8), rng.integers(0, 5, 40)
    backend, trained = load_backend(name, fast=loop == "fast"), []
    for given in (images, images / np.float32(255)):
        data = Dataset.from_arrays((given, labels), (given[:10], labels[:10]))
        architecture = lenet(input_shape=data.image_shape, num_classes=5, conv_channels=(3,), dense_units=(8,))
        net = backend.LeNet(architecture, seed=0, device="cpu")
        recorder = backend.train(net, data.train, data.test, num_epochs=2, lr=0.5, batch_size=16)
        trained.append((backend.get_parameters(net), recorder.points))
    (first, points), (second, float_points) = trained
    assert [point.test_acc for point in points] == [point.test_acc for point in float_points]
    for parameter, value in first.items():
        np.testing.assert_allclose(value, second[parameter], atol=1e-6)  # TensorFlow's graph multiplies by 1/255


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", INSTALLED)
def test_every_framework_trains_on_a_folder_of_pictures(name, loop, animals, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--dataset", str(animals), "--backend", name, "--loop", loop, "--out", str(out), *SMALL]
    assert train.main([*arguments, "--test-fraction", "0.25"]) == 0
    run, parameters = load_checkpoint(out)
    assert run.architecture.input_shape == (3, 20, 16)
    assert run.architecture.num_classes == 3
    assert run.class_names == ("cat", "dog", "zebra")
    assert parameters["dense2.weight"].shape == (3, 12)
    assert json.loads((out / "summary.json").read_text())["num_test"] == 9
    capsys.readouterr()
    assert evaluate.main(["--weights", str(out), "--backend", name]) == 0  # on the images that the run held out
    assert capsys.readouterr().out.strip().endswith(f"{run.points[-1].test_acc:.3f}")
    assert train.main(["--resume", "--out", str(out), "--epochs", "3"]) == 0


@pytest.mark.parametrize("name", INSTALLED)
def test_37_classes_of_colored_pictures_are_learned(name, tmp_path):
    """Small pictures of one color for each class."""
    rng = np.random.default_rng(0)
    for label in range(37):
        color = np.array([label % 4, label // 4 % 4, label // 16]) * 80
        (tmp_path / "own" / f"{label:02}").mkdir(parents=True)
        for number in range(6):
            pixels = color + rng.integers(0, 12, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "own" / f"{label:02}" / f"{number}.jpg")
    out = tmp_path / "run"
    options = ["--activation", "relu", "--lr", "0.1", "--batch-size", "16", "--epochs", "30", "--device", "cpu"]
    options += ["--conv-channels", "6", "--dense-units", "64"]
    arguments = ["--dataset", str(tmp_path / "own"), "--backend", name, "--out", str(out), *options]
    assert train.main(arguments) == 0
    run, parameters = load_checkpoint(out)
    assert parameters["dense2.weight"].shape == (37, 64)
    assert run.points[-1].train_acc > 0.5


def test_a_preset_keeps_its_layers_on_other_data(animals, tmp_path):
    assert (
        train.main(["--dataset", str(animals), "--image-size", "28,28", *SMALL[4:], "--out", str(tmp_path / "r")]) == 0
    )
    run, _ = load_checkpoint(tmp_path / "r")
    assert run.architecture == lenet(input_shape=(3, 28, 28), num_classes=3)
    assert run.architecture.name == "lenet5"


def test_a_comparison_trains_on_a_folder_of_pictures(animals, tmp_path):
    result = compare(
        tmp_path / "c",
        ["torch"],
        {"pooling": ["avg", "max"]},
        dataset=animals,
        conv_channels=(3, 4),
        dense_units=(12,),
        batch_size=8,
        epochs=2,
        device="cpu",
        same_start=True,
        test_fraction=0.25,
    )
    assert [row.reason for row in result.results] == [None, None]
    assert result.findings.dataset.class_names == ("cat", "dog", "zebra")
    report = (tmp_path / "c" / "report.html").read_text()
    assert "zebra" in report


def test_a_network_for_other_classes_is_refused(animals, tmp_path, small_folder, capsys):
    out = tmp_path / "run"
    assert train.main(["--dataset", str(animals), "--image-size", "28", "28", *SMALL, "--out", str(out)]) == 0
    capsys.readouterr()
    assert evaluate.main(["--weights", str(out), "--dataset", str(small_folder)]) == 2
    assert "images of 1 x 28 x 28, expected 3 x 28 x 28" in capsys.readouterr().err
