"""Comparisons: the runs side by side, the report, what fails and what is refused."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED, SECOND, imported_frameworks, needs_two, subset

from lenet_multi import backends, compare, train
from lenet_multi.architecture import lenet
from lenet_multi.backends import ALIASES, BACKENDS, load_backend, packages_of
from lenet_multi.checks.fixture import Fixture
from lenet_multi.comparison import findings as findings_module
from lenet_multi.comparison import outcome
from lenet_multi.comparison.findings import (
    ComparedNetwork,
    Findings,
    check_trained_network,
    confusion_matrix,
    predictions_and_confidence,
    shape_tables,
)
from lenet_multi.comparison.folder import stored_plan
from lenet_multi.comparison.page import data_uri, page
from lenet_multi.comparison.plan import OPTIONS, Plan, RunSpec
from lenet_multi.comparison.results import Comparison, RunResult
from lenet_multi.comparison.vary import parse_vary
from lenet_multi.data import Dataset, Split
from lenet_multi.errors import UserError
from lenet_multi.runs import initial_weights, options, prediction, trainer
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint
from lenet_multi.runs.prediction import logits_of
from lenet_multi.runs.weights import load_weights
from lenet_multi.system import child_processes, folder_lock
from lenet_multi.system.option_parser import Option
from lenet_multi.training.curves import PANELS, draw_overlaid, line_style
from lenet_multi.training.points import Point

SMALL_NETWORK = ("--conv-channels", "2", "--dense-units", "12")
QUICK = ("--epochs", "1", "--batch-size", "32", "--activation", "tanh", "--lr", "0.2", "--device", "cpu")
FILES = ["compare.json", "curves.png", "curves.svg", "report.html"]
BOTH = f"torch,{SECOND}"
PATIENCE = 120  # seconds until a process that does not get anywhere fails the test


@pytest.fixture(scope="module")
def quick(small_folder):
    """Arguments of a comparison that takes a moment."""
    return ["--dataset", str(small_folder), *QUICK, *SMALL_NETWORK]


@pytest.fixture(scope="module")
def compared(quick, tmp_path_factory):
    """A comparison of all installed backends, made once; nobody writes into it."""
    out = tmp_path_factory.mktemp("compared") / "new" / "out"
    status = compare.main([*quick, "--out", str(out)])
    return out, status


@pytest.fixture(scope="module")
def same_start(quick, tmp_path_factory):
    """A comparison of all installed backends from the same weights, made once; nobody writes into it."""
    if len(INSTALLED) < 2:
        pytest.skip(needs_two.kwargs["reason"])
    out = tmp_path_factory.mktemp("same-start") / "out"
    assert compare.main([*quick, "--same-start", "--out", str(out)]) == 0
    return out


@pytest.fixture
def commands(monkeypatch):
    """The options of each run that would be started; none is trained."""
    given: list[list[str]] = []

    def run(command):
        module, *options = command[2:]
        if module == "lenet_multi.runs.initial_weights":
            assert initial_weights.main(options) == 0
            return None
        given.append(options)
        return "not trained"

    monkeypatch.setattr(child_processes, "run_in_process", run)
    return given


def copied(comparison: Path, folder: Path) -> Path:
    """A comparison that may be changed."""
    out = folder / "copied"
    subprocess.run(["cp", "-r", str(comparison), str(out)], check=True)
    return out


def stored(out: Path) -> dict:
    return json.loads((out / "compare.json").read_text())


def refused(arguments, capsys) -> str:
    """The one line that a refused command prints."""
    capsys.readouterr()
    assert compare.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", printed.err)
    return printed.err


# The page


class Page(HTMLParser):
    """Reads HTML strictly: every element that needs an end has one, in the right order."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


def asks_for_nothing(text: str) -> bool:
    """Whether a page is all there is: no address but within the page or with its content inside, in scripts neither."""
    page = Page(text)
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    ]
    inside = all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    foreign = re.search(r"://|@import|@font-face|url\((?!#)|\bimport\b|\bfetch\b|XMLHttpRequest|WebSocket", text)
    return inside and not foreign and not page.all("link")


def test_a_page_that_asks_for_something_is_seen():
    assert asks_for_nothing('<p><img src="data:image/png;base64,AA"><a href="#x">x</a></p><script>1</script>')
    for asking in (
        '<img src="curves.png">',
        '<link rel="stylesheet" href="#">',
        '<script src="report.js"></script>',
        "<script>fetch(name)</script>",
        "<script>import('./' + name)</script>",
        "<style>@import 'x'</style>",
        "<style>p { background: url(x.png) }</style>",
        '<a href="https://d2l.ai">x</a>',
    ):
        assert not asks_for_nothing(asking)
    with pytest.raises(AssertionError):
        Page("<p><b>x</p></b>")


# All backends


def test_all_backends_are_trained_side_by_side(compared):
    out, status = compared
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([*INSTALLED, *FILES])
    found = stored(out)
    assert [(run["name"], run["state"]) for run in found["runs"]] == [(name, "done") for name in INSTALLED]
    for run in found["runs"]:
        assert run["summary"] == json.loads((out / run["folder"] / "summary.json").read_text())
        assert run["summary"]["backend"] == run["backend"]
        assert (run["summary"]["seed"], run["summary"]["lr"], run["summary"]["epochs"]) == (0, 0.2, 1)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (out / "curves.svg").read_bytes()


def test_the_predictions_are_those_of_the_trained_networks(compared, small_data):
    """As accurate as each run's own evaluation said."""
    found = stored(compared[0])
    labels = small_data.test.labels
    assert found["labels"] == labels.tolist()
    for run in found["runs"]:
        predicted = np.array(found["predicted"][run["name"]])
        assert (predicted == labels).mean() == pytest.approx(run["summary"]["test_acc"])
        counts = np.array(found["confusion"][run["name"]])
        assert counts.sum() == len(labels)
        assert np.trace(counts) == (predicted == labels).sum()
        assert sorted(found["misclassified"][run["name"]]) == np.flatnonzero(predicted != labels).tolist()
    assert [(pair["first"], pair["second"]) for pair in found["disagreements"]] == list(combinations(INSTALLED, 2))
    for pair in found["disagreements"]:
        first, second = (np.array(found["predicted"][pair[which]]) for which in ("first", "second"))
        assert sorted(pair["examples"]) == np.flatnonzero(first != second).tolist()
        assert pair["count"] == len(pair["examples"]) == pair["first_right"] + pair["second_right"] + pair["both_wrong"]


def test_each_runs_weights_pass_the_parity_checks_in_all_backends(compared):
    found = stored(compared[0])
    assert list(found["parity_checks"]) == list(INSTALLED)
    for checks in found["parity_checks"].values():
        assert [check["check"] for check in checks] == [4, 5, 9, 10]
        assert all(list(check["backends"]) == list(INSTALLED) for check in checks)
        assert all(cell["passed"] for check in checks for cell in check["backends"].values())
    assert found["differences"] == []


def test_the_report_is_one_file_that_asks_for_no_other(compared):
    text = (compared[0] / "report.html").read_text()
    assert asks_for_nothing(text)
    page = Page(text)
    assert all(image["alt"] for image in page.all("img"))
    labelled = [figure for figure in page.all("figure") if figure.get("role") == "img"]
    assert len(labelled) == 3
    frameworks = ", ".join(BACKENDS[name] for name in INSTALLED)
    assert all(frameworks in (figure["aria-label"] or "") for figure in labelled)
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert all((link["href"] or "")[1:] in ids for link in page.all("a"))
    assert page.all("meta")[1]["content"] == "width=device-width, initial-scale=1"


