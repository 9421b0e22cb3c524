"""The chapter's exercises: the preset `lenet-modern`, MNIST, and the script that writes the page."""

import importlib.util
import re
import sys
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED, write_folder
from matplotlib.image import imread

from lenet_multi import train
from lenet_multi.architecture import PRESETS, Conv, Dense, Flatten, Pool
from lenet_multi.backends import BACKENDS
from lenet_multi.data import FILE_NAMES, load_dataset, published, synthetic, to_idx
from lenet_multi.runs.checkpoint import load_checkpoint
from lenet_multi.runs.options import architecture_from, network_of, run_parser
from lenet_multi.runs.options import recipe as recipe_of
from lenet_multi.system.command import run_command

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "exercises.md"
MODERN = ["--architecture", "lenet-modern"]


def load_script():
    """Import scripts/exercises as a module."""
    loader = SourceFileLoader("exercises", str(ROOT / "scripts" / "exercises"))
    spec = importlib.util.spec_from_loader("exercises", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "exercises", module)
        patch.syspath_prepend(ROOT / "scripts")  # as Python does for a script
        loader.exec_module(module)
    return module


exercises = load_script()
exercise_runs = sys.modules["exercise_runs"]  # imported by the script


def recipe(*arguments: str) -> tuple[float, int, int | None]:
    """Learning rate, batch size and decay epoch of a new run with these arguments."""
    args = run_parser("train", "").parse_args(arguments)
    values = recipe_of(args, args.architecture)
    return values["lr"], values["batch_size"], values["lr_decay_epoch"]


def test_lenet_modern_sets_its_learning_rate_and_batch_size():
    assert recipe() == recipe("--architecture", "lenet5-max") == (0.9, 256, None)
    assert recipe(*MODERN) == (0.2, 128, 8)
    assert recipe(*MODERN, "--pooling", "avg") == (0.2, 128, 8)


def test_options_override_the_recipe_of_the_preset():
    assert recipe(*MODERN, "--lr", "0.05") == (0.05, 128, 8)
    assert recipe(*MODERN, "--batch-size", "32") == (0.2, 32, 8)


def test_lenet_modern_has_the_same_kinds_of_layers_as_lenet5():
    layers = PRESETS["lenet-modern"].layers
    assert [type(layer) for layer in layers] == [Conv, Pool, Conv, Pool, Flatten, Dense, Dense, Dense]
    assert PRESETS["lenet-modern"].output_shapes["pool2"] == (32, 7, 7)


def test_a_run_from_weights_uses_the_recipe_of_their_network(small_folder, tmp_path):
    data = ["--dataset", str(small_folder), "--epochs", "1", "--device", "cpu"]
    assert train.main([*data, *MODERN, "--out", str(tmp_path / "first")]) == 0
    weights = str(tmp_path / "first" / "model.safetensors")
    assert train.main([*data, "--weights", weights, "--out", str(tmp_path / "second")]) == 0
    run, _ = load_checkpoint(tmp_path / "second")
    assert (run.architecture.name, run.settings.lr, run.settings.batch_size) == ("lenet-modern", 0.2, 128)


@pytest.fixture
def small_mnist(tmp_path, monkeypatch) -> Path:
    """A data folder with `mnist/`: four small IDX files, whose digests are registered as those of MNIST."""
    folder = write_folder(tmp_path / "data" / "mnist", num_train=640, num_test=100)
    digests = {name: sha256((folder / name).read_bytes()).hexdigest() for name in FILE_NAMES.values()}
    small = published.Published("MNIST", (), digests, published.MNIST.class_names)
    monkeypatch.setitem(published.PUBLISHED, "mnist", small)
    return folder.parent


@pytest.mark.parametrize("backend_name", INSTALLED)
def test_lenet_modern_learns_mnist(backend_name, small_mnist, tmp_path):
    out = tmp_path / "digits"
    data = ["--dataset", "mnist", "--data-dir", str(small_mnist)]
    quick = ["--epochs", "8", "--batch-size", "16", "--lr", "0.05", "--device", "cpu"]
    assert train.main(["--backend", backend_name, *data, *MODERN, *quick, "--out", str(out)]) == 0
    run, _ = load_checkpoint(out)
    assert (run.settings.dataset, run.architecture) == ("mnist", PRESETS["lenet-modern"])
    test_acc = run.points[-1].test_acc
    assert test_acc is not None
    assert test_acc > 0.9  # chance is 0.1


