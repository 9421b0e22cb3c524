"""`playground`: the page's data are those of the files, the page loads nothing, and hostile files change neither."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import imported_frameworks, write_folder
from PIL import Image

from lenet_multi import playground, train
from lenet_multi.architecture import Architecture, Dense, Flatten, Pool, lenet
from lenet_multi.data import Dataset, Split
from lenet_multi.interactive import shown_runs
from lenet_multi.interactive.images import MOST_TEXT, chosen_images, image_data
from lenet_multi.interactive.page import MARK, WEB, page
from lenet_multi.interactive.page_data import MOST_POINTS, class_names
from lenet_multi.interactive.texts import page_texts
from lenet_multi.runs.checkpoint import CHECKPOINT, Run, Segment, load_checkpoint, save_checkpoint
from lenet_multi.runs.kept_epochs import EPOCHS, epoch_path, keep_epoch
from lenet_multi.runs.weights import Parameters, load_weights, save_weights
from lenet_multi.training.points import Point
from lenet_multi.training.settings import Settings

TINY = lenet(conv_channels=(2, 3), dense_units=(4,))
HOSTILE = """</script><img src=x onerror=alert(1)>"'&amp;<!-- \x1b[2J\u202e """


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found:
            tag, attributes = self.found[-1]
            self.texts.setdefault(f"{tag} {attributes.get('type') or ''}".strip(), data)

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.texts["script application/json"])


TAGS = ["html", "head", *["meta"] * 5, "link", "title", "style", "body", "noscript", "main", "script", "script"]


def parameters_of(architecture: Architecture, seed: int = 0) -> Parameters:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in architecture.parameter_shapes.items()}


def segment(backend: str = "torch", **changes: Any) -> Segment:
    return replace(Segment(backend, "PyTorch", "2.13.0", "cpu", 0, 2, 9.0, 1.0, 1.0, None, "plain"), **changes)


@pytest.fixture
def write_run(small_folder):
    """Writes the folder of a run that was never trained."""

    def write(
        folder: Path, architecture: Architecture = TINY, seed: int = 0, settings: Any = None, **changes: Any
    ) -> Path:
        usual = Settings(str(small_folder.resolve()), "", 200, 50, 2, 32, 0.9, 0)
        points = [Point(0.5, 2.5, 0.1), Point(1.0, 2.25, 0.25, 0.5), Point(2.0, 1 / 3, 0.5, 0.625)]
        chosen = replace(usual, **(settings or {}))
        run = replace(Run(architecture, chosen, "torch", "plain", points, [segment()]), **changes)
        folder.mkdir(parents=True)
        save_checkpoint(folder, run, parameters_of(architecture, seed))
        return folder

    return write


def written(tmp_path: Path, *arguments: Any) -> Elements:
    """The page that the command writes."""
    out = tmp_path / "play.html"
    assert playground.main(["--out", str(out), "--weights", *map(str, arguments)]) == 0
    return Elements(out.read_text(encoding="utf-8"))


def refused(arguments: list[Any], capsys) -> str:
    """The one line with which the command refuses."""
    capsys.readouterr()
    assert playground.main(list(map(str, arguments))) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("error: ")
    return printed.err


def decoded(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype)


def numbers(run: dict[str, Any], parameters: Parameters) -> bool:
    """Whether the text holds these parameters, bit for bit, in the order of the description."""
    shapes = Architecture.from_dict(run["description"]).parameter_shapes
    expected = np.concatenate([parameters[name].ravel() for name in shapes])
    return np.array_equal(decoded(run["parameters"], "<f4"), expected)


# What the page holds