def test_the_report_tells_what_the_table_tells(compared):
    out, _ = compared
    page = Page((out / "report.html").read_text())
    for run in stored(out)["runs"]:
        summary = run["summary"]
        assert f"{summary['loss']:.3f} {summary['train_acc']:.3f} {summary['test_acc']:.3f}" in page.text
    layouts = {name: load_backend(name).LAYOUT for name in INSTALLED}
    for name, title in BACKENDS.items():
        assert (f"{title} ({layouts.get(name)})" in page.text) == (name in INSTALLED)
    assert "(1, 2, 28, 28)" in page.text
    for shape in ("(1, 28, 28, 2)", "(1, 14, 14, 2)"):
        assert (shape in page.text) == ("NHWC" in layouts.values())
    assert f"{lenet(conv_channels=(2,), dense_units=(12,)).num_parameters:,} parameters" in page.text


@needs_two
def test_a_finished_comparison_is_used_again_and_says_the_same(compared, capsys, monkeypatch):
    out, _ = compared
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(child_processes, "run_in_process", lambda command: pytest.fail(f"ran {command}"))
    assert compare.main(["--resume", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[-1] == "peak memory"
    assert [line.split()[0] for line in lines[1 : 1 + len(INSTALLED)]] == list(INSTALLED)
    assert re.fullmatch(
        r"torch +\d\.\d{3} +[01]\.\d{3} +[01]\.\d{3} +plain +\d+\.\d +\d+\.\d s +\d+\.\d s +\d+ MB", lines[1]
    )
    assert "Python 3" in lines[-2]
    assert all(f"{name} " in lines[-2] for name in (*packages_of(*INSTALLED), "numpy"))
    *first, last = (BACKENDS[name] for name in INSTALLED)
    assert lines[-1] == (
        f"with the trained weights, {', '.join(first)} and {last} compute the same as the float64 reference: "
        f"4 checks on each of {len(INSTALLED)} networks pass"
    )
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_with_runs_is_not_overwritten(compared, quick, capsys):
    out, _ = compared
    before = (out / "compare.json").read_bytes()
    assert "already holds runs" in refused([*quick, "--out", str(out)], capsys)
    assert (out / "compare.json").read_bytes() == before


@pytest.mark.parametrize("name", ["curves.png", "report.html", f"{SECOND}/history.csv"])
def test_a_file_in_its_place_is_not_overwritten(name, quick, tmp_path, capsys):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    assert f"already holds {path.name}" in refused([*quick, "--out", str(tmp_path)], capsys)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    assert path.read_text() == "mine"


def test_a_comparison_whose_runs_are_gone_keeps_its_report(compared, quick, tmp_path, capsys):
    out, _ = compared
    for name in FILES:
        (tmp_path / name).write_bytes((out / name).read_bytes())
    assert "already holds report.html" in refused([*quick, "--out", str(tmp_path)], capsys)
    assert all((tmp_path / name).read_bytes() == (out / name).read_bytes() for name in FILES)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (["--lr", "0.3"], "--lr 0.3 differs from the run in"),
        (["--seed", "1"], "--seed 1 differs from the run in"),
        (["--lr-decay-epoch", "1"], "/torch', which has no lr-decay-epoch: omit"),
        (["--pooling", "max"], "the network differs from that of the run"),
        (["--fast"], "/torch', which has loop plain: omit"),
        (["--same-start"], "started from their own weights: omit --same-start"),
    ],
)
def test_a_finished_run_is_not_used_for_other_settings(other, told, compared, capsys):
    out, _ = compared
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert told in refused(["--resume", *other, "--out", str(out)], capsys)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


# Known wrong answers


def answers(classes: list[int], certainty: list[float]) -> np.ndarray:
    """Logits with which a network predicts these classes with about these probabilities."""
    logits = np.zeros((len(classes), 10), np.float32)
    for row, label, probability in zip(logits, classes, certainty, strict=True):
        row[label] = np.log(9 * probability / (1 - probability))
    return logits


@pytest.fixture
def known(small_data) -> Findings:
    """Two networks on six test images of the classes 0, 1, 2, 3, 4, 5, with answers that are partly wrong."""
    labels = np.arange(6, dtype=np.uint8)
    test = Split(small_data.test.images[:6], labels)
    dataset = Dataset("known", small_data.train, test, tuple(f"class-{label}" for label in range(10)))
    architecture = lenet()
    parameters = Fixture(architecture, small_data).parameters
    points = [Point(1.0, 2.0, 0.3, 0.5)]

    def network(name: str, classes: list[int], certainty: list[float]) -> ComparedNetwork:
        told = predictions_and_confidence(answers(classes, certainty))
        return ComparedNetwork(name, name, "torch", architecture, lambda: parameters, points, 0.9, *told)

    first = network("left", [0, 1, 2, 9, 9, 9], [0.9, 0.9, 0.6, 0.5, 0.9, 0.7])
    second = network("right", [0, 8, 2, 3, 8, 9], [0.9, 0.8, 0.6, 0.95, 0.6, 0.9])
    return Findings(dataset, [first, second], shape_tables([first, second], ["torch"]))


def test_disagreeing_images_are_named_with_who_is_right(known):
    (pair,) = known.disagreements
    # 1: left is right, sure by 0.8; 3: right is, by 0.5; 4: neither, by 0.6. On 5 they make the same mistake.
    assert pair.examples.tolist() == [1, 4, 3]
    assert (pair.first, pair.second) == ("left", "right")
    assert (pair.first_right, pair.second_right, pair.both_wrong) == (1, 1, 1)


def test_mistakes_are_counted_by_class_the_surest_first(known):
    first, second = known.networks
    assert first.misclassified(known.labels).tolist() == [4, 5, 3]
    assert second.misclassified(known.labels).tolist() == [5, 1, 4]
    assert second.confidence == pytest.approx([0.9, 0.8, 0.6, 0.95, 0.6, 0.9], abs=1e-5)
    counts = confusion_matrix(known.labels, second.predicted, 10)
    assert {(row, column): counts[row, column] for row, column in np.argwhere(counts).tolist()} == {
        (0, 0): 1,
        (1, 8): 1,
        (2, 2): 1,
        (3, 3): 1,
        (4, 8): 1,
        (5, 9): 1,
    }


def page_of(findings: Findings, tmp_path: Path) -> Page:
    plan = Plan(["torch"], [], {})
    rows = [RunResult(RunSpec(net.name, "torch", {}), reason="not <b>here") for net in findings.networks]
    text = page(Comparison(tmp_path, plan, rows, findings, "a machine"))
    assert asks_for_nothing(text)
    return Page(text)


def test_the_page_names_the_images_on_which_networks_disagree(known, tmp_path):
    page = page_of(known, tmp_path)
    told = page.text.partition("Where the networks disagree")[2]
    assert "left right 3 1 1 1" in told
    for number, left, right in ((1, 1, 8), (4, 9, 8), (3, 9, 3)):
        assert f"class-{number} left: class-{left} right: class-{right} #{number}" in told
    assert "#5" not in told
    assert "1, 3, 4" in told
    assert "class-4 predicted class-9, 0.90 #4" in page.text


