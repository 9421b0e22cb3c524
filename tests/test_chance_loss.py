"""A run whose network has learned nothing says so."""

import pytest

from lenet_multi import train
from lenet_multi.architecture import PRESETS
from lenet_multi.comparison.findings import Findings
from lenet_multi.comparison.plan import Plan, RunSpec
from lenet_multi.comparison.results import Comparison, RunResult
from lenet_multi.runs import trainer
from lenet_multi.runs.checkpoint import Run, Segment
from lenet_multi.training.chance_loss import chance_loss, is_chance_loss
from lenet_multi.training.points import Point
from lenet_multi.training.settings import Settings

CHANCE_LOSS = chance_loss(10)
SMALL = ("--conv-channels", "2", "--dense-units", "12", "--batch-size", "32", "--device", "cpu")


@pytest.mark.parametrize("loss", [CHANCE_LOSS, 0.991 * CHANCE_LOSS, 1.009 * CHANCE_LOSS])
def test_a_loss_within_one_percent_of_the_chance_loss_is_chance_loss(loss):
    assert is_chance_loss(loss, 10, num_epochs=2, num_train=10_000)


@pytest.mark.parametrize("loss", [0.989 * CHANCE_LOSS, 1.011 * CHANCE_LOSS, 0.5, 100.0])
def test_a_loss_further_away_is_not_chance_loss(loss):
    assert not is_chance_loss(loss, 10, num_epochs=2, num_train=10_000)


def test_the_chance_loss_is_that_of_the_number_of_classes():
    assert is_chance_loss(3.611, 37, num_epochs=2, num_train=10_000)
    assert not is_chance_loss(2.303, 37, num_epochs=2, num_train=10_000)


def test_one_epoch_is_too_few_to_tell():
    assert not is_chance_loss(CHANCE_LOSS, 10, num_epochs=1, num_train=60_000)


def test_less_than_10_000_examples_are_too_few_to_tell():
    assert not is_chance_loss(CHANCE_LOSS, 10, num_epochs=100, num_train=9_999)


@pytest.fixture
def asked(monkeypatch):
    """What the rule is asked about; it answers that nothing was learned."""
    given: list[tuple[float, int, int]] = []

    def always(loss, num_classes, num_epochs, num_train):
        assert num_classes == 10
        given.append((loss, num_epochs, num_train))
        return True

    monkeypatch.setattr(trainer, "is_chance_loss", always)
    return given


@pytest.mark.parametrize(
    ("activation", "advice"),
    [("relu", "a smaller --lr, such as 0.1"), ("sigmoid", "more --epochs, or another --seed")],
)
def test_a_run_that_has_learned_nothing_says_so_in_one_line(activation, advice, asked, small_folder, capsys):
    arguments = ["--dataset", str(small_folder), "--epochs", "2", "--activation", activation, "--lr", "0.1", *SMALL]
    assert train.main(arguments) == 0
    ((loss, num_epochs, num_train),) = asked
    assert (num_epochs, num_train) == (2, 200)
    assert capsys.readouterr().err.endswith(
        f"\nnote: after 2 epochs the loss is {loss:.3f}, about the chance loss of 2.303: the network has learned "
        f"nothing; try {advice}\n"
    )


def test_the_epochs_of_a_resumed_run_all_count(asked, small_folder, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    assert train.main(["--dataset", str(small_folder), "--epochs", "1", *SMALL, *out]) == 0
    assert train.main(["--resume", "--epochs", "2", *out]) == 0
    assert [num_epochs for _, num_epochs, _ in asked] == [1, 2]


def test_a_run_that_learns_says_nothing(small_folder, capsys):
    assert train.main(["--dataset", str(small_folder), "--epochs", "2", *SMALL]) == 0
    assert "note" not in capsys.readouterr().err


def comparison_of(losses: dict[str, float], small_data, tmp_path) -> Comparison:
    """Runs of two epochs on 60,000 examples that end with these losses."""
    rows = []
    for name, loss in losses.items():
        settings = Settings("fashion-mnist", "", 60_000, 10_000, 2, 256, 0.9, 0)
        segment = Segment("torch", "PyTorch", "2", "cpu", 0, 2, 1.0, 1.0, 1.0, 1.0, "plain")
        run = Run(PRESETS["lenet5"], settings, "torch", "plain", [Point(2.0, loss, 0.1, 0.1)], [segment])
        rows.append(RunResult(RunSpec(name, "torch", {}), run))
    findings = Findings(small_data, [])
    return Comparison(tmp_path, Plan(["torch"], [], {}), rows, findings, "a machine")


def test_a_comparison_names_the_runs_that_have_learned_nothing(small_data, tmp_path):
    comparison = comparison_of({"sigmoid": 1.2, "relu": 2.303}, small_data, tmp_path)
    assert comparison.notes == ["relu has learned nothing: its loss is still about the chance loss of 2.303"]
    assert f"note: {comparison.notes[0]}" in comparison.table()