def test_the_page_holds_a_trained_run_with_its_epochs(small_folder, tmp_path, capsys):
    options = ["--dataset", str(small_folder), "--epochs", "2", "--batch-size", "50", "--device", "cpu"]
    out = tmp_path / "first"
    assert train.main([*options, "--conv-channels", "2,3", "--keep-epochs", "--out", str(out)]) == 0
    capsys.readouterr()
    data = written(tmp_path, out).data
    assert re.fullmatch(r"'.*play.html' has \d\.\d MB: open it in a browser\n", capsys.readouterr().err)
    run, parameters = load_checkpoint(out)
    (shown,) = data["runs"]
    assert shown["title"] == "PyTorch: first"
    version = run.segments[0].framework_version
    assert shown["facts"] == f"PyTorch {version}, 2 epochs on small, batches of 50, learning rate 0.9, plain loop"
    assert shown["description"] == run.architecture.to_dict()
    assert shown["testAccuracy"] == pytest.approx(run.points[-1].test_acc, rel=1e-4)
    assert len(shown["points"]) == len(run.points)
    last = run.points[-1]
    assert shown["points"][-1] == pytest.approx([2, last.train_loss, last.train_acc, last.test_acc], rel=1e-4)
    assert shown["points"][0][3] is None
    assert numbers(shown, parameters)
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [0, 1, 2]
    assert shown["epochs"][2]["parameters"] == shown["parameters"]
    for epoch in (0, 1):
        assert numbers(shown | shown["epochs"][epoch], load_weights(epoch_path(out, epoch))[0])
        assert not numbers(shown | shown["epochs"][epoch], parameters)


def test_the_page_holds_test_images_as_they_are_in_the_data(write_run, small_data, tmp_path):
    data = written(tmp_path, write_run(tmp_path / "run")).data
    images, indices = data["images"], data["images"]["indices"]
    pixels = decoded(images["pixels"], "u1").reshape(-1, 1, 28, 28)
    np.testing.assert_array_equal(pixels, small_data.test.images[indices])
    assert images["labels"] == small_data.test.labels[indices].tolist()
    assert images["dataset"] == "small"
    assert len(indices) == 50  # five of each class
    assert data["classes"] == list(map(str, range(10)))
    assert data["lightOnBlack"] is False
    colors = decoded(data["colors"], "u1").reshape(256, 3)
    assert (colors[0].tolist(), colors[-1].tolist()) == ([0, 34, 77], [253, 231, 55])
    assert sorted(data) == ["classes", "colors", "frameworks", "images", "lightOnBlack", "runs", "texts"]


def test_a_network_of_fashion_mnist_sees_light_on_black(fashion_mnist, write_run, tmp_path):
    data = written(tmp_path, write_run(tmp_path / "run", settings={"dataset": "fashion-mnist"})).data
    assert data["lightOnBlack"] is True
    assert data["classes"] == list(fashion_mnist.class_names)
    assert np.bincount(data["images"]["labels"]).tolist() == [12] * 10


def test_a_file_that_tells_nothing_has_no_facts_and_takes_data_and_network_from_the_options(
    small_folder, tmp_path, capsys
):
    save_weights(tmp_path / "bare.safetensors", parameters_of(TINY), {})
    options = ["--dataset", small_folder, "--conv-channels", "2,3", "--dense-units", "4"]
    (shown,) = written(tmp_path, tmp_path / "bare.safetensors", *options).data["runs"]
    described = {name: shown[name] for name in ("title", "facts", "testAccuracy", "points", "epochs")}
    assert described == {"title": "bare", "facts": "", "testAccuracy": None, "points": [], "epochs": []}
    assert "pass the network options" in refused(
        ["--weights", tmp_path / "bare.safetensors", "--dataset", small_folder, "--out", tmp_path / "play.html"], capsys
    )


def test_facts_name_each_framework_and_loop_of_a_relay(write_run, small_folder, tmp_path):
    segments = [
        segment(),
        segment("mxnet", framework_version="1.9.1", loop="fast"),
        segment("mxnet", framework_version="1.9.1"),
    ]
    settings = {"dataset": "mnist", "batch_size": 128, "lr": 0.25, "lr_decay_epoch": 8}
    run = write_run(tmp_path / "relay", segments=segments, settings=settings)
    (shown,) = written(tmp_path, run, "--dataset", small_folder).data["runs"]
    assert shown["title"] == "PyTorch, then MXNet: relay"
    assert shown["facts"] == (
        "PyTorch 2.13.0, MXNet 1.9.1, 2 epochs on mnist, batches of 128, learning rate 0.25, a tenth of it after 8 "
        "epochs, plain loop, fast loop"
    )


