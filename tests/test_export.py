"""What `export` writes computes what the run computes, needs no part of this package, and is complete or not there."""

import ast
import gzip
import itertools
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from conftest import INSTALLED, about, needs
from hypothesis import HealthCheck, given, settings
from PIL import Image, ImageOps
from random_networks import architectures, random_parameters

from lenet_multi import backends, evaluate, export, train
from lenet_multi.architecture import PRESETS, Architecture, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import BACKENDS, WITHOUT_GPU, load_backend
from lenet_multi.checks.float64_reference import forward
from lenet_multi.data import load_dataset
from lenet_multi.errors import UserError
from lenet_multi.exporting import exporter, onnx_format, source_format
from lenet_multi.exporting.dialects import torch as torch_dialect
from lenet_multi.exporting.exporter import FORMATS, export_network, export_program
from lenet_multi.exporting.fresh_process import outputs_of
from lenet_multi.exporting.program_text import Pictures, Training, program_text
from lenet_multi.exporting.requirements import requirements
from lenet_multi.runs.checkpoint import load_run
from lenet_multi.runs.weights import load_weights, save_weights
from lenet_multi.system.process import child_environment

ENDINGS = {name: chosen.ending for name, chosen in FORMATS.items()} | {"source": ".py"}
UNUSUAL = Architecture(
    (3, 13, 11),
    (
        Conv(5, 4, padding=2, activation="relu"),
        Pool("max", 3, 2),
        Conv(7, 3, padding=1, activation="tanh"),
        Pool("avg", 2, 1),
        Flatten(),
        Dense(9, "sigmoid"),
        Dense(7),  # and seven classes
    ),
)
SMALL = lenet(input_shape=(1, 8, 8), conv_channels=(2,), kernel_sizes=(3,), paddings=(1,), dense_units=(5,))


def formats(*names: str) -> list[Any]:
    """Formats as parameters of a test; one whose framework is not installed is skipped."""
    marks = {name: needs(chosen.backend) for name, chosen in FORMATS.items() if chosen.backend}
    return [pytest.param(name, marks=marks.get(name, [])) for name in names]


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_folder) -> Path:
    """The folder of a run."""
    out = tmp_path_factory.mktemp("runs") / "first"
    options = ["--batch-size", "32", "--epochs", "1", "--activation", "tanh", "--lr", "0.2", "--seed", "3"]
    assert train.main(["--dataset", str(small_folder), *options, "--out", str(out)]) == 0
    return out


def images(architecture: Architecture, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((5, *architecture.input_shape), np.float32)


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", formats(*FORMATS))
def test_an_exported_file_gives_the_logits_of_the_run_in_a_fresh_process(name, run, tmp_path, capsys):
    out = tmp_path / "new" / f"lenet{ENDINGS[name]}"
    assert export.main(["--weights", str(run), "--format", name, "--out", str(out)]) == 0
    assert "the logits differ from the float64 reference by at most" in capsys.readouterr().out
    expected = {out.name, "classes.txt", "requirements.txt"} | ({"lenet-0000.params"} if name == "gluon" else set())
    assert listed(out.parent) == expected
    architecture, X = lenet(activation="tanh"), images(lenet())
    found = outputs_of(FORMATS[name].loader, out, X)["logits"]
    backend = load_backend("torch")
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, load_weights(run)[0])
    np.testing.assert_allclose(found, backend.layer_outputs(net, X)["dense3"], atol=1e-5)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_run_in_any_framework_is_exported(name, small_folder, tmp_path):
    """The logits of the ONNX file are those of the framework that trained the network."""
    out, file = tmp_path / "run", tmp_path / "exported" / "lenet.onnx"
    options = ["--batch-size", "32", "--epochs", "1", "--activation", "relu", "--lr", "0.1", "--device", "cpu"]
    assert train.main(["--backend", name, "--dataset", str(small_folder), *options, "--out", str(out)]) == 0
    assert export.main(["--weights", str(out), "--format", "onnx", "--out", str(file)]) == 0
    architecture, X = lenet(activation="relu"), images(lenet())
    backend = load_backend(name)
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, load_weights(out)[0])
    found = outputs_of("load_onnx.py", file, X)
    np.testing.assert_allclose(found["logits"], backend.layer_outputs(net, X)["dense3"], atol=1e-5)


