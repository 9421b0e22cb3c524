"""The report and the other files of a comparison of many runs: what is limited, which runs are chosen, what is safe."""

import base64
import gc
import hashlib
import json
import re
import shutil
import weakref
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import subset
from many_runs import plan_of_many, variant, write_many_runs

from lenet_multi import train
from lenet_multi.architecture import PRESETS
from lenet_multi.comparison import outcome
from lenet_multi.comparison.findings import CHOSEN, EXAMINED, ComparedNetwork, Findings, choose_networks, shape_tables
from lenet_multi.comparison.folder import to_json
from lenet_multi.comparison.outcome import write_results
from lenet_multi.comparison.page import page
from lenet_multi.comparison.page_curves import MOST_LINES, MOST_POINTS, curves, svg_line
from lenet_multi.comparison.plan import Plan, RunSpec
from lenet_multi.comparison.results import COLUMNS, Comparison, RunResult
from lenet_multi.data import load_dataset
from lenet_multi.runs.checkpoint import Run, Segment
from lenet_multi.training.curves import draw_overlaid
from lenet_multi.training.points import Point
from lenet_multi.training.settings import Settings

MANY = 16  # runs, more than are examined
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script" and self.cdata_elem:
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


def script_data(text: str) -> dict:
    """What the page tells its script."""
    return json.loads(Elements(text).scripts[0])


def run_of(points: list[Point]) -> Run:
    settings = Settings("fashion-mnist", "", 60_000, 10_000, 10, 256, 0.9, 0)
    segment = Segment("torch", "PyTorch", "2", "cpu", 0, 10, 1.0, 1.0, 1.0, 1.0, "plain")
    return Run(PRESETS["lenet5"], settings, "torch", "plain", points, [segment])


def network_of(spec: RunSpec, run: Run, num_test: int) -> ComparedNetwork:
    """A network that predicts at random."""
    rng = np.random.default_rng(len(run.points) + int(1e6 * (run.points[-1].test_acc or 0)))
    predicted, confidence = rng.integers(0, 10, num_test).astype(np.uint8), rng.random(num_test)
    return ComparedNetwork(
        spec.name, spec.title, "torch", run.architecture, dict, run.points, 0.9, predicted, confidence
    )


def comparison_of(plan: Plan, results: list[RunResult], dataset, tmp_path) -> Comparison:
    """A comparison with these results, in which no network was checked."""
    dataset = subset(dataset, 20, 20)
    networks = [network_of(result.spec, result.run, 20) for result in results if result.run]
    findings = Findings(dataset, networks, shape_tables(networks[:1], ["torch"]))
    return Comparison(tmp_path, plan, results, findings, "a machine")


@pytest.fixture
def many(small_data, tmp_path) -> Comparison:
    """A comparison of made-up runs."""
    plan = plan_of_many(MANY, "fashion-mnist")
    run = run_of([Point(10.0, 1.0, 0.5, 0.5)])
    results = [RunResult(spec, variant(run, spec, number)) for number, spec in enumerate(plan.specs)]
    return comparison_of(plan, results, small_data, tmp_path)


@pytest.fixture(scope="module")
def written(small_folder, tmp_path_factory):
    """The folder of a comparison of networks that are run, and its table."""
    folder = tmp_path_factory.mktemp("many")
    options = ["--epochs", "1", "--batch-size", "32", "--device", "cpu", "--conv-channels", "2", "--dense-units", "12"]
    assert train.main(["--dataset", str(small_folder), *options, "--out", str(folder / "run")]) == 0
    plan, results = write_many_runs(folder / "run", folder / "out", MANY)
    comparison = write_results(folder / "out", plan, results, load_dataset(str(small_folder)))
    return folder / "out", comparison


def best_names(comparison: Comparison) -> list[str]:
    """The names of the runs with the best test accuracy, in the order of the plan."""
    accuracy = {result.spec.name: result.run.points[-1].test_acc or 0.0 for result in comparison.results if result.run}
    least = sorted(accuracy.values())[-CHOSEN]
    return [name for name, value in accuracy.items() if value >= least]


# Which runs are chosen


def test_few_networks_are_all_chosen(many):
    assert choose_networks(many.findings.networks[:EXAMINED]) == many.findings.networks[:EXAMINED]
    assert len(choose_networks(many.findings.networks[: EXAMINED + 1])) == CHOSEN


def test_of_many_networks_the_best_are_chosen_in_their_order(many):
    assert [net.name for net in choose_networks(many.findings.networks)] == best_names(many)


def test_of_equally_good_networks_the_first_are_chosen(many):
    equal = [replace(net, points=[Point(1.0, 1.0, 0.5, 0.5)]) for net in many.findings.networks]
    assert choose_networks(equal) == equal[:CHOSEN]


# The files