def test_a_run_before_its_first_epoch_has_a_page(write_run, tmp_path):
    (shown,) = written(tmp_path, write_run(tmp_path / "new", points=[], segments=[])).data["runs"]
    assert shown["facts"] == "PyTorch, 0 epochs on small, batches of 32, learning rate 0.9, plain loop"
    assert (shown["testAccuracy"], shown["points"]) == (None, [])


def test_equal_names_get_titles_that_differ(write_run, tmp_path):
    first = write_run(tmp_path / "a" / "run")
    others = [write_run(tmp_path / "b" / "run"), write_run(tmp_path / "c" / "run", segments=[segment("mxnet")])]
    runs = written(tmp_path, first, *others, first / CHECKPOINT).data["runs"]
    assert [run["title"] for run in runs] == [
        "PyTorch: a/run",
        "PyTorch: b/run",
        "MXNet: run",
        "PyTorch: a/run (2)",
    ]


def test_long_curves_are_thinned(write_run, tmp_path):
    points = [Point(epoch / 2, 1.0, 0.5, 0.5 if epoch % 2 == 0 else None) for epoch in range(1, 2001)]
    segments = [segment(epochs_done=1000)]
    run = write_run(tmp_path / "run", points=points, segments=segments, settings={"epochs": 1000})
    (shown,) = written(tmp_path, run).data["runs"]
    assert MOST_POINTS / 2 < len(shown["points"]) <= MOST_POINTS
    assert shown["points"][-1][0] == 1000


def test_classes_are_named_as_in_the_first_file_that_names_them(write_run, small_data, tmp_path):
    names = tuple("abcdefghij")
    runs = [write_run(tmp_path / "unnamed"), write_run(tmp_path / "named", class_names=names)]
    assert written(tmp_path, *runs).data["classes"] == list(names)
    assert class_names([], small_data) == small_data.class_names


# Kept epochs


def test_an_epoch_whose_checkpoint_was_not_written_is_left_out(write_run, tmp_path):
    run = write_run(tmp_path / "run")
    described, parameters = load_checkpoint(run)
    (run / EPOCHS).mkdir()
    for epoch in (3, 0, 2):
        keep_epoch(run, described, epoch, parameters)
    (shown,) = written(tmp_path, run).data["runs"]
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [0, 2]


def test_an_epoch_of_another_network_is_left_out_with_a_warning(write_run, tmp_path, capsys):
    run = write_run(tmp_path / "run")
    described, parameters = load_checkpoint(run)
    (run / EPOCHS).mkdir()
    keep_epoch(run, described, 0, parameters)
    other = lenet(conv_channels=(2, 3), dense_units=(4,), activation="relu")
    keep_epoch(run, replace(described, architecture=other), 1, parameters)
    (shown,) = written(tmp_path, run).data["runs"]
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [0]
    assert "epoch-0001.safetensors' is of another network than" in capsys.readouterr().err


def test_a_damaged_epoch_is_an_error_in_one_line(write_run, tmp_path, capsys):
    run = write_run(tmp_path / "run")
    (run / EPOCHS).mkdir()
    epoch_path(run, 1).write_bytes(b"damaged")
    line = refused(["--weights", run, "--out", tmp_path / "play.html"], capsys)
    assert "epoch-0001.safetensors' is truncated or not a safetensors file" in line
    assert not (tmp_path / "play.html").exists()


@pytest.mark.parametrize(("most", "shown"), [(99, list(range(11))), (4, [0, 3, 7, 10]), (2, [0, 10]), (1, [])])
def test_of_many_epochs_the_page_holds_evenly_spaced_ones(most, shown, write_run, tmp_path, monkeypatch, capsys):
    points, segments = [Point(10.0, 1.0, 0.5, 0.5)], [segment(epochs_done=10)]
    run = write_run(tmp_path / "run", points=points, segments=segments, settings={"epochs": 10})
    described, parameters = load_checkpoint(run)
    (run / EPOCHS).mkdir()
    for epoch in range(11):
        keep_epoch(run, described, epoch, parameters)
    monkeypatch.setattr(shown_runs, "MOST_OF_EPOCHS", most * TINY.num_parameters)
    capsys.readouterr()
    (found,) = written(tmp_path, run).data["runs"]
    assert [epoch["epoch"] for epoch in found["epochs"]] == shown
    told = f"has 11 kept epochs: the page shows {len(shown)} of them\n"
    assert (told in capsys.readouterr().err) == (len(shown) < 11)