@pytest.mark.parametrize("name", formats(*FORMATS))
def test_a_network_of_any_description_and_number_of_classes_is_exported(name, tmp_path):
    parameters, X = random_parameters(UNUSUAL), images(UNUSUAL)
    out = tmp_path / f"net{ENDINGS[name]}"
    assert export_network(name, UNUSUAL, parameters, out) < 1e-6
    found = outputs_of(FORMATS[name].loader, out, X)
    assert found["logits"].shape == (5, 7)
    np.testing.assert_allclose(found["logits"], forward(UNUSUAL, parameters, X)["dense2"], atol=1e-5)


def test_the_layers_of_an_onnx_file_are_outputs_by_their_names(tmp_path):
    parameters, X = random_parameters(UNUSUAL), images(UNUSUAL)
    export_network("onnx", UNUSUAL, parameters, tmp_path / "net.onnx")
    found = outputs_of("load_onnx.py", tmp_path / "net.onnx", X)
    expected = forward(UNUSUAL, parameters, X)
    assert set(found) == {"logits", *UNUSUAL.named_layers}
    for layer, output in expected.items():
        np.testing.assert_allclose(found[layer], output, atol=1e-5)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(architecture=architectures(classes=3))
def test_an_onnx_file_of_any_description_computes_the_same(architecture, tmp_path):
    import onnxruntime

    parameters, X = random_parameters(architecture), images(architecture)
    onnx_format.write(architecture, parameters, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    expected = forward(architecture, parameters, X)
    for layer, output in expected.items():
        (found,) = session.run([layer], {"images": X})
        np.testing.assert_allclose(found, output, atol=1e-5, rtol=1e-5)


# Programs


@pytest.mark.parametrize("weights", [False, True], ids=["new", "weights"])
@pytest.mark.parametrize("name", INSTALLED)
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(architecture=architectures(classes=6))
def test_a_program_for_any_description_computes_the_same(name, weights, architecture, tmp_path_factory):
    """`export_program` compares the shapes, the logits and an epoch of training."""
    out = tmp_path_factory.mktemp("program") / "net.py"
    parameters = random_parameters(architecture) if weights else None
    assert export_program(name, architecture, parameters, Training(seed=4), out) < 1e-5
    assert listed(out.parent) == {"net.py", "requirements.txt"} | ({"net.safetensors"} if weights else set())


@settings(max_examples=10, deadline=None)
@given(architecture=architectures(classes=3))
@pytest.mark.parametrize("training", [Training(), Training(3, 0.1, 64, 7, 2)], ids=["plain", "decay"])
@pytest.mark.parametrize("weights", [False, True], ids=["new", "weights"])
@pytest.mark.parametrize("pictures", [None, Pictures()], ids=["idx", "pictures"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_program_imports_nothing_of_this_package_and_nothing_in_vain(name, pictures, weights, training, architecture):
    text = program_text(name, architecture, training, "net.py", weights, pictures)
    assert "lenet_multi" not in text
    assert "$" not in text
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.asname or alias.name for node in nodes for alias in getattr(node, "names", []) if alias}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert imported <= used | {"keras"}
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("file", ['"""\nimport os\n"""\n.py', "\\N.py", "$layers.py", "\udcff.py"])
@pytest.mark.parametrize("name", BACKENDS)
def test_the_name_of_a_file_adds_nothing_to_its_program(name, file):
    usual = program_text(name, SMALL, Training(), "PROGRAM", weights=False)
    assert program_text(name, SMALL, Training(), file, weights=False) == usual


@pytest.mark.parametrize("file", ["a\nb==1", "a\r\udcff", "a b"])
def test_the_name_of_a_file_adds_no_requirement(file):
    text = requirements(file, ["numpy"])
    assert text.encode().count(b"\n") == 2
    assert [line for line in text.splitlines() if not line.startswith("#")] == [f"numpy=={np.__version__}"]


@pytest.mark.parametrize("weights", [False, True], ids=["new", "weights"])
@pytest.mark.parametrize("pictures", [None, Pictures()], ids=["idx", "pictures"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_program_is_formatted(name, pictures, weights, tmp_path):
    for number, architecture in enumerate(
        (PRESETS["lenet-modern"], UNUSUAL, Architecture((1, 2, 2), (Flatten(), Dense(2))))
    ):
        training = Training(lr_decay_epoch=number or None)
        text = program_text(name, architecture, training, "net.py", weights, pictures)
        (tmp_path / f"net{number}.py").write_text(text)
    ruff = [sys.executable, "-m", "ruff", "--config", str(Path(__file__).parent.parent / "pyproject.toml")]
    for arguments in (["format", "--check"], ["check", "--ignore", "E741"]):
        done = subprocess.run([*ruff[:3], *arguments, *ruff[3:], tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def printed_by(program: Path, *arguments: str) -> str:
    command = [sys.executable, program.name, *arguments]
    environment = child_environment() | WITHOUT_GPU
    done = subprocess.run(command, cwd=program.parent, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def said_by(program: Path, *arguments: str) -> str:
    """What a program that fails prints to standard error."""
    command = [sys.executable, program.name, *arguments]
    done = subprocess.run(command, cwd=program.parent, capture_output=True, text=True, env=child_environment())
    assert done.returncode == 1
    return done.stderr


def test_a_program_refuses_images_of_another_size(small_folder, tmp_path):
    export_program("torch", lenet(input_shape=(1, 14, 14), kernel_sizes=(3,)), None, Training(), tmp_path / "net.py")
    assert "cannot reshape array" in said_by(tmp_path / "net.py", str(small_folder))


def test_a_program_reads_the_idx_files_that_a_run_reads(small_folder, tmp_path):
    """Plain files come first, and compressed ones are known by their content."""
    for path in small_folder.iterdir():
        shutil.copy(path, tmp_path / path.name.removesuffix(".gz"))
        (tmp_path / f"{path.name.removesuffix('.gz')}.gz").write_bytes(b"not read")
    expected = load_dataset(str(tmp_path))
    text = program_text("torch", lenet(), Training(), "net.py", False)
    program: dict[str, Any] = {"np": np, "gzip": gzip}
    exec(text[text.index("def read_idx") : text.index("def load_data")], program)
    for (images, labels), split in zip(program["read_data"](tmp_path), (expected.train, expected.test), strict=True):
        np.testing.assert_array_equal(images, split.images)
        np.testing.assert_array_equal(labels, split.labels)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_program_prints_the_figures_of_the_plain_loop(name, small_folder, tmp_path, capsys):
    network = ["--pooling", "max", "--conv-channels", "3,4", "--activation", "tanh"]
    recipe = ["--epochs", "2", "--lr", "0.3", "--lr-decay-epoch", "1", "--batch-size", "32", "--seed", "5"]
    arguments = ["--backend", name, *network, *recipe]
    assert export.main(["--format", "source", *arguments, "--out", str(tmp_path / "net.py")]) == 0
    capsys.readouterr()
    printed = printed_by(tmp_path / "net.py", str(small_folder))
    assert train.main([*arguments, "--dataset", str(small_folder), "--device", "cpu"]) == 0
    expected = capsys.readouterr().out.splitlines()[0]
    if name == "tensorflow":  # Keras prints four digits, in words of its own
        last = [line for line in printed.splitlines() if "val_accuracy" in line][-1]
        words = dict(part.split(": ") for part in last.split(" - ")[3:])
        found = [float(words[key]) for key in ("loss", "accuracy", "val_accuracy")]
        numbers = [float(part.split()[-1]) for part in expected.split(", ")]
        np.testing.assert_allclose(found, numbers, atol=6e-4)
    else:
        assert f"epoch 2: {expected}" in printed


@pytest.mark.parametrize("name", INSTALLED)
def test_a_program_with_the_weights_of_a_run_evaluates_it(name, run, small_folder, tmp_path, capsys):
    out = tmp_path / "net.py"
    arguments = ["--weights", str(run), "--format", "source", "--backend", name, "--out", str(out)]
    assert export.main(arguments) == 0
    capsys.readouterr()
    assert evaluate.main(["--weights", str(run), "--backend", name, "--device", "cpu"]) == 0
    assert printed_by(out, str(small_folder), "--epochs", "0") == capsys.readouterr().out.strip() + " before training\n"


@needs("jax")
def test_the_network_of_a_program_in_flax_can_be_imported(tmp_path):
    """With the program that the documentation shows."""
    parameters, X = random_parameters(SMALL), images(SMALL)
    export_program("jax", SMALL, parameters, Training(), tmp_path / "net.py")
    found = outputs_of("load_flax.py", tmp_path / "net.py", X)["logits"]
    np.testing.assert_allclose(found, list(forward(SMALL, parameters, X).values())[-1], atol=1e-5)


def test_the_settings_of_a_program_are_given_or_those_of_the_run_or_of_the_preset(run):
    def settings_of(*arguments: str, run: Any = None) -> Training:
        args = export.parser().parse_args([*arguments, "--format", "source", "--out", "x"])
        return export.training_from(args, "lenet5", run)

    own = load_run(run).settings
    assert settings_of() == Training()
    assert settings_of("--seed", "9", "--lr", "0.5") == Training(seed=9, lr=0.5)
    assert settings_of("--architecture", "lenet-modern") == Training(lr=0.2, lr_decay_epoch=8, batch_size=128)
    assert settings_of(run=own) == Training(1, 0.2, 32, 3)
    assert settings_of("--epochs", "4", run=own) == Training(4, 0.2, 32, 3)


# Programs for pictures


@pytest.fixture
def odd_pictures(tmp_path) -> Path:
    """Three classes of pictures: JPEG, turned by EXIF data, transparent, grey, of a palette, of 16 bits."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(0)
    for name in ("Zebra", "a cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            image = Image.fromarray(rng.integers(0, 256, (14, 18, 4), np.uint8), "RGBA")
            file = folder / name / f"{number}.png"
            options: dict[str, Any] = {}
            if number % 4 == 1:
                image, file = image.convert("RGB"), file.with_suffix(".JPG")
                options = {"exif": image.getexif()}
                options["exif"][0x0112] = 6
            elif number % 4 == 2:
                image = image.convert("LA")
            elif number == 3:
                image = image.convert("P")
            elif number == 7:
                image = Image.fromarray(rng.integers(0, 2**16, (14, 18), np.uint16))
            image.save(file, **options)
    (folder / "dog" / "._0.png").write_text("no picture")
    (folder / "__MACOSX").mkdir()
    return folder


@pytest.mark.parametrize("has_parts", [False, True], ids=["held-out", "train-and-test"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_program_reads_the_pictures_that_a_run_reads(name, channels, has_parts, odd_pictures, tmp_path):
    if has_parts:
        for part in ("train", "test"):
            shutil.copytree(odd_pictures, tmp_path / "own" / part)
        odd_pictures = tmp_path / "own"
    fraction = None if has_parts else 0.3
    expected = load_dataset(str(odd_pictures), None, (9, 7), fraction, split_seed=4, channels=channels)
    architecture = Architecture((channels, 9, 7), (Flatten(), Dense(3)))
    text = program_text(name, architecture, Training(), "net.py", False, Pictures(0.3, 4))
    reading, *_ = re.split(r"def (?:load_data|batches)", text[text.index("def visible") :])
    settings = {"test_fraction": 0.3, "split_seed": 4, "Image": Image, "ImageOps": ImageOps}
    program: dict[str, Any] = settings | {"np": np, "numpy": np, "itertools": itertools}
    exec(reading, program)
    assert "test_fraction = 0.3 " in text
    assert "split_seed = 4 " in text
    for (images, labels), split in zip(
        program["read_data"](odd_pictures), (expected.train, expected.test), strict=True
    ):
        np.testing.assert_array_equal(images, split.images)
        np.testing.assert_array_equal(labels, split.labels)


@pytest.mark.parametrize("name", INSTALLED)
def test_the_program_of_a_run_on_pictures_prints_its_figures(name, odd_pictures, tmp_path, capsys):
    network = ["--conv-channels", "3,4", "--activation", "relu", "--dataset", str(odd_pictures)]
    recipe = ["--epochs", "2", "--lr", "0.05", "--batch-size", "4", "--image-size", "16,20", "--test-fraction", "0.4"]
    arguments = ["--backend", name, "--device", "cpu", "--split-seed", "3", "--out", str(tmp_path / "run")]
    assert train.main([*network, *recipe, *arguments]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    out = tmp_path / "program" / "net.py"
    assert (
        export.main(["--weights", str(tmp_path / "run"), "--format", "source", "--backend", name, "--out", str(out)])
        == 0
    )
    assert listed(out.parent) == {"net.py", "net.safetensors", "classes.txt", "requirements.txt"}
    assert (out.parent / "classes.txt").read_text().splitlines() == ["Zebra", "a cat", "dog"]
    assert "pillow" in pinned(out.parent)
    printed = printed_by(out, str(odd_pictures), "--epochs", "0")
    assert printed == f"test acc {line.partition('test acc ')[2].partition(',')[0]} before training\n"
    (odd_pictures / "fish").mkdir()
    told = f"error: {odd_pictures} has 4 class folders, but the network has 3 outputs"
    assert said_by(out, str(odd_pictures)).splitlines()[-1] == told


def test_a_program_refuses_test_pictures_of_other_classes(odd_pictures, tmp_path):
    for part in ("train", "test"):
        shutil.copytree(odd_pictures, tmp_path / "own" / part)
    (tmp_path / "own" / "test" / "dog").rename(tmp_path / "own" / "test" / "bird")
    architecture = Architecture((3, 9, 7), (Flatten(), Dense(3)))
    export_program("torch", architecture, None, Training(), tmp_path / "net.py", Pictures())
    assert said_by(tmp_path / "net.py", str(tmp_path / "own")).endswith("have other classes\n")


@pytest.mark.parametrize("name", INSTALLED)
def test_a_program_for_pictures_is_checked(name, monkeypatch, tmp_path):
    architecture = lenet(input_shape=(3, 8, 8), conv_channels=(2,), dense_units=(5,), num_classes=30)
    assert export_program(name, architecture, None, Training(), tmp_path / "net.py", Pictures(0.9, 2)) < 1e-5

    def changed(*arguments: Any, **named: Any) -> str:
        return program_text(*arguments, **named).replace("split_seed)", "split_seed + 1)")

    monkeypatch.setattr(source_format, "program_text", changed)
    with pytest.raises(UserError, match="the loss after an epoch"):
        export_program(name, architecture, None, Training(), tmp_path / "new" / "net.py", Pictures(0.9, 2))


def test_which_data_a_program_reads(run):
    grey, color = lenet(), lenet(input_shape=(3, 28, 28))
    idx = load_run(run).settings
    of_pictures = replace(idx, test_fraction=0.5, split_seed=7, data_format="pictures")
    assert export.pictures_of(grey, None) is None
    assert export.pictures_of(color, None) == Pictures()
    assert export.pictures_of(grey, idx) is None
    assert export.pictures_of(grey, of_pictures) == Pictures(0.5, 7)
    assert export.pictures_of(grey, replace(of_pictures, test_fraction=None)) == Pictures(0.2, 7)
    for outputs in (1, 300):
        with pytest.raises(UserError, match=f"2 to 256 classes, but the network has {outputs} outputs"):
            export.pictures_of(color.for_data(color.input_shape, outputs), None)


# What is wrong is found, and nothing is kept


@pytest.mark.parametrize("name", formats(*FORMATS))
def test_a_file_that_computes_something_else_is_refused(name, monkeypatch, tmp_path):
    parameters = random_parameters(SMALL)
    wrong = {key: value + np.float32(1e-3) for key, value in parameters.items()}
    write = FORMATS[name].write
    chosen = FORMATS[name].__class__(**{**vars(FORMATS[name]), "write": lambda a, _, path: write(a, wrong, path)})
    monkeypatch.setitem(exporter.FORMATS, name, chosen)
    with pytest.raises(UserError, match=r"the logits of the exported file differ by \S+, expected at most 1e-05"):
        export_network(name, SMALL, parameters, tmp_path / "new" / f"net{ENDINGS[name]}")
    assert listed(tmp_path) == set()


def test_an_onnx_file_with_a_wrong_layer_output_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_format, "_graph", with_wrong_output(onnx_format._graph))
    with pytest.raises(UserError, match="the outputs of conv1 of the exported file differ"):
        export_network("onnx", SMALL, random_parameters(SMALL), tmp_path / "net.onnx")


def with_wrong_output(graph_of: Any) -> Any:
    """ONNX graphs whose output `conv1` is the negative of what the next layer takes."""

    def graph(architecture: Architecture, parameters: Any) -> Any:
        from onnx import helper

        made = graph_of(architecture, parameters)
        for node in made.node:
            node.output[:] = ["conv1_inner" if output == "conv1" else output for output in node.output]
            node.input[:] = ["conv1_inner" if name == "conv1" else name for name in node.input]
        made.node.append(helper.make_node("Neg", ["conv1_inner"], ["conv1"]))
        return made

    return graph


@pytest.mark.parametrize("name", formats(*FORMATS))
def test_a_file_that_cannot_be_loaded_is_refused(name, monkeypatch, tmp_path):
    def write(architecture: Architecture, parameters: Any, path: Path) -> None:
        path.write_bytes(b"something else")

    chosen = FORMATS[name].__class__(**{**vars(FORMATS[name]), "write": write})
    monkeypatch.setitem(exporter.FORMATS, name, chosen)
    with pytest.raises(UserError, match=r"the exported file cannot be run \(.+\): nothing was written"):
        export_network(name, SMALL, random_parameters(SMALL), tmp_path / f"net{ENDINGS[name]}")
    assert listed(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "correct", "wrong", "told"),
    about(
        ("torch", "nn.Sigmoid", "nn.Tanh", "the logits of"),
        ("torch", "nn.Flatten(),", "nn.Flatten(),\n    nn.Identity(),", "the program has 8 layers, expected 7"),
        ("torch", "stride=2", "stride=3", "cannot be run"),
        ("torch", "[seed, epoch]", "[seed, epoch + 1]", "the loss after an epoch"),
        ("torch", "/ 255", "/ 256", "the loss after an epoch"),
        ("torch", "lr=lr)", "lr=lr / 2)", "after an epoch"),
        ("tensorflow", 'padding="same", ', "", "layer conv1 of the program has output shape"),
        ("tensorflow", "[seed, epoch]", "[seed, epoch + 1]", "the loss after an epoch"),
        ("tensorflow", "from_logits=True", "from_logits=False", "the loss after an epoch"),
        ("mxnet", "AvgPool2D", "MaxPool2D", "the logits of"),
        ("mxnet", "trainer.step(len(y))", "trainer.step(1)", "after an epoch"),
        ("jax", "padding=1", "padding=0", "cannot be run"),
        ("jax", "nnx.avg_pool", "nnx.max_pool", "the logits of"),
        ("jax", "return l,", "return 2 * l,", "the loss after an epoch"),
        ("jax", "optax.sgd(lr)", "optax.adam(lr)", "after an epoch"),
    ),
)
def test_a_program_that_computes_something_else_is_refused(name, correct, wrong, told, monkeypatch, tmp_path):
    def changed(*arguments: Any, **named: Any) -> str:
        text = program_text(*arguments, **named)
        assert correct in text
        return text.replace(correct, wrong)

    monkeypatch.setattr(source_format, "program_text", changed)
    with pytest.raises(UserError, match=told):
        export_program(name, SMALL, None, Training(), tmp_path / "new" / "net.py")
    assert listed(tmp_path) == set()


def test_initial_weights_of_another_seed_are_refused(monkeypatch, tmp_path):
    def changed(*arguments: Any, **named: Any) -> str:
        return program_text(*arguments, **named).replace("torch.manual_seed(seed)", "torch.manual_seed(seed + 1)")

    monkeypatch.setattr(source_format, "program_text", changed)
    with pytest.raises(UserError, match="the logits of"):
        export_program("torch", SMALL, None, Training(), tmp_path / "net.py")


def test_weights_in_a_wrong_order_are_refused(monkeypatch, tmp_path):
    def swapped(net: Any) -> dict[str, np.ndarray]:
        arrays = torch_dialect.weights(net)
        return arrays | {"0.bias": arrays["0.bias"][::-1]}

    monkeypatch.setattr(torch_dialect, "DIALECT", replace(torch_dialect.DIALECT, weights=swapped))
    with pytest.raises(UserError, match="the logits of"):
        export_program("torch", SMALL, random_parameters(SMALL), Training(), tmp_path / "net.py")


def test_when_a_file_cannot_be_written_none_is_kept(monkeypatch, tmp_path):
    def write(path: Path, content: bytes) -> None:
        if path.suffix == ".onnx":
            raise UserError("the disk is full")
        path.write_bytes(content)

    monkeypatch.setattr(exporter, "write_atomically", write)
    with pytest.raises(UserError, match="the disk is full"):
        export_network("onnx", SMALL, random_parameters(SMALL), tmp_path / "new" / "net.onnx")
    assert listed(tmp_path) == set()


# What a user can do wrong


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert export.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "onnx", "--out", "a.onnx"], "--format onnx needs the parameters of a run: add --weights PATH"),
        (["--format", "pickle", "--out", "a.pkl"], "--format: invalid choice: 'pickle'"),
        (["--format", "source", "--out", "a.txt"], "--out 'a.txt' is not a name that ends in .py: choose one"),
        (["--format", "source", "--out", ".py"], "--out '.py' is not a name that ends in .py: choose one"),
        (["--format", "source", "--out", ""], "--out: invalid value ''"),
        (["--format", "source", "--backend", "numpy", "--out", "a.py"], "unknown backend 'numpy'"),
        (["--format", "source", "--lr", "0", "--out", "a.py"], "--lr: invalid value '0'"),
        (["--format", "source", "--kernel-sizes", "40", "--out", "a.py"], "layer conv1: a 40 x 40 window"),
        (["--format", "source", "--weights", "no", "--out", "a.py"], "weights file 'no' does not exist"),
        (["--format", "source", "--out", "held/a.py"], "--out 'held' already holds requirements.txt: choose another"),
        (["--format", "source", "--out", "file/a.py"], "'file"),
        (["--format", "onnx", "--lr", "0.1", "--out", "a.onnx"], "--lr is for --format source: omit it"),
        (["--format", "torch", "--backend", "torch", "--out", "a.pt2"], "--backend is for --format source"),
        (["--out", "a.py"], "the following arguments are required: --format"),
    ],
)
def test_what_a_user_can_do_wrong_is_told_in_one_line(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "requirements.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    assert told in refused(arguments, capsys)
    assert listed(tmp_path) == {"held", "held/requirements.txt", "file"}


@pytest.mark.parametrize("name", ["lenet.onnx", "requirements.txt"])
def test_a_file_in_the_place_of_an_exported_one_is_not_overwritten(name, run, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    arguments = ["--weights", str(run), "--format", "onnx", "--out", str(tmp_path / "lenet.onnx")]
    assert f"already holds {name}: choose another folder" in refused(arguments, capsys)
    assert listed(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_is_told_with_its_extra(package, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    arguments = ["--weights", str(run), "--format", "onnx", "--out", str(tmp_path / "lenet.onnx")]
    line = refused(arguments, capsys)
    assert line == f'error: the onnx format needs {package}: pip install "lenet-multi[onnx]"'


@pytest.mark.parametrize(("name", "backend"), [("torch", "torch"), ("keras", "tensorflow"), ("gluon", "mxnet")])
def test_a_framework_that_is_missing_is_told(name, backend, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backends, "installed_backends", lambda: ())
    arguments = ["--weights", str(run), "--format", name, "--out", str(tmp_path / f"lenet{ENDINGS[name]}")]
    assert f"the {backend} backend needs" in refused(arguments, capsys)


def test_a_network_that_an_onnx_file_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_format, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="bytes of parameters, expected at most 100 in an ONNX file"):
        export_network("onnx", SMALL, random_parameters(SMALL), tmp_path / "net.onnx")


@pytest.mark.parametrize("name", ["torch.py", "json.py", "numpy.py"])
def test_a_program_with_the_name_of_a_module_is_refused(name, tmp_path, capsys):
    assert export.main(["--format", "source", "--out", str(tmp_path / name)]) == 2
    assert "has the name of a module, which Python would import instead" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_network_of_two_channels_has_no_program(tmp_path, capsys):
    architecture, weights = lenet(input_shape=(2, 28, 28)), tmp_path / "two.safetensors"
    save_weights(weights, random_parameters(architecture), {"architecture": architecture.to_dict()})
    arguments = ["--weights", str(weights), "--format", "source", "--out", str(tmp_path / "new" / "lenet.py")]
    assert export.main(arguments) == 2
    assert "reads images of 1 or 3 channels, but the network takes 2: choose another" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_logits_that_are_not_finite_are_refused(tmp_path):
    parameters = {name: np.full_like(value, 3e38) for name, value in random_parameters(SMALL).items()}
    with pytest.raises(UserError, match="the network's logits are not finite in float32: choose other weights"):
        export_network("onnx", SMALL, parameters, tmp_path / "net.onnx")
    assert listed(tmp_path) == set()


@pytest.mark.parametrize(("name", "needed"), [("onnx", {"numpy", "onnxruntime"})])
def test_the_requirements_pin_what_is_needed(name, needed, run, tmp_path):
    out = tmp_path / f"lenet{ENDINGS[name]}"
    assert export.main(["--weights", str(run), "--format", name, "--out", str(out)]) == 0
    assert pinned(tmp_path) == {package: version(package) for package in needed}


@pytest.mark.parametrize(
    ("name", "needed"),
    about(
        ("torch", {"numpy", "torch"}),
        ("tensorflow", {"numpy", "keras", "tensorflow"}),
        ("mxnet", {"numpy", "mxnet", *({"setuptools"} if sys.version_info >= (3, 12) else ())}),
        ("jax", {"numpy", "jax", "flax", "optax"}),
    ),
)
def test_the_requirements_of_a_program_pin_what_it_imports(name, needed, tmp_path):
    export_program(name, SMALL, None, Training(), tmp_path / "a" / "net.py")
    export_program(name, SMALL, random_parameters(SMALL), Training(), tmp_path / "b" / "net.py")
    expected = {package: version(package).partition("+")[0] for package in needed}
    assert pinned(tmp_path / "a") == expected
    assert pinned(tmp_path / "b") == expected | {"safetensors": version("safetensors")}
    assert safetensors.numpy.load_file(tmp_path / "b" / "net.safetensors").keys()


def pinned(folder: Path) -> dict[str, str]:
    lines = [line for line in (folder / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)