def test_only_chosen_runs_have_checks_shapes_and_pairs_in_compare_json(written):
    out, comparison = written
    found, best = json.loads((out / "compare.json").read_text()), best_names(comparison)
    names = [run["name"] for run in found["runs"]]
    assert len(names) == MANY
    assert list(found["predicted"]) == list(found["confusion"]) == list(found["misclassified"]) == names
    assert list(found["parity_checks"]) == best
    assert [name for table in found["shapes"] for name in table["networks"]] == best
    assert len(found["disagreements"]) == CHOSEN * (CHOSEN - 1) // 2
    assert {pair[which] for pair in found["disagreements"] for which in ("first", "second")} == set(best)


def test_the_table_says_how_many_networks_were_checked(written):
    _, comparison = written
    *_, note, _, _, last = comparison.table().splitlines()
    chosen = f"the {CHOSEN} networks with the best test accuracy, of {MANY}"
    assert note == f"note: shapes, parity checks, mistakes and disagreements are those of {chosen}"
    assert last.endswith(f"4 checks on each of {CHOSEN} networks pass; {MANY - CHOSEN} networks are not checked")
    assert not comparison.failed


def test_a_failed_check_of_a_chosen_network_is_not_hidden_by_those_that_are_not_checked(written):
    """A known wrong answer."""
    findings = written[1].findings
    name, (first, *others) = next(iter(findings.parity_checks.items()))
    found = replace(first.measurements["torch"], errors={"pool1": 1e9})
    wrong = replace(first, measurements={"torch": found})
    comparison = replace(written[1], findings=replace(findings, parity_checks={name: [wrong, *others]}))
    assert comparison.failed
    assert "differs: weights of" in comparison.table()
    assert "not checked" not in comparison.table()


def test_the_report_has_a_row_for_each_run_and_sections_for_the_chosen(written):
    out, comparison = written
    text = (out / "report.html").read_text()
    results = text[text.index('id="results"') : text.index('id="curves"')]
    assert results.count('<th scope="row">') == MANY
    mistakes = text[text.index('id="mistakes"') : text.index('id="disagreements"')]
    assert re.findall("<h3>(.*)</h3>", mistakes) == best_names(comparison)
    sentence = f"This section is about the {CHOSEN} networks with the best test accuracy, of {MANY}."
    assert text.count(sentence) == 4
    assert f"these are the curves of the {CHOSEN} networks with the best test accuracy, of {MANY}" in text


def test_figures_show_the_chosen_runs_and_say_so(written):
    figure = written[1].figure()
    assert [line.get_label() for line in figure.axes[0].get_lines()] == best_names(written[1])
    assert figure.get_suptitle() == f"Curves of the {CHOSEN} networks with the best test accuracy, of {MANY}"


def test_a_legend_of_long_names_is_not_wider_than_its_figure():
    points = [Point(1.0, 1.0, 0.5, 0.5)]
    figure = draw_overlaid({f"activation=sigmoid conv-channels=6,16 lr=0.9 seed={seed}": points for seed in range(8)})
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().width < figure.bbox.width


def test_json_is_written_as_with_an_indent_but_for_lists_of_numbers():
    described = {
        "text": 'a "b"\n[1,\n 2]',
        "empty": [{}, [], ""],
        "numbers": [1, -2.5, 1e-7, None, True],
        "rows": [[1, 2], [], [3]],
        "mixed": [1, "2"],
        "deeper": {"a": {"b": [{"c": (1, 2)}, {}]}},
    }
    text = json.dumps(described, indent=2)
    expected = re.sub(r"\[\n[^\[\]{}\"]*\]", lambda found: re.sub(r"\n\s*", " ", found[0]), text)
    assert to_json(described).decode() == expected + "\n"


def test_what_many_runs_share_is_one_note(many):
    points = [Point(10.0, 2.303, 0.1, 0.1)]
    same = [replace(result, run=replace(result.run, points=points)) for result in many.results]
    learned_nothing = "has learned nothing: its loss is still about the chance loss of 2.303"
    first = ", ".join(result.spec.name for result in same[:3])
    assert replace(many, results=same).notes[-1] == f"each of {MANY} runs ({first}, ...) {learned_nothing}"
    few = replace(many, results=same[:EXAMINED])
    assert few.notes[-EXAMINED:] == [f"{result.spec.name} {learned_nothing}" for result in same[:EXAMINED]]