# Images


@pytest.mark.parametrize(
    ("side", "counts"),
    [(28, [12, 12, 12, 3]), (200, [11, 11, 11, 3]), (700, [1, 1, 1, 0]), (2000, [1, 0, 0, 0])],
)
def test_large_images_are_fewer(side, counts):
    """Of four classes, of which the last has three images."""
    labels = np.array([0, 1, 2] * 20 + [3] * 3, np.uint8)
    data = Split(np.broadcast_to(np.uint8(0), (len(labels), 1, side, side)), labels)
    chosen = chosen_images(data)
    assert chosen.tolist() == sorted(chosen)
    assert np.bincount(labels[chosen], minlength=4).tolist() == counts
    size = 4 * -(-len(chosen) * side * side // 3)
    assert size <= MOST_TEXT or len(chosen) == 1


def test_images_of_floats_become_bytes():
    images = np.array([0, 0.5, 1, 0.2], np.float32).reshape(1, 1, 2, 2)
    split = Split(images, np.zeros(1, np.uint8))
    found = image_data(Dataset("floats", split, split, ("a", "b")))
    assert decoded(found["pixels"], "u1").tolist() == [0, 128, 255, 51]


def test_a_network_in_color_has_a_page(tmp_path, write_run):
    for name, value in (("cat", 10), ("dog", 200)):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.full((8, 8, 3), (value, number, 0), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "animals" / name / f"{number}.png")
    network = Architecture((3, 8, 8), (Pool("max", 2, 2), Flatten(), Dense(2)))
    folder = str((tmp_path / "animals").resolve())
    data = written(tmp_path, write_run(tmp_path / "run", network, settings={"dataset": folder})).data
    assert data["classes"] == ["cat", "dog"]
    images = decoded(data["images"]["pixels"], "u1").reshape(-1, 3, 8, 8)
    assert sorted({int(value) for value in images[:, 0, 0, 0]}) == [10, 200]


# The page


def test_the_page_is_one_file_that_runs_its_own_script_alone(write_run, tmp_path):
    elements = written(tmp_path, write_run(tmp_path / "run"))
    assert [tag for tag, _ in elements.found] == TAGS
    attributes = [f"{name}={value}" for _, found in elements.found for name, value in found.items()]
    assert not [text for text in attributes if text.startswith(("src=", "on"))]
    assert [text for text in attributes if text.startswith("href=")] == ["href=data:,"]
    (policy,) = (found["content"] for _, found in elements.found if found.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(elements.texts["script module"].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert elements.texts["title"] == elements.data["texts"]["title"]
    assert elements.found[0] == ("html", {"lang": elements.data["texts"]["language"]})


def test_without_weights_and_images_the_page_is_below_1_mb(write_run, tmp_path):
    elements = written(tmp_path, *(write_run(tmp_path / f"run{number}", seed=number) for number in range(5)))
    data = elements.data
    heavy = len(data["images"]["pixels"]) + sum(len(run["parameters"]) for run in data["runs"])
    assert (tmp_path / "play.html").stat().st_size - heavy < 1_000_000


def test_numbers_that_json_lacks_are_not_written(write_run, tmp_path):
    data = written(tmp_path, write_run(tmp_path / "run")).data
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            page(data | {"runs": [{"testAccuracy": value}]})


def test_names_from_hostile_files_are_data_only(write_run, small_folder, tmp_path, capsys):
    folder = write_folder(tmp_path / "<img src=x onerror=alert(3)>" / "x'\"&\x1b[2J", 30, 30)
    names = (HOSTILE, "x" * 100_000, "\n\n", *"abcdefg")
    segments = [segment(framework=HOSTILE, framework_version=HOSTILE, device="cpu", node="")]
    run = write_run(
        tmp_path / "<script>alert(2)<" / ("run'\"" + "y" * 200),
        settings={"dataset": str(folder.resolve())},
        class_names=names,
        segments=segments,
    )
    elements = written(tmp_path, run)
    assert [tag for tag, _ in elements.found] == TAGS
    assert MARK in (tmp_path / "play.html").read_text()
    data = elements.data
    texts = [*data["classes"], data["images"]["dataset"], data["runs"][0]["title"], data["runs"][0]["facts"]]
    assert max(map(len, texts)) <= 300
    assert max(map(len, data["classes"])) == 60
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(texts))
    assert data["classes"][0].startswith("</script><img src=x onerror=alert(1)>\"'&amp;<!--")
    assert data["classes"][2:] == ["2", *"abcdefg"]  # the third has no name that can be seen
    assert data["images"]["dataset"] == "x'\"&\ufffd[2J"
    raw = (tmp_path / "play.html").read_text()
    assert raw.count("</script") == 2
    assert str(tmp_path) not in raw


# Translations


def translated(folder: Path, **changes: Any) -> Path:
    texts: dict[str, Any] = {name: f"»{text}«" for name, text in page_texts().items()}
    path = folder / "texts.json"
    path.write_text(json.dumps({name: text for name, text in (texts | changes).items() if text is not None}))
    return path


def test_a_translation_replaces_the_texts(write_run, tmp_path):
    title = "</title><script>alert(1)</script>\x1b"
    texts = translated(tmp_path, language='de" onload="x', title=title)
    elements = written(tmp_path, write_run(tmp_path / "run"), "--texts", texts)
    assert [tag for tag, _ in elements.found] == TAGS
    assert elements.found[0] == ("html", {"lang": 'de" onload="x'})
    assert elements.texts["title"] == title.replace("\x1b", "\ufffd")
    assert elements.texts["noscript"].strip() == f"»{page_texts()['noscript']}«"
    assert {text[0] for name, text in elements.data["texts"].items() if name not in ("language", "title")} == {"»"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"title": None}, "lacks 'title': start from a copy of "),
        ({"title": 3}, "'title' is not a text: start from a copy of "),
        ({"title": ["a"], "more": "x"}, "'title' is not a text: start from a copy of "),
        ({"more\x1b": "x"}, r"has 'more\x1b', which the page does not: start from a copy of "),
        ({"epochs.after": "Nach {epoche}"}, "'epochs.after' lacks {epoch}: start from "),
        ({"epochs.after": "Nach {epoch} von {zahl}"}, "'epochs.after' has an unknown placeholder {zahl}: start from "),
        ({"epochs.after": "Nach"}, "'epochs.after' lacks {epoch}: start from a copy of "),
        ("[]", "is not a JSON object of texts: start from a copy of "),
        ("{", "is not a JSON file in UTF-8 (Expecting property name"),
        ("[" * 100_000, "is not a JSON file in UTF-8 (maximum recursion depth exceeded"),
        (b"\xff\xfe", "is not a JSON file in UTF-8 ('utf-8' codec can't decode"),
        (b" " * (2**20 + 1), "has more than 1,048,576 bytes: choose another file"),
    ],
)
def test_texts_that_do_not_fit_are_refused(content, told, write_run, tmp_path, capsys):
    path = translated(tmp_path, **content) if isinstance(content, dict) else tmp_path / "texts.json"
    if not isinstance(content, dict):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    run = write_run(tmp_path / "run")
    line = refused(["--weights", run, "--texts", path, "--out", tmp_path / "play.html"], capsys)
    assert line.startswith(f"error: --texts '{path}'")
    assert told in line
    assert not (tmp_path / "play.html").exists()