def test_the_pages_pictures_are_the_test_images(known, tmp_path):
    page = page_of(known, tmp_path)
    sources = {image["alt"]: image["src"] for image in page.all("img")}
    assert sources["Test image 4: class-4"] == data_uri(known.dataset.test.scaled(4))
    assert data_uri(known.dataset.test.scaled(4)) != data_uri(known.dataset.test.scaled(3))


def test_what_failed_is_told_and_not_taken_for_html(known, tmp_path):
    assert "failed: not <b>here" in page_of(known, tmp_path).text


def test_networks_that_never_err_or_disagree_have_a_page_too(known, tmp_path):
    predicted, confidence = predictions_and_confidence(answers(list(range(6)), [0.9] * 6))
    right = replace(known.networks[0], predicted=predicted, confidence=confidence)
    page = page_of(Findings(known.dataset, [right, right], known.shape_tables), tmp_path)
    assert "No test image is misclassified" in page.text
    assert page.all("img") == []


def network_of(architecture, parameters, points, logits) -> ComparedNetwork:
    told = predictions_and_confidence(logits)
    return ComparedNetwork("it", "it", "torch", architecture, lambda: parameters, points, 0.9, *told)


def test_a_backend_that_computes_something_else_is_found_with_trained_weights(small_data, monkeypatch, tmp_path):
    """Known wrong answers for the parity checks: one layer's output a little off."""
    architecture = lenet(conv_channels=(2,), dense_units=(12,))
    parameters = Fixture(architecture, subset(small_data, 200, 20)).parameters
    torch = load_backend("torch")

    class Wrong:
        def __getattr__(self, name):
            return getattr(torch, name)

        @staticmethod
        def layer_outputs(net, X):
            return {name: out + 0.01 * (name == "pool1") for name, out in torch.layer_outputs(net, X).items()}

    logits = logits_of("torch", architecture, parameters, small_data.test)
    network = network_of(architecture, parameters, [Point(1, 2, 0.1, 0.1)], logits)
    right = check_trained_network(network, small_data, ["torch"])
    assert all(result.passed for result in right)
    monkeypatch.setattr(findings_module, "load_backend", lambda name: Wrong())
    wrong = check_trained_network(network, small_data, ["torch"])
    assert [result.check.number for result in wrong if not result.passed] == [4]
    findings = Findings(small_data, [network], shape_tables([network], ["torch"]), {"it": wrong})
    (sentence,) = findings.differences
    assert "weights of it: layer outputs in torch off by 0.01" in sentence
    comparison = Comparison(tmp_path, Plan(["torch"], [], {}), [], findings, "a machine")
    assert comparison.failed
    assert f"differs: {sentence}" in comparison.table()
    assert f"Differs: {sentence}" in Page(page(comparison)).text


def certain_network(small_data) -> tuple[ComparedNetwork, Dataset]:
    """A network after training on images of one class: certain of it, with a loss of about 1e-9."""
    architecture = lenet(conv_channels=(2,), dense_units=(12,))
    splits = (small_data.train, small_data.test.subset(20))
    training, test = (Split(split.images, np.full(len(split), 3, np.uint8)) for split in splits)
    dataset = Dataset("one class", training, test, small_data.class_names)
    parameters = Fixture(architecture, dataset).parameters
    parameters["dense2.bias"] = parameters["dense2.bias"] + np.float32(20) * (np.arange(10) == 3)
    logits = logits_of("torch", architecture, parameters, test)
    return network_of(architecture, parameters, [Point(1, 0, 1, 1)], logits), dataset


def test_frameworks_do_not_differ_where_the_loss_is_near_zero(small_data):
    """There, float32 rounding is many times the loss."""
    network, dataset = certain_network(small_data)
    for result in check_trained_network(network, dataset, INSTALLED):
        assert result.passed, (result.check.title, result.measurements)


def test_a_wrong_loss_near_zero_is_found(small_data, monkeypatch):
    """A known wrong answer: a loss of 0.001 instead of about 0."""
    network, dataset = certain_network(small_data)
    torch = load_backend("torch")

    class Wrong:
        def __getattr__(self, name):
            return getattr(torch, name)

        @staticmethod
        def loss_and_gradients(net, X, y):
            loss, gradients = torch.loss_and_gradients(net, X, y)
            return loss + 0.001, gradients

    monkeypatch.setattr(findings_module, "load_backend", lambda name: Wrong())
    wrong = check_trained_network(network, dataset, ["torch"])
    assert [result.check.number for result in wrong if not result.passed] == [5]


def test_predictions_are_the_backends_logits_whatever_the_chunks(backend, small_data, monkeypatch):
    architecture = lenet(conv_channels=(2,), dense_units=(12,))
    parameters = Fixture(architecture, small_data).parameters
    name = backend.__name__.rpartition(".")[2]
    monkeypatch.setattr(prediction, "CHUNK", 7)
    logits = logits_of(name, architecture, parameters, small_data.test, "cpu")
    expected = Fixture(architecture, small_data, given_parameters=parameters).test_logits
    np.testing.assert_allclose(logits, expected, atol=1e-5)


# What varies