def test_progress_is_told_while_many_networks_run(small_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(outcome, "PROGRESS", 2)
    results = [RunResult(RunSpec(f"lr={number}", "torch", {}), reason="not trained") for number in range(5)]
    write_results(tmp_path, Plan(["torch"], [], {}), results, small_data)
    told = [f"[{number}/5] networks have been run on the test set" for number in (2, 4)]
    assert capsys.readouterr().err.splitlines() == told


def test_networks_that_hold_themselves_do_not_pile_up(written, small_folder, tmp_path, monkeypatch):
    """Those of MXNet do, and Python would not notice how large they are."""
    out, comparison = written

    class Network:
        def __init__(self) -> None:
            self.itself = self

    alive: weakref.WeakSet[Network] = weakref.WeakSet()
    most = 0

    def run(backend, architecture, parameters, data, device):
        nonlocal most
        alive.add(Network())
        most = max(most, len(alive))
        return np.zeros((len(data), 10), np.float32)

    monkeypatch.setattr(outcome, "logits_of", run)
    monkeypatch.setattr(outcome, "FREED", 4)
    monkeypatch.setattr(outcome, "examine", lambda networks, dataset: comparison.findings)
    gc.disable()
    try:
        shutil.copytree(out, tmp_path / "out")
        write_results(tmp_path / "out", comparison.plan, list(comparison.results), load_dataset(str(small_folder)))
    finally:
        gc.enable()
    assert most == 4


# What the script gets


def test_the_script_gets_the_numbers_of_the_table_in_its_order(many):
    data = script_data(page(many))
    assert [run["name"] for run in data["runs"]] == [result.spec.name for result in many.results]
    accuracy = list(COLUMNS).index("test acc")
    for run, result in zip(data["runs"], many.results, strict=True):
        assert run["values"][accuracy] == result.run.points[-1].test_acc
        settings = zip(data["settings"], run["settings"], strict=True)
        assert {setting["name"]: setting["values"][value] for setting, value in settings} == result.spec.varied
        epochs, _, _, tested = run["curves"]
        assert (epochs[-1], tested[-1]) == (10, result.run.points[-1].test_acc)
    lines = {run["name"]: run["line"] for run in data["runs"] if run["line"] is not None}
    assert lines == {name: number for number, name in enumerate(best_names(many))}


def test_a_failed_run_has_a_row_and_no_curves(many, small_data, tmp_path):
    failed = RunResult(many.results[0].spec, reason="the disk is full")
    text = page(comparison_of(many.plan, [failed, *many.results[1:]], small_data, tmp_path))
    run = script_data(text)["runs"][0]
    assert (run["values"], run["curves"], run["line"]) == ([], None, None)
    assert "failed: the disk is full" in text


def test_few_runs_are_all_drawn_and_have_no_filters(many, small_data, tmp_path):
    text = page(comparison_of(many.plan, many.results[:EXAMINED], small_data, tmp_path))
    assert [run["line"] for run in script_data(text)["runs"]] == list(range(EXAMINED))
    assert 'id="filter"' not in text
    assert 'id="filter"' in page(many)


def test_long_curves_are_thinned_to_ends_of_epochs_with_the_last():
    points = [Point(number / 5, 1.0, 0.5, None if number % 5 else 0.5) for number in range(1, 5 * 1000 + 1)]
    epochs, *_, tested = curves(points)
    assert MOST_POINTS / 2 < len(epochs) <= MOST_POINTS
    assert epochs[-1] == 1000
    assert None not in tested
    assert len(curves(points[:MOST_POINTS])[0]) == MOST_POINTS


def test_lines_that_can_be_drawn_at_once_all_differ():
    assert EXAMINED <= MOST_LINES
    assert len({tuple(svg_line(number).values()) for number in range(MOST_LINES)}) == MOST_LINES


# Names that are not ours


def test_no_name_becomes_markup_or_script(many, small_data, tmp_path):
    """Names of classes and files can be any text."""
    specs = [RunSpec(f"weights={HOSTILE}{number}", "torch", {"weights": f"{HOSTILE}{number}"}) for number in range(14)]
    results = [RunResult(spec, result.run) for spec, result in zip(specs, many.results, strict=False)]
    results[0] = RunResult(specs[0], reason=HOSTILE)
    plan = Plan(["torch"], [{"weights": [spec.varied["weights"] for spec in specs]}], {"data-dir": HOSTILE})
    comparison = comparison_of(plan, results, replace(small_data, class_names=(HOSTILE,) * 10), tmp_path)
    text = page(comparison)
    elements = Elements(text)
    assert [attributes.get("type") for attributes in elements.all("script")] == ["application/json", None]
    assert not [found for found in elements.all("img") if found.get("src") == "x"]
    assert [name for _, attributes in elements.found for name in attributes if name.startswith("on")] == []
    assert HOSTILE not in text
    assert [run["name"] for run in script_data(text)["runs"]] == [spec.name for spec in specs]


def test_the_pages_policy_allows_its_own_script_alone(many):
    elements = Elements(page(many))
    digest = base64.b64encode(hashlib.sha256(elements.scripts[1].encode()).digest()).decode()
    policies = [found["content"] for found in elements.all("meta") if "http-equiv" in found]
    assert policies == [
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    ]