def test_every_text_exists_and_is_used():
    """The modules write a name as it is, or compose it, as in `tour.${step}.title`."""
    source = "\n".join(path.read_text() for path in [*WEB.rglob("*.js"), WEB / "page.html.j2"])
    texts = page_texts()
    groups = {name.partition(".")[0] for name in texts}
    written = {name for name in re.findall(r'"(\w+(?:\.\w+)+)"', source) if name.partition(".")[0] in groups}
    assert written - set(texts) == set()
    templates = re.findall(r"`((?:\w+|\$\{[^}]*\})(?:\.(?:\w+|\$\{[^}]*\}))+)`", source)
    composed = [re.sub(r"\$\{[^}]*\}", r"[\\w.]+", name) for name in templates]
    composed.append(r"facts\.\w+")  # in Python
    used = [name for name in texts if name in written or any(re.fullmatch(pattern, name) for pattern in composed)]
    assert set(texts) - set(used) == {"language", "title", "noscript"}


# What is refused


def test_networks_for_other_images_or_classes_are_refused(write_run, tmp_path, capsys):
    first = write_run(tmp_path / "first", class_names=tuple("abcdefghij"))
    networks = {
        "small": lenet(input_shape=(1, 20, 20), conv_channels=(2,), dense_units=(4,)),
        "few": lenet(conv_channels=(2,), dense_units=(4,), num_classes=3),
    }
    others = [write_run(tmp_path / name, network) for name, network in networks.items()]
    others.append(write_run(tmp_path / "named", class_names=tuple("abcdefghix")))
    told = [
        f"'{first / CHECKPOINT}' takes images of 1 x 28 x 28, and '{others[0] / CHECKPOINT}' of 1 x 20 x 20",
        f"'{first / CHECKPOINT}' has 10 classes, and '{others[1] / CHECKPOINT}' 3",
        f"'{first / CHECKPOINT}' calls class 9 'j', and '{others[2] / CHECKPOINT}' calls it 'x'",
    ]
    for other, expected in zip(others, told, strict=True):
        line = refused(["--weights", first, other, "--out", tmp_path / "play.html"], capsys)
        assert line == f"error: {expected}: write a page for each\n"