def test_settings_of_one_backend_are_compared_a_row_for_each_value(quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare.main([*quick, "--vary", "pooling=avg,max", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["pooling=avg", "pooling=max"]
    assert sorted(path.name for path in out.iterdir()) == sorted(["pooling-avg", "pooling-max", *FILES])
    for pooling in ("avg", "max"):
        run, _ = load_checkpoint(out / f"pooling-{pooling}")
        assert run.architecture == lenet(conv_channels=(2,), dense_units=(12,), activation="tanh", pooling=pooling)
        assert run.backend == "torch"
    assert [table["networks"] for table in stored(out)["shapes"]] == [["pooling=avg"], ["pooling=max"]]
    assert "pooling=avg pooling=max" in Page((out / "report.html").read_text()).text


def test_values_added_later_find_the_runs_that_are_done(quick, tmp_path):
    out = tmp_path / "out"
    assert compare.main([*quick, "--vary", "seed=0,1", "--out", str(out)]) == 0
    before = (out / "seed-1" / CHECKPOINT).read_bytes()
    assert compare.main(["--resume", "--vary", "seed=1,2", "--out", str(out)]) == 0
    assert [run["name"] for run in stored(out)["runs"]] == ["seed=1", "seed=2"]
    assert (out / "seed-1" / CHECKPOINT).read_bytes() == before


def test_a_comparison_goes_on_to_more_epochs(quick, tmp_path):
    out = tmp_path / "out"
    assert compare.main([*quick, "--backends", "torch", "--out", str(out)]) == 0
    assert compare.main(["--resume", "--epochs", "2", "--out", str(out)]) == 0
    found = stored(out)
    assert found["plan"]["options"]["epochs"] == "2"
    assert found["runs"][0]["summary"]["epochs"] == 2
    assert found["notes"] == ["torch was trained by 2 processes: time, speed and memory are those of the last"]


def test_values_that_hold_commas_are_separated_by_slashes():
    assert parse_vary([["conv-channels=6,16/12,32"], ["lr=0.1,0.9"]]) == [
        {"conv-channels": ["6,16", "12,32"]},
        {"lr": ["0.1", "0.9"]},
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pooling", "--vary 'pooling' has no values: pass pooling=A,B"),
        (
            "pooling=avg",
            "needs at least two values, separated by ',': to use one value in all runs, pass --pooling avg",
        ),
        (
            "conv-channels=6,16",
            "needs at least two values, separated by '/': to use one value in all runs, pass --conv-channels 6,16",
        ),
        ("out=a,b", "'out' cannot vary: choose one of loop, epochs, lr"),
        ("dataset=mnist,fashion-mnist", "'dataset' cannot vary: choose one of loop, epochs, lr"),
        ("pooling=avg,min", "invalid choice: 'min'"),
        ("lr=0.1,fast", "'fast', expected a number above 0"),
        ("lr=0.1,0.1", "two runs would share the folder 'lr-0.1'"),
        (f"seed={','.join(map(str, range(1001)))}", "the comparison would have more than 1,000 runs"),
        ("kernel-sizes=5/50", "larger than its padded input"),
        ("epochs=1,2", "--epochs and --vary epochs cannot be combined"),
        ("backend=torch,mxnet", "to compare frameworks, pass --backends torch,mxnet"),
    ],
)
def test_what_cannot_vary_is_refused_before_anything_is_trained(text, told, quick, tmp_path, capsys):
    network = [] if text.startswith(("conv", "lr")) else quick[2:]
    arguments = [*quick[:2], *network, "--vary", text, "--out", str(tmp_path / "out")]
    if text.startswith("lr"):
        arguments += ["--epochs", "1"]
    assert told in refused(arguments, capsys)
    assert not (tmp_path / "out").exists()


def test_a_new_option_of_train_can_be_passed_on_and_vary(small_folder, tmp_path, monkeypatch):
    momentum = Option("momentum", "made up for this test", type=float, choices=(0.0, 0.9), metavar="X")
    monkeypatch.setattr(options, "HYPERPARAMETERS", (*options.HYPERPARAMETERS, momentum))
    monkeypatch.setitem(OPTIONS, "momentum", momentum)
    commands: list[list[str]] = []

    def fail(command):
        commands.append(command)
        return "not trained"

    monkeypatch.setattr(child_processes, "run_in_process", fail)
    given = ["--dataset", str(small_folder), "--out", str(tmp_path / "out")]
    assert compare.main([*given, "--vary", "momentum=0.0,0.9"]) == 1
    assert ["--momentum=0.0" in commands[0], "--momentum=0.9" in commands[1]] == [True, True]
    assert compare.main([*given, "--momentum", "0.9", "--backends", "torch"]) == 1
    assert "--momentum=0.9" in commands[2]
    assert compare.main([*given, "--momentum", "0.5"]) == 2


def test_options_reach_the_run(small_folder, tmp_path, monkeypatch):
    commands: list[list[str]] = []

    def fail(command):
        commands.append(command)
        return "not trained"

    monkeypatch.setattr(child_processes, "run_in_process", fail)
    given = {
        "epochs": "3",
        "lr": "0.5",
        "batch-size": "16",
        "seed": "7",
        "device": "cpu",
        "data-dir": str(tmp_path),
        "activation": "relu",
        "pooling": "max",
        "conv-channels": "3,4",
        "kernel-sizes": "5,3",
        "paddings": "2",
        "dense-units": "20",
        "architecture": "lenet5",
    }
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    alias, backend = list(ALIASES.items())[list(BACKENDS).index(SECOND)]
    out = tmp_path / "out"
    assert compare.main(["--dataset", str(small_folder), *options, "--backends", alias, "--out", str(out)]) == 1
    ((_, _, module, *arguments),) = commands
    assert module == "lenet_multi.train"
    assert set(arguments) == {f"--{name}={value}" for name, value in given.items()} | {
        f"--dataset={small_folder}",
        f"--backend={backend}",
        f"--out={out / backend}",
    }


def test_weights_given_start_a_run_and_are_left_out_when_it_goes_on(small_folder, tmp_path):
    first, out = tmp_path / "first", tmp_path / "out"
    data = ["--dataset", str(small_folder), "--epochs", "1", "--batch-size", "32", "--device", "cpu"]
    assert train.main([*data, *SMALL_NETWORK, "--out", str(first)]) == 0
    weights = ["--weights", str(first / CHECKPOINT)]
    assert compare.main([*data, *weights, "--backends", "torch", "--lr", "1e-30", "--out", str(out)]) == 0
    for name, value in load_checkpoint(first)[1].items():
        np.testing.assert_array_equal(load_checkpoint(out / "torch")[1][name], value)
    assert compare.main(["--resume", "--epochs", "2", "--out", str(out)]) == 0
    assert load_checkpoint(out / "torch")[0].epochs_done == 2


def test_from_python_the_same_is_a_function(small_folder, tmp_path):
    result = compare.compare(
        tmp_path / "out",
        vary={"conv_channels": [(2,), (2, 3)]},
        dataset=small_folder,
        epochs=1,
        batch_size=32,
        dense_units=(12,),
        device="cpu",
    )
    assert not result.failed
    assert [row.spec.name for row in result.results] == ["conv-channels=2", "conv-channels=2,3"]
    assert "conv-channels=2,3" in result.table()
    assert [line.get_label() for line in result.figure().axes[0].get_lines()] == [
        "conv-channels=2",
        "conv-channels=2,3",
    ]
    words = shlex.split(result.plan.command.replace("--out DIR", f"--out {tmp_path / 'again'}"))[3:]
    args = compare.parser().parse_args(words)
    assert parse_vary(args.vary) == result.plan.vary
    with pytest.raises(UserError, match="option 'learning-rate', expected one of"):
        compare.compare(tmp_path / "other", learning_rate=0.1)


# Settings that vary in step


def test_settings_after_one_vary_make_a_run_for_each_step(commands, small_folder, tmp_path):
    vary = ["--vary", "activation=sigmoid,relu", "lr=0.9,0.1"]
    assert compare.main(["--dataset", str(small_folder), *vary, "--out", str(tmp_path / "out")]) == 1
    chosen = [[word for word in options if word.startswith(("--activation", "--lr"))] for options in commands]
    assert chosen == [["--activation=sigmoid", "--lr=0.9"], ["--activation=relu", "--lr=0.1"]]


def test_several_vary_make_a_run_for_every_combination_of_their_steps():
    vary = parse_vary([["activation=sigmoid,relu", "lr=0.9,0.1"], ["seed=0,1"]])
    assert [case.name for case in Plan(["torch"], vary, {}).specs] == [
        "activation=sigmoid lr=0.9 seed=0",
        "activation=sigmoid lr=0.9 seed=1",
        "activation=relu lr=0.1 seed=0",
        "activation=relu lr=0.1 seed=1",
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["activation=sigmoid,relu", "lr=0.9,0.1,0.2"], "has 2 values of activation but 3 of lr"),
        (["seed=0,1", "seed=2,3"], "--vary seed is given twice"),
        (["seed=0,1", "lr"], "--vary 'lr' has no values: pass lr=A,B"),
    ],
)
def test_settings_that_cannot_vary_in_step_are_refused(settings, told, small_folder, tmp_path, capsys):
    arguments = ["--dataset", str(small_folder), "--vary", *settings, "--out", str(tmp_path / "out")]
    assert told in refused(arguments, capsys)
    assert not (tmp_path / "out").exists()


def test_resume_keeps_the_settings_that_vary_in_step(commands, small_folder, tmp_path):
    out = tmp_path / "out"
    vary = ["--vary", "activation=sigmoid,relu", "lr=0.9,0.1", "--vary", "seed=0,1"]
    compare.main(["--dataset", str(small_folder), *vary, "--out", str(out)])
    compare.main(["--resume", "--out", str(out)])
    assert len(commands) == 8
    assert commands[4:] == commands[:4]