def test_the_steps_of_the_ablation_lead_to_lenet_modern():
    change: dict[str, str] = {}
    for step in exercise_runs.STEPS.values():
        change |= step
    arguments = [f"--{name}={value}" for name, value in change.items()]
    assert architecture_from(run_parser("train", "").parse_args(arguments)) == PRESETS["lenet-modern"]
    assert recipe(*arguments) == recipe(*MODERN)


def test_every_row_of_the_ablation_has_a_different_network_or_recipe():
    rows = []
    for options in exercise_runs.ablation().values():
        arguments = [f"--{name}={value}" for name, value in options.items()]
        args = run_parser("train", "").parse_args(arguments)
        rows.append((network_of(args), *recipe(*arguments), args.weights))
    assert len(rows) == len(set(rows)) == len(exercise_runs.STEPS) + len(exercise_runs.VARIATIONS)


def test_he_weights_are_uniform_within_their_bound():
    architecture = PRESETS["lenet-modern"]
    parameters = exercise_runs.he_uniform(architecture, seed=0)
    assert {name: value.shape for name, value in parameters.items()} == architecture.parameter_shapes
    assert all(value.dtype == np.float32 for value in parameters.values())
    for name, fan_in in {"conv1": 25, "conv2": 16 * 9, "dense1": 32 * 7 * 7, "dense3": 128}.items():
        assert not parameters[f"{name}.bias"].any()
        found, bound = np.abs(parameters[f"{name}.weight"]), np.sqrt(6 / fan_in)
        assert bound * 0.99 < found.max() <= bound * 1.000001
        assert found.mean() == pytest.approx(bound / 2, rel=0.1)


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    """Arguments of the script: few images drawn by code, one epoch, and a copy of the page."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "lenet_multi" / f"synthetic-v{synthetic.VERSION}"
    folder.mkdir(parents=True)
    for name, array in zip(FILE_NAMES.values(), synthetic.generate(300, 100), strict=True):
        (folder / name).write_bytes(to_idx(array))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "exercises.md").write_text(PAGE.read_text())
    places = ["--dataset", "synthetic", "--out", str(tmp_path / "runs"), "--docs", str(tmp_path / "docs")]
    return [*places, "--epochs", "1", "--backends", "torch"]


def run_script(*arguments: str) -> int:
    return run_command(exercises.command, arguments)


def block(page: Path, name: str) -> str:
    """The text of a measured block of the page."""
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", page.read_text(), flags=re.S)
    return text


def test_the_script_writes_tables_and_pictures_and_reuses_finished_runs(arguments, tmp_path, capsys):
    assert run_script("pooling", "activations", *arguments, "--seeds", "0,1") == 0
    printed = capsys.readouterr()
    assert re.findall(r"^([a-z ]+):? \d+ s$", printed.out, flags=re.M) == ["pooling", "activations", "total"]
    page = tmp_path / "docs" / "exercises.md"
    rows = [row.split(" | ") for row in block(page, "pooling").splitlines() if row.startswith("| PyTorch")]
    assert [row[1:3] for row in rows] == [["average", "0, 1"], ["maximum", "0, 1"]]
    run, _ = load_checkpoint(tmp_path / "runs" / "torch-0")
    assert f"{run.points[-1].train_loss:.3f}" in rows[0][3]
    assert "| `lenet-modern` | coat |" in block(page, "activations")
    assert block(page, "modern") == block(PAGE, "modern")  # not selected
    for picture in ("exercises-pooling.png", "exercises-maps-lenet5.png", "exercises-maps-lenet-modern.png"):
        assert imread(tmp_path / "docs" / picture).std() > 0

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/model.safetensors")}
    first = page.read_text()
    assert len(kept) == 5
    assert run_script("pooling", "activations", *arguments, "--seeds", "0,1") == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert page.read_text() == first
    assert capsys.readouterr().err.count("(reused)") == 6


def test_the_predictions_of_a_class_add_up_to_its_examples(arguments, tmp_path):
    assert run_script("activations", *arguments, "--seeds", "0") == 0
    page = (tmp_path / "docs" / "exercises.md").read_text()
    rows = re.findall(r"^\| `\S+` \| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, flags=re.M)
    dataset = load_dataset("synthetic")
    sizes = dict(zip(dataset.class_names, np.bincount(dataset.test.labels), strict=True))
    assert [(name, sum(map(int, counts))) for name, *counts in rows] == [
        (name, sizes[name]) for name in ("pullover", "coat") * 2
    ]


def test_finished_only_writes_the_finished_runs(arguments, tmp_path):
    assert run_script("modern", *arguments) == 0
    assert run_script("ablation", *arguments, "--finished-only") == 0
    lines = block(tmp_path / "docs" / "exercises.md", "ablation").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [title for title, *_ in rows] == list(exercise_runs.STEPS)
    assert [title for title, *cells in rows if "not trained" not in cells] == [list(exercise_runs.STEPS)[-1]]
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("name", exercises.EXERCISES)
def test_finished_only_without_a_finished_run_leaves_the_page_unchanged(name, arguments, tmp_path, capsys):
    assert run_script(name, *arguments, "--finished-only") == 2
    assert "no run is finished" in capsys.readouterr().err
    assert (tmp_path / "docs" / "exercises.md").read_text() == PAGE.read_text()


def test_a_variation_of_the_initialization_starts_from_its_weights(arguments, tmp_path, monkeypatch):
    varied = {"lenet-modern": exercise_runs.MODERN, "he": exercise_runs.MODERN | {"weights": "he", "lr": "1e-30"}}
    monkeypatch.setattr(exercises, "ablation", lambda: varied)
    monkeypatch.setattr(exercises, "STEPS", varied)
    assert run_script("ablation", *arguments) == 0
    _, parameters = load_checkpoint(tmp_path / "runs" / "torch-0-architecture-lenet-modern-weights-he-lr-1e-30")
    for name, value in exercise_runs.he_uniform(PRESETS["lenet-modern"], seed=0).items():
        np.testing.assert_allclose(parameters[name], value, rtol=0, atol=1e-25)


def test_a_run_with_another_network_is_not_reused(arguments, tmp_path, capsys):
    small = [*arguments[:2], "--epochs", "1"]
    assert train.main([*small, "--dense-units", "7", "--out", str(tmp_path / "runs" / "torch-0")]) == 0
    assert run_script("pooling", *arguments) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_a_failed_run_is_reported_in_one_line(arguments, capsys, monkeypatch):
    monkeypatch.setitem(exercise_runs.POOLINGS, "average", {"batch-size": "301"})
    assert run_script("pooling", *arguments) == 2
    assert "error: torch-0-batch-size-301: --batch-size 301 is larger than the 300" in capsys.readouterr().err


def test_a_page_without_the_markers_is_unchanged(arguments, tmp_path, capsys):
    page = tmp_path / "docs" / "exercises.md"
    page.write_text("nothing\n")
    assert run_script("modern", *arguments) == 2
    assert "has 0 blocks from <!-- modern -->" in capsys.readouterr().err
    assert page.read_text() == "nothing\n"


def test_an_unknown_exercise_is_refused(arguments, capsys):
    assert run_script("polling", *arguments) == 2
    assert "unknown exercise 'polling': choose one of pooling, modern, ablation, activations" in capsys.readouterr().err


def test_the_page_has_tables_and_small_pictures():
    for name in exercises.EXERCISES:
        assert "| --- |" in block(PAGE, name)
        assert "Machine: " in block(PAGE, name)
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", PAGE.read_text())
    assert len(pictures) >= 4
    for alternative, name in pictures:
        assert len(alternative) > 20
        assert (PAGE.parent / name).stat().st_size < 200_000


def test_lenet_modern_reaches_the_goal_in_every_framework_on_the_page():
    rows = [row.strip("| ").split(" | ") for row in block(PAGE, "modern").splitlines() if row.startswith("| ")][2:]
    assert [row[0] for row in rows] == list(BACKENDS.values())[: len(rows)]
    assert len(rows) >= 3
    assert all(float(row[3]) >= exercises.GOAL for row in rows)