def test_a_network_that_the_page_cannot_compute_is_refused(write_run, tmp_path, capsys):
    deep = Architecture((1, 28, 28), (*[Pool("avg", 1, 1)] * 99, Flatten(), Dense(10)))
    run = write_run(tmp_path / "deep", deep)
    assert refused(["--weights", run, "--out", tmp_path / "play.html"], capsys) == (
        f"error: '{run / CHECKPOINT}' is too large for a page: it has 101 layers, expected at most 100: choose a "
        "smaller network\n"
    )


def test_too_many_parameters_for_a_page_are_refused(write_run, tmp_path, monkeypatch, capsys):
    runs = [write_run(tmp_path / name) for name in "ab"]
    monkeypatch.setattr(shown_runs, "MOST_ON_PAGE", 2 * TINY.num_parameters - 1)
    line = refused(["--weights", *runs, "--out", tmp_path / "play.html"], capsys)
    assert line == (
        f"error: the networks have {2 * TINY.num_parameters:,} parameters, expected at most "
        f"{2 * TINY.num_parameters - 1:,} on a page: choose fewer or smaller ones\n"
    )
    monkeypatch.setattr(shown_runs, "MOST_ON_PAGE", 2 * TINY.num_parameters)
    written(tmp_path, *runs)


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("play.htm", "does not end in .html: choose such a name"),
        ("missing/play.html", "its folder does not exist: create it first"),
        ("folder.html", "is not a regular file: choose another name"),
        ("mine.html", "exists, but this package did not write it: choose another name, or remove the file"),
    ],
)
def test_a_path_that_cannot_be_written_to_is_refused_before_the_work(out, told, tmp_path, capsys):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("<!doctype html>")
    line = refused(["--weights", tmp_path / "missing.safetensors", "--out", tmp_path / out], capsys)
    assert line.rstrip().endswith(told)
    assert (tmp_path / "mine.html").read_text() == "<!doctype html>"


def test_a_page_can_be_written_again(write_run, tmp_path):
    run = write_run(tmp_path / "run")
    assert written(tmp_path, run).found == written(tmp_path, run).found


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "play.html"], "the following arguments are required: --weights"),
        (["--weights", "x.safetensors"], "the following arguments are required: --out"),
        (["--weights", "x.safetensors", "--out", "play.html"], "weights file 'x.safetensors' does not exist"),
    ],
)
def test_slips_are_errors_in_one_line(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert told in refused(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_no_framework_is_imported(write_run, tmp_path):
    arguments = ["--weights", str(write_run(tmp_path / "run")), "--out", str(tmp_path / "play.html")]
    code = f"""
import sys
from lenet_multi import playground
assert playground.main({arguments!r}) == 0
print({imported_frameworks()})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