def test_resume_reads_a_comparison_stored_before_settings_could_vary_in_step(commands, small_folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    plan: dict = {"backends": ["torch"], "vary": {"pooling": ["avg", "max"], "seed": ["0", "1"]}}
    plan["options"] = {"lr": "0.5", "lr-drop": "8"}
    (out / "compare.json").write_text(json.dumps({"plan": plan, "runs": []}))
    compare.main(["--resume", "--dataset", str(small_folder), "--out", str(out)])
    assert [run["name"] for run in stored(out)["runs"]] == [
        "pooling=avg seed=0",
        "pooling=avg seed=1",
        "pooling=max seed=0",
        "pooling=max seed=1",
    ]
    assert all({"--lr=0.5", "--lr-decay-epoch=8"} <= set(options) for options in commands)


def test_resume_finds_the_runs_of_a_comparison_that_varied_an_option_by_its_earlier_name(quick, tmp_path, monkeypatch):
    out = tmp_path / "out"
    vary = ["--backends", "torch", "--vary", "lr-decay-epoch=1,2", "lr=0.1,0.2"]
    assert compare.main([*quick[:4], *SMALL_NETWORK, "--batch-size", "32", *vary, "--out", str(out)]) == 0
    for run in stored(out)["runs"]:
        (out / run["folder"]).rename(out / run["folder"].replace("lr-decay-epoch", "lr-drop"))
    path = out / "compare.json"
    path.write_text(path.read_text().replace("lr-decay-epoch", "lr-drop"))
    monkeypatch.setattr(child_processes, "run_in_process", lambda command: pytest.fail(f"ran {command}"))
    assert compare.main(["--resume", "--out", str(out)]) == 0
    assert [run["state"] for run in stored(out)["runs"]] == ["done", "done"]


def test_from_python_the_settings_of_one_dictionary_of_a_list_vary_in_step(commands, small_folder, tmp_path):
    vary: list[dict] = [{"activation": ["sigmoid", "relu"], "lr": [0.9, 0.1]}, {"conv_channels": [(2,), (2, 3)]}]
    result = compare.compare(tmp_path / "out", vary=vary, dataset=small_folder)
    assert [row.spec.name for row in result.results] == [
        "activation=sigmoid lr=0.9 conv-channels=2",
        "activation=sigmoid lr=0.9 conv-channels=2,3",
        "activation=relu lr=0.1 conv-channels=2",
        "activation=relu lr=0.1 conv-channels=2,3",
    ]


def test_the_command_shown_makes_the_same_plan(commands, small_folder, tmp_path):
    vary: list[dict] = [{"activation": ["sigmoid", "relu"], "lr": [0.9, 0.1]}, {"seed": [0, 1]}]
    result = compare.compare(tmp_path / "out", vary=vary, dataset=small_folder, fast=True, same_start=True)
    assert "--vary activation=sigmoid,relu lr=0.9,0.1 --vary seed=0,1 " in result.plan.command
    compare.main(shlex.split(result.plan.command.replace("--out DIR", f"--out {tmp_path / 'again'}"))[3:])
    assert stored(tmp_path / "again")["plan"] == stored(tmp_path / "out")["plan"]


def test_the_title_names_together_what_varies_in_step():
    vary = parse_vary([["activation=sigmoid,relu", "lr=0.9,0.1"], ["seed=0,1"]])
    plan = Plan(["torch"], vary, {})
    assert plan.title == "LeNet in PyTorch: activation with lr, seed compared"


def test_a_worker_is_not_given_a_comparison(small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    options = ["--backends", "torch", "--dataset", str(small_folder), "--out", str(tmp_path / "out")]
    assert "error: WORLD_SIZE and RANK make this process one of several workers" in refused(options, capsys)
    assert not (tmp_path / "out").exists()


# The loop


@pytest.mark.parametrize("given", [["--fast"], ["--loop", "fast"]])
def test_the_loop_reaches_every_run(given, commands, small_folder, tmp_path):
    compare.main(["--dataset", str(small_folder), *given, "--out", str(tmp_path / "out")])
    assert ["--loop=fast" in options for options in commands] == [True] * len(INSTALLED)


def test_from_python_fast_is_short_for_the_fast_loop(commands, small_folder, tmp_path):
    compare.compare(tmp_path / "out", backends=["torch"], fast=True, dataset=small_folder)
    assert "--loop=fast" in commands[0]


def test_plain_and_fast_are_compared(quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare.main([*quick, "--vary", "loop=plain,fast", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[5] == "loop"
    assert [line.split()[4] for line in lines[1:3]] == ["plain", "fast"]
    for loop in ("plain", "fast"):
        assert [segment.loop for segment in load_checkpoint(out / f"loop-{loop}")[0].segments] == [loop]
    page = Page((out / "report.html").read_text())
    assert re.search(r"loop=plain (\S+ ){3}plain .* loop=fast (\S+ ){3}fast ", page.text)


def test_a_loop_that_all_runs_share_is_told_once(compared, monkeypatch):
    out, _ = compared
    monkeypatch.setattr(child_processes, "run_in_process", lambda command: pytest.fail(f"ran {command}"))
    assert compare.compare(out, resume=True).shared["loop"] == "plain"


def test_a_run_for_which_nothing_is_faster_is_used_again_and_named(compared, tmp_path, capsys):
    """The stored plan asks for the fast loop, and the runs say that they are plain."""
    out = copied(compared[0], tmp_path)
    described = stored(out)
    described["plan"]["options"]["loop"] = "fast"
    (out / "compare.json").write_text(json.dumps(described))
    assert compare.main(["--resume", "--out", str(out)]) == 0
    assert f"note: {SECOND} ran the plain loop: {BACKENDS[SECOND]} has no fast loop" in capsys.readouterr().out


# The same start


def test_with_the_same_start_the_first_losses_agree(same_start):
    losses = [load_checkpoint(same_start / name)[0].points[0].train_loss for name in INSTALLED]
    assert losses == pytest.approx([losses[0]] * len(INSTALLED), abs=1e-4)


@needs_two
def test_without_the_same_start_the_first_losses_differ(compared):
    losses = [load_checkpoint(compared[0] / name)[0].points[0].train_loss for name in INSTALLED]
    assert min(abs(losses[0] - loss) for loss in losses[1:]) > 1e-3


def test_the_start_is_the_first_runs_own(same_start):
    torch = load_backend("torch")
    network = lenet(conv_channels=(2,), dense_units=(12,), activation="tanh")
    expected = torch.get_parameters(torch.LeNet(network, seed=0, device="cpu"))
    found, _ = load_weights(same_start / "start.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_table_and_report_say_that_all_runs_began_with_the_same_weights(same_start):
    assert stored(same_start)["notes"] == ["all runs started from the same weights"]
    page = Page((same_start / "report.html").read_text())
    assert "Note: all runs started from the same weights." in page.text
    assert "each framework draws its own initial weights" not in page.text


def test_networks_that_differ_in_activation_share_their_start(commands, small_folder, tmp_path):
    vary = ["--vary", "activation=sigmoid,relu", "lr=0.9,0.1", "--vary", "seed=0,1"]
    out = tmp_path / "out"
    compare.main(["--dataset", str(small_folder), *vary, "--same-start", "--out", str(out)])
    assert len(commands) == 4
    assert all(f"--weights={out / 'start.safetensors'}" in options for options in commands)
    assert ["--seed=1" in options for options in commands] == [False, True, False, True]


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ("conv-channels=2/3", "conv1.weight of run 'conv-channels=3' has shape (3, 1, 5, 5), expected (2, 1, 5, 5)"),
        ("dense-units=20/20,10", "dense3.weight of run 'dense-units=20,10' has shape (10, 10), expected none"),
        ("dense-units=20,10/20", "dense3.weight of run 'dense-units=20' is missing, expected (10, 10) as in run"),
        ("kernel-sizes=5/3", "conv1.weight of run 'kernel-sizes=3' has shape (6, 1, 3, 3), expected (6, 1, 5, 5)"),
    ],
)
def test_networks_of_other_shapes_cannot_share_their_start(vary, told, small_folder, tmp_path, capsys):
    arguments = ["--dataset", str(small_folder), "--same-start", "--vary", vary, "--out", str(tmp_path / "out")]
    assert told in refused(arguments, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [["--weights", "a"], ["--vary", "weights=a,b"]])
def test_the_same_start_and_weights_are_refused_together(given, small_folder, tmp_path, capsys):
    arguments = ["--dataset", str(small_folder), "--same-start", *given, "--out", str(tmp_path / "out")]
    assert "--same-start and --weights cannot be combined" in refused(arguments, capsys)


@needs_two
def test_the_same_start_leaves_the_recipe_as_it_is(small_folder, tmp_path, monkeypatch):
    """Also where the options describe a preset's network, whose recipe `train` would take with the weights."""
    settings = []
    monkeypatch.setattr(trainer, "train_run", lambda args, run, *_: settings.append(run.settings))
    network = ["--activation", "relu", "--pooling", "max", "--conv-channels", "16,32", "--kernel-sizes", "5,3"]
    network += ["--paddings", "2,1", "--dense-units", "256,128"]

    def run(command):
        module, *options = command[2:]
        main = initial_weights.main if module == "lenet_multi.runs.initial_weights" else train.main
        return None if main(options) or main is initial_weights.main else "not trained"

    monkeypatch.setattr(child_processes, "run_in_process", run)
    for number, given in enumerate([network, ["--architecture", "lenet-modern"]]):
        arguments = ["--dataset", str(small_folder), "--backends", BOTH, *given]
        compare.main([*arguments, "--out", str(tmp_path / f"own-{number}")])
        compare.main([*arguments, "--same-start", "--out", str(tmp_path / f"same-{number}")])
    described, preset = settings[:4], settings[4:]
    assert described == [described[0]] * 4
    assert (described[0].lr, described[0].lr_decay_epoch, described[0].batch_size) == (0.9, None, 256)
    assert preset == [preset[0]] * 4
    assert (preset[0].lr, preset[0].lr_decay_epoch, preset[0].batch_size) == (0.2, 8, 128)


def test_the_same_start_of_a_single_run_is_refused(quick, tmp_path, capsys):
    arguments = [*quick, "--backends", "torch", "--same-start", "--out", str(tmp_path / "out")]
    assert "--same-start with a single run" in refused(arguments, capsys)
    assert not (tmp_path / "out").exists()


def test_a_resumed_comparison_names_the_runs_that_it_drops(commands, small_folder, tmp_path, capsys):
    arguments = ["--dataset", str(small_folder), "--out", str(tmp_path / "out")]
    compare.main([*arguments, "--vary", "seed=0,1"])
    capsys.readouterr()
    compare.main([*arguments, "--resume", "--vary", "seed=1,2"])
    assert "note: no longer compared: seed=0; the folders of these runs remain" in capsys.readouterr().err


def test_backends_from_python_are_a_list(tmp_path):
    with pytest.raises(UserError, match=r"backends='torch', expected a list of names, as in \['torch'\]"):
        compare.compare(tmp_path / "out", backends="torch")


def test_resume_keeps_the_start_and_trains_new_runs_alone(same_start, commands, tmp_path):
    out = copied(same_start, tmp_path)
    subprocess.run(["rm", "-r", str(out / "torch")], check=True)
    before = (out / "start.safetensors").read_bytes()
    assert compare.main(["--resume", "--out", str(out)]) == 1
    (options,) = commands
    assert {"--backend=torch", f"--weights={out / 'start.safetensors'}"} <= set(options)
    assert (out / "start.safetensors").read_bytes() == before
    assert stored(out)["plan"]["same_start"] is True


def test_a_run_that_goes_on_has_weights_of_its_own(same_start, commands, tmp_path):
    out = copied(same_start, tmp_path)
    (out / "start.safetensors").unlink()
    assert compare.main(["--resume", "--epochs", "2", "--out", str(out)]) == 1
    assert len(commands) == len(INSTALLED)
    assert not any("weights" in word for options in commands for word in options)


def test_a_start_that_is_gone_is_told(same_start, tmp_path, capsys):
    out = copied(same_start, tmp_path)
    (out / "start.safetensors").unlink()
    subprocess.run(["rm", "-r", str(out / SECOND)], check=True)
    line = refused(["--resume", "--out", str(out)], capsys)
    assert f"'{out / 'start.safetensors'}', the weights that the other runs started from, is missing" in line


def test_a_new_run_must_fit_the_start_that_is_there(same_start, tmp_path, capsys):
    out = copied(same_start, tmp_path)
    subprocess.run(["rm", "-r", str(out / "torch")], check=True)
    line = refused(["--resume", "--backends", "torch", "--conv-channels", "3", "--out", str(out)], capsys)
    assert "conv1.weight of run 'torch' has shape (3, 1, 5, 5), expected (2, 1, 5, 5) as in" in line
    assert "start.safetensors'" in line


def test_a_file_in_the_starts_place_is_not_overwritten(quick, tmp_path, capsys):
    (tmp_path / "start.safetensors").write_text("mine")
    assert "already holds start.safetensors" in refused([*quick, "--same-start", "--out", str(tmp_path)], capsys)
    assert (tmp_path / "start.safetensors").read_text() == "mine"


@needs_two
def test_a_comparison_that_trained_nothing_makes_room_for_another_start(commands, quick, tmp_path):
    for seed in ("0", "1"):
        assert compare.main([*quick, "--same-start", "--seed", seed, "--out", str(tmp_path)]) == 1
    assert len(commands) == 2 * len(INSTALLED)
    torch = load_backend("torch")
    network = lenet(conv_channels=(2,), dense_units=(12,), activation="tanh")
    expected = torch.get_parameters(torch.LeNet(network, seed=1, device="cpu"))
    found, _ = load_weights(tmp_path / "start.safetensors")
    np.testing.assert_array_equal(found["conv1.weight"], expected["conv1.weight"])


@needs_two
def test_a_start_that_cannot_be_computed_ends_the_comparison(quick, tmp_path, capfd):
    assert compare.main([*quick, "--same-start", "--device", "gpu:99", "--out", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err.splitlines()[-1]
    assert told.startswith("error: --same-start: the initial weights of 'torch' cannot be drawn (device 'gpu:99'")


# TensorBoard and standard error


def test_each_run_writes_for_tensorboard_and_tells_its_epochs(quick, tmp_path, capfd):
    out = tmp_path / "out"
    assert compare.main([*quick, "--backends", "torch", "--tensorboard", "--out", str(out)]) == 0
    assert stored(out)["plan"]["tensorboard"] is True
    assert len(list((out / "torch" / "tensorboard").iterdir())) == 1
    assert re.search(r"^epoch 1 of \d+: loss ", capfd.readouterr().err, flags=re.M)
    arguments = ["--resume", "--epochs", "3", "--out", str(out)]
    assert compare.main(arguments) == 0
    assert len(list((out / "torch" / "tensorboard").iterdir())) == 2
    plan = stored_plan(out)
    assert plan
    assert plan.command.endswith(" --tensorboard --out DIR")


def test_runs_that_are_added_to_a_comparison_write_for_tensorboard_too(quick, commands, tmp_path):
    out = tmp_path / "out"
    assert compare.main([*quick, "--vary", "seed=0,1", "--tensorboard", "--out", str(out)]) == 1
    assert compare.main(["--vary", "seed=0,1,2", "--resume", "--out", str(out)]) == 1
    assert ["--tensorboard" in command for command in commands] == [True] * 5
    assert compare.main([*quick, "--vary", "seed=0,1", "--out", str(tmp_path / "without")]) == 1
    assert ["--tensorboard" in command for command in commands[5:]] == [False] * 2


def test_a_comparison_without_the_package_trains_nothing(quick, commands, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    line = refused([*quick, "--tensorboard", "--out", str(tmp_path / "out")], capsys)
    assert line == 'error: --tensorboard needs TensorBoard: pip install "lenet-multi[tensorboard]"\n'
    assert commands == []
    assert not (tmp_path / "out").exists()


# The environment


@needs_two
def test_no_framework_is_loaded_before_the_last_run_has_ended(quick, tmp_path):
    """The runs would inherit what it puts into the environment."""
    code = (
        "import sys\n"
        "from lenet_multi import compare\n"
        "from lenet_multi.system import child_processes as runner\n"
        "def run(command):\n"
        f"    loaded = {imported_frameworks()}\n"
        "    print(command[2], *loaded)\n"
        "    return original(command) if 'initial' in command[2] else 'not trained'\n"
        "original, runner.run_in_process = runner.run_in_process, run\n"
        "compare.main(sys.argv[1:])\n"
    )
    arguments = [*quick, "--same-start", "--out", str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[: 1 + len(INSTALLED)] == [
        "lenet_multi.runs.initial_weights",
        *["lenet_multi.train"] * len(INSTALLED),
    ]


# What fails


@pytest.fixture
def without_second(tmp_path, monkeypatch):
    """This process, and those that it starts, find all backends but `SECOND`."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import importlib.machinery, sys\n"
        "class Without:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        return importlib.machinery.ModuleSpec(name, None) if name == '{SECOND}' else None\n"
        "sys.meta_path.insert(0, Without)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for module in (backends, outcome):
        monkeypatch.setattr(module, "installed_backends", lambda: tuple(name for name in INSTALLED if name != SECOND))


@needs_two
def test_a_named_backend_that_is_not_installed_is_refused_before_anything_is_trained(
    without_second, quick, tmp_path, capsys
):
    out = tmp_path / "out"
    line = refused([*quick, "--backends", BOTH, "--out", str(out)], capsys)
    assert f"the {SECOND} backend needs {BACKENDS[SECOND]}: pip install" in line
    assert not out.exists()


@needs_two
def test_without_names_the_installed_backends_are_compared_and_the_others_named(
    without_second, commands, quick, tmp_path, capsys
):
    assert compare.main([*quick, "--out", str(tmp_path / "out")]) == 1
    assert [next(word for word in options if word.startswith("--backend=")) for options in commands] == [
        f"--backend={name}" for name in INSTALLED if name != SECOND
    ]
    assert f"{SECOND} (not installed: pip install" in capsys.readouterr().err.splitlines()[0]


@needs_two
def test_a_resumed_comparison_without_one_of_its_backends_keeps_the_others_results(
    without_second, quick, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:  # where all backends are installed, but nothing is trained yet
        patch.setattr(backends, "installed_backends", lambda: INSTALLED)
        patch.setattr(child_processes, "run_in_process", lambda command: "not trained")
        assert compare.main([*quick, "--backends", f"{SECOND},torch", "--out", str(out)]) == 1
    capsys.readouterr()
    assert compare.main(["--resume", "--out", str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    told = f'the {SECOND} backend needs {BACKENDS[SECOND]}: pip install "lenet-multi[{SECOND}]"'
    assert re.split(" {2,}", lines[1]) == [SECOND, f"FAILED: {told}"]
    assert re.split(" {2,}", lines[2])[0] == "torch"
    assert SECOND not in lines[-2]  # the versions are of what is there
    assert lines[-1] == (
        "with the trained weights, PyTorch computes the same as the float64 reference: 4 checks on the network pass"
    )
    assert sorted(path.name for path in out.iterdir()) == sorted(["torch", *FILES])
    runs = stored(out)["runs"]
    assert [(run["state"], run["reason"]) for run in runs] == [("failed", told), ("done", None)]
    assert f"failed: {told}" in Page((out / "report.html").read_text()).text


def test_a_run_that_diverges_is_a_row_that_says_so(quick, tmp_path, capsys):
    out = tmp_path / "out"
    vary = ["--vary", "lr=0.2,1e30"]
    arguments = [*quick[:2], "--epochs", "1", "--batch-size", "32", "--activation", "relu", *SMALL_NETWORK, *vary]
    assert compare.main([*arguments, "--out", str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("lr=0.2  ")
    assert re.match(r"lr=1e30  FAILED: .*(train loss is nan|the weights are not finite)", lines[2])


def test_where_every_run_fails_the_table_says_why_and_no_report_is_left(quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare.main([*quick, "--backends", "torch", "--batch-size", "1000", "--out", str(out)]) == 1
    assert "torch  FAILED: --batch-size 1000 is larger than the 200" in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == ["compare.json"]
    # Nothing was trained: the folder can be used for something that works.
    assert compare.main([*quick, "--backends", "torch", "--out", str(out)]) == 0


@needs_two
def test_a_network_that_cannot_be_run_leaves_the_others_results(compared, capsys, monkeypatch, tmp_path):
    out = tmp_path / "out"
    subprocess.run(["cp", "-r", str(compared[0]), str(out)], check=True)

    def predict_or_fail(backend_name, *others):
        if backend_name == INSTALLED[1]:
            raise RuntimeError("no memory left")
        return logits_of(backend_name, *others)

    monkeypatch.setattr(outcome, "logits_of", predict_or_fail)
    assert compare.main(["--resume", "--out", str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"{INSTALLED[1]}  FAILED: trained, but cannot be run: RuntimeError: no memory left"
    assert list(stored(out)["predicted"]) == [name for name in INSTALLED if name != INSTALLED[1]]


def test_a_place_that_cannot_be_written_is_refused(quick, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = refused([*quick, "--backends", "torch", "--out", str(tmp_path / "file" / "out")], capsys)
    assert "cannot be created" in line


def test_there_must_be_something_to_go_on_with(tmp_path, capsys):
    assert "holds no compare.json" in refused(["--resume", "--out", str(tmp_path / "none")], capsys)
    assert not (tmp_path / "none").exists()
    (tmp_path / "compare.json").write_text("[1]")
    for resume in (["--resume"], []):
        assert "is not a comparison file" in refused([*resume, "--out", str(tmp_path)], capsys)


def test_a_pipe_in_the_place_of_the_comparison_is_refused(quick, tmp_path, capsys):
    """Reading it would take for ever."""
    os.mkfifo(tmp_path / "compare.json")
    for resume in (["--resume"], quick):
        assert "compare.json': not a regular file" in refused([*resume, "--out", str(tmp_path)], capsys)


def test_the_command_that_resumes_a_comparison_is_accepted_whatever_the_folder_is_called(
    quick, tmp_path, monkeypatch, capsys
):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(child_processes, "run_in_process", interrupt)
        assert compare.main([*quick, "--backends", "torch", "--out=-dash"]) == 130
    command = shlex.split(capsys.readouterr().err.partition("continue with: ")[2])
    assert compare.main(command[3:]) == 0
    assert stored(Path("-dash"))["runs"][0]["state"] == "done"


@needs_two
def test_the_same_start_is_drawn_in_a_folder_whatever_it_is_called(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare.main([*quick, "--same-start", "--backends", BOTH, "--out=-dash"]) == 0
    assert Path("-dash", "start.safetensors").exists()


def test_the_command_on_the_page_is_accepted_whatever_the_data_is_called():
    words = shlex.split(Plan(["torch"], [], {"data-dir": "-data"}).command)
    assert compare.parser().parse_args(words[3:]).data_dir == "-data"


def test_two_comparisons_do_not_share_a_folder(quick, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(folder_lock, "PATIENCE_SECONDS", 0.0)
    with folder_lock.locked_folder(out):
        line = refused([*quick, "--backends", "torch", "--out", str(out)], capsys)
    assert f"another process is using '{out}'" in line
    assert list(out.iterdir()) == []


def test_a_run_that_another_process_trains_is_left_alone(quick, tmp_path, monkeypatch, capsys):
    """A comparison that is resumed refuses it before anything else, so it does not call the run failed."""
    out = tmp_path / "out"
    assert compare.main([*quick, "--backends", "torch", "--out", str(out)]) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(folder_lock, "PATIENCE_SECONDS", 0.0)
    with folder_lock.locked_folder(out / "torch"):
        line = refused(["--resume", "--out", str(out)], capsys)
    assert f"another process is using '{out / 'torch'}'" in line
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_fault_in_the_report_is_shown_and_leaves_the_other_files(quick, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(outcome, "page", lambda comparison: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compare.main([*quick, "--backends", "torch", "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == ["compare.json", "curves.png", "curves.svg", "torch"]
    assert stored(out)["runs"][0]["state"] == "done"


# The processes


def test_how_a_process_ended_is_told_in_a_line():
    def reason(code: str) -> str | None:
        return child_processes.run_in_process([sys.executable, "-c", code])

    assert reason("print('fine')") is None
    assert reason("import sys; print('note'); print('error: too large'); print('bye'); sys.exit(2)") == "too large"
    assert reason("import sys; print('one\\rtwo'); sys.exit(3)") == "two"
    assert reason("import sys; sys.exit(3)") == "exit status 3"
    assert reason("import os; os.kill(os.getpid(), 9)") == "killed by SIGKILL"


def test_on_a_terminal_a_process_shows_its_progress(monkeypatch):
    code = "import sys, os; print(sys.stderr.isatty(), os.get_terminal_size(2).columns); print('caf\\u00e9')"
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as screen:
        termios.tcsetwinsize(screen, (24, 77))
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
        assert child_processes.run_in_process([sys.executable, "-c", code]) is None
        shown = os.read(controller, 4096).decode()
    os.close(controller)
    assert shown.split() == ["True", "77", "café"]


@pytest.fixture
def started(quick, tmp_path):
    """A comparison in a process of its own that takes for ever, and the run that it waits for."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lenet_multi.compare", *quick, "--epochs", "10000", "--backends", BOTH]
    process = subprocess.Popen(
        [*command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    children: list[str] = []
    try:
        while not ((out / "torch" / CHECKPOINT).exists() and load_checkpoint(out / "torch")[0].epochs_done):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        yield process, int(children[0]), out
    finally:
        process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        process.communicate()


def ended(pid: int) -> bool:
    """Whether a process is gone; one that nobody has asked about yet is."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def test_ctrl_c_leaves_no_process_behind_and_keeps_what_is_done(started):
    process, run, out = started
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert ended(run)
    assert errors.splitlines()[-1].startswith(f"interrupted: '{out}' keeps what was trained; continue with: ")
    assert "Traceback" not in errors
    epochs = load_checkpoint(out / "torch")[0].epochs_done
    assert epochs > 0
    assert json.loads((out / "torch" / "summary.json").read_text())["epochs"] == epochs
    assert [path.name for path in out.iterdir() if path.suffix] == ["compare.json"]
    assert [item["state"] for item in stored(out)["runs"]] == ["waiting"] * len(set(BOTH.split(",")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_leaves_no_process_behind(number, started):
    process, run, _ = started
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert ended(run)


def wait_until_ended(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_ends_with_a_comparison_that_is_killed(started):
    process, run, out = started
    process.kill()
    process.wait(PATIENCE)
    wait_until_ended(run)
    assert load_checkpoint(out / "torch")[0].epochs_done
    assert not (out / "torch" / "summary.json").exists()  # it ended at once


def test_a_comparison_that_is_killed_can_be_resumed_at_once(small_folder, tmp_path):
    """Also while its run is still ending, and several times."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lenet_multi.compare", "--out", str(out)]
    given = ["--dataset", str(small_folder), "--backends", "torch", "--epochs", "60", *QUICK[2:], *SMALL_NETWORK]
    for epoch in (1, 10, 20):
        process = subprocess.Popen([*command, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while not ((out / "torch" / CHECKPOINT).exists() and load_checkpoint(out / "torch")[0].epochs_done >= epoch):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        given = ["--resume"]
    resumed = subprocess.run([*command, *given], capture_output=True, text=True, timeout=PATIENCE)
    assert resumed.returncode == 0, resumed.stderr
    assert [item["state"] for item in stored(out)["runs"]] == ["done"]
    run, _ = load_checkpoint(out / "torch")
    assert [run.epochs_done, len(run.segments)] == [60, 4]
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == FILES
    assert list(out.rglob("*.part")) == []


# The curves


def test_the_curves_of_several_runs_share_their_panels():
    points = [Point(0.5, 2.0, 0.2), Point(1.0, 1.5, 0.4, 0.5), Point(2.0, 1.0, 0.6, 0.7)]
    figure = draw_overlaid({"a": points, "b": points[:2]})
    assert [axes.get_ylabel() for axes in figure.axes] == list(PANELS.values())
    drawn = [
        {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()} for axes in figure.axes
    ]
    assert drawn == [
        {"a": [[0.5, 2.0], [1.0, 1.5], [2.0, 1.0]], "b": [[0.5, 2.0], [1.0, 1.5]]},
        {"a": [[0.5, 0.2], [1.0, 0.4], [2.0, 0.6]], "b": [[0.5, 0.2], [1.0, 0.4]]},
        {"a": [[1.0, 0.5], [2.0, 0.7]], "b": [[1.0, 0.5]]},
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_lines_differ_also_without_color():
    styles = [line_style(number) for number in range(60)]
    assert len({tuple(style.values()) for style in styles}) == 60
    plain = {(style["linestyle"], style["marker"]) for style in styles[:12]}
    assert len(plain) == 12
    assert len({style["linestyle"] for style in styles[:4]}) == 4
