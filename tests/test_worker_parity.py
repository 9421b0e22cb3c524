"""Check 12 of `parity --workers`: several workers train as the float64 reference does, and what differs is named."""

import math

import pytest
from conftest import ENGINES, needs

from lenet_multi import parity
from lenet_multi.architecture import PRESETS
from lenet_multi.backends import load_backend
from lenet_multi.checks.distributed_checks import distributed_checks
from lenet_multi.checks.fixture import Fixture
from lenet_multi.checks.measurement import Measurement
from lenet_multi.checks.parity_checks import run_checks
from lenet_multi.distributed import WORKER_VARIABLES


@pytest.fixture(scope="module")
def fixture(fashion_mnist) -> Fixture:
    return Fixture(PRESETS["lenet5"], fashion_mnist, training_steps=25)  # 50 steps


def measured(fixture: Fixture, count: int, name: str) -> Measurement:
    (result,) = run_checks(fixture, {name: load_backend(name)}, distributed_checks((count,)))
    return result.measurements[name]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", ENGINES)
def test_workers_train_as_the_reference_does(name, count, fixture):
    found = measured(fixture, count, name)
    assert found.passed, found.errors
    assert list(found.errors) == [*(f"step {step}" for step in range(1, 51)), "final weights"]


def test_another_update_is_seen_and_named(fixture, monkeypatch):
    fixture.training  # noqa: B018 - the reference trains with the right learning rate
    monkeypatch.setitem(vars(fixture), "lr", 1.02 * fixture.lr)
    found = measured(fixture, 2, ENGINES[0])
    assert not found.passed
    assert found.first_failing is not None
    assert found.errors["step 1"] < found.tolerance < found.errors["step 3"]


def test_a_worker_that_fails_fails_the_check_with_its_reason(fixture, monkeypatch):
    monkeypatch.setattr(fixture, "device", "gpu:99")
    found = measured(fixture, 2, ENGINES[0])
    assert found.error == math.inf
    assert "gpu:99" in found.worst


def test_the_fast_loops_are_refused(capsys):
    assert parity.main(["--workers", "2", "--fast"]) == 2
    assert capsys.readouterr().err == "error: --workers: the fast loop runs in one process: omit --fast\n"


@needs("jax")
def test_a_backend_that_trains_in_one_process_is_refused(capsys):
    assert parity.main(["--workers", "2", "--backends", "jax"]) == 2
    message = "error: the jax backend trains in one process only: for several workers, choose one of "
    assert capsys.readouterr().err == f"{message}{', '.join(WORKER_VARIABLES)}\n"
