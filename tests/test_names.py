"""Names of files and folders, drawn and printed: whatever a file system allows."""

import json
import os
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from conftest import write_folder
from matplotlib.text import Text

from lenet_multi import activations, compare, train
from lenet_multi.pictures import canvas
from lenet_multi.pictures.canvas import picture, text_width
from lenet_multi.runs import outputs
from lenet_multi.runs.checkpoint import CHECKPOINT, load_run
from lenet_multi.system.names import readable
from lenet_multi.training import curves
from lenet_multi.training.curves import draw_curves, draw_overlaid, png
from lenet_multi.training.points import Point

POINTS = [Point(0.5, 2.0, 0.2), Point(1.0, 1.5, 0.4, 0.5)]
FILES = sorted((CHECKPOINT, *outputs.OUTPUTS))
QUICK = ("--epochs", "1", "--batch-size", "32", "--activation", "tanh", "--lr", "0.2", "--device", "cpu")
NAMES = {
    "formula": "ds-x$y^$z",
    "broken formula": r"$\frac{$",
    "not UTF-8": os.fsdecode(b"caf\xe9-\xff"),
    "no glyph": "\u8863\u670d",
    "line end": "two\nlines",
    "commands": "a\x1b]0;owned\x07b",
    "long": "d" * 200,
}
every_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@every_name
def test_a_run_ends_and_goes_on_whatever_the_name_of_its_data(name, tmp_path, capsys):
    folder, out = write_folder(tmp_path / name), tmp_path / "run"
    assert train.main(["--dataset", str(folder), *QUICK, "--out", str(out)]) == 0
    assert files_in(out) == FILES
    assert train.main(["--resume", "--epochs", "2", "--out", str(out)]) == 0
    assert files_in(out) == FILES
    run = load_run(out)
    assert run.epochs_done == 2
    assert run.settings.dataset == str(folder)
    assert [line[:12] for line in capsys.readouterr().err.splitlines()] == ["epoch 1 of 1", "epoch 2 of 2"]


def test_what_people_read_is_valid_unicode(tmp_path):
    folder, out = write_folder(tmp_path / NAMES["not UTF-8"]), tmp_path / "run"
    assert train.main(["--dataset", str(folder), *QUICK, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_bytes())
    assert summary["dataset"] == str(tmp_path / "caf\ufffd-\ufffd")
    json.dumps(summary, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", [NAMES["formula"], NAMES["not UTF-8"], NAMES["commands"]], ids=ascii)
def test_a_comparison_has_its_report_whatever_the_names(name, tmp_path, capsys):
    """The weights of each run are named in the legend, in the tables and in the report."""
    folder = write_folder(tmp_path / name)
    assert train.main(["--dataset", str(folder), *QUICK, "--out", str(tmp_path / "run")]) == 0
    weights = []
    for number in range(2):
        weights.append(str(folder / f"{number}.safetensors"))
        shutil.copy(tmp_path / "run" / "model.safetensors", weights[-1])
    out = tmp_path / "out"
    data = ["--dataset", str(folder), "--epochs", "1", "--batch-size", "32", "--backends", "torch"]
    assert compare.main([*data, "--vary", f"weights={','.join(weights)}", "--out", str(out)]) == 0
    assert {"compare.json", "curves.png", "curves.svg", "report.html"} < set(files_in(out))
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "0.safetensors" in report
    assert compare.main(["--resume", "--epochs", "2", "--out", str(out)]) == 0
    printed = "".join(capsys.readouterr())
    assert not set(printed) & {"\x1b", "\x07"}
    assert ("a\\x1b]0;owned\\x07b" in printed) == (name == NAMES["commands"])


@pytest.mark.parametrize("name", [NAMES["formula"], NAMES["not UTF-8"], NAMES["commands"]], ids=ascii)
def test_feature_maps_are_drawn_whatever_the_name_of_the_data(name, tmp_path, capsys):
    folder, out = write_folder(tmp_path / name), tmp_path / "run"
    assert train.main(["--dataset", str(folder), *QUICK, "--out", str(out)]) == 0
    for picture_name in ("maps.png", "maps.svg"):
        arguments = ["--weights", str(out), "--examples", "0", "--out", str(tmp_path / picture_name)]
        assert activations.main(arguments) == 0, capsys.readouterr().err
    ElementTree.parse(tmp_path / "maps.svg")


@every_name
def test_a_figure_shows_a_name_as_it_is(name):
    for figure in (draw_curves(POINTS, 1, name), draw_overlaid({name: POINTS, "other": POINTS})):
        png(figure)
        assert readable(name) in texts(figure)
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if text.get_text() == readable(name))


def test_two_names_that_look_the_same_have_a_line_each():
    figure = draw_overlaid({os.fsdecode(b"\xfe"): POINTS, os.fsdecode(b"\xff"): POINTS})
    assert len(figure.axes[0].get_lines()) == 2


def test_the_width_of_a_text_is_that_of_the_drawn_text():
    assert text_width("$x$") > text_width("x") + text_width("$")


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_picture_is_described_whatever_the_name(ending):
    figure, axes = canvas.canvas(100, 100)
    canvas.draw_text(axes, 10, 10, NAMES["not UTF-8"])
    assert picture(figure, ending, NAMES["not UTF-8"], NAMES["not UTF-8"])


def test_half_of_a_surrogate_pair_is_replaced_and_a_whole_character_is_not():
    assert readable("\ud800 a\udcff \U0001f455 \u00e9") == "\ufffd a\ufffd \U0001f455 \u00e9"


def failing(*_):
    raise ValueError("no such\ncolor")


def test_curves_that_cannot_be_drawn_cost_only_themselves(small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(outputs, "draw_curves", failing)
    out = tmp_path / "run"
    assert train.main(["--dataset", str(small_folder), *QUICK, "--out", str(out)]) == 0
    assert files_in(out) == ["history.csv", "model.safetensors", "summary.json"]
    told = capsys.readouterr().err.splitlines()
    assert told[1:] == [f"warning: '{out / 'curves.png'}' cannot be drawn (ValueError: no such color)"]


def test_a_figure_that_cannot_be_drawn_leaves_a_comparison_its_numbers(small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(curves, "line_style", failing)
    out = tmp_path / "out"
    arguments = ["--dataset", str(small_folder), *QUICK, "--backends", "torch", "--out", str(out)]
    assert compare.main(arguments) == 0
    assert files_in(out) == ["compare.json", "report.html", "torch"]
    assert json.loads((out / "compare.json").read_bytes())["runs"][0]["state"] == "done"
    assert (out / "report.html").read_text().count("This figure cannot be drawn.") == 3
    assert "warning: 'train loss' in the report cannot be drawn (ValueError: no such color)" in capsys.readouterr().err


def test_a_name_that_is_not_utf8_is_printed_where_an_encoding_is_strict(tmp_path):
    folder = write_folder(tmp_path / NAMES["not UTF-8"])
    arguments = ["--dataset", str(folder), *QUICK, "--lr", "0.1", "--backends", "torch", "--out", str(folder / "out")]
    process = subprocess.run(
        [sys.executable, "-m", "lenet_multi.compare", *arguments],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    assert b"caf\\udce9" in process.stderr  # where the report is
