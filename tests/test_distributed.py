"""Several workers compute the run of one process, in every framework, and fail together."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from conftest import ENGINES, listening_addresses, needs, write_folder

from lenet_multi import launch, train
from lenet_multi.backends import BACKENDS
from lenet_multi.checks.measurement import relative_error
from lenet_multi.data import Split
from lenet_multi.distributed import LOST_CONNECTION, WORKER_VARIABLES, is_worker
from lenet_multi.distributed.environment import environments
from lenet_multi.distributed.processes import ErrorPrinter, free_ports
from lenet_multi.distributed.shares import ShareSampler, share_of
from lenet_multi.distributed.workers import Workers
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint
from lenet_multi.runs.outputs import require_unchanged
from lenet_multi.runs.weights import load_weights
from lenet_multi.system.process import child_environment

# 401 examples in batches of 40: an epoch has 11 steps, the last of one example, so that some workers have no share.
TRAINING = ["--batch-size", "40", "--lr", "0.1", "--activation", "tanh", "--device", "cpu"]
WHOLE = ["--epochs", "5", "--lr-decay-epoch", "3"]  # 55 steps
# Workers add the same numbers in another order; each step rounds its weights anew. Seen: at most 3e-6.
TOLERANCE = 2e-5
PATIENCE = 120  # seconds until a process that does not get anywhere fails the test


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "some", num_train=401, num_test=101)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def environment(**variables: str) -> dict[str, str]:
    return {**child_environment(), "CUDA_VISIBLE_DEVICES": "-1", **variables}


def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), timeout=PATIENCE)
    assert done.returncode == status, done.stderr
    return done


def require_same_run(out: Path, expected: Path) -> None:
    (found_run, found), (expected_run, parameters) = load_checkpoint(out), load_checkpoint(expected)
    assert [point.epoch for point in found_run.points] == [point.epoch for point in expected_run.points]
    for point, other in zip(found_run.points, expected_run.points, strict=True):
        assert point.train_loss == pytest.approx(other.train_loss, rel=TOLERANCE)
        assert point.train_acc == pytest.approx(other.train_acc, abs=0.003)  # an example near the border
    for name, value in parameters.items():
        assert relative_error(found[name], value, least=0.1) < TOLERANCE, name


@pytest.fixture(scope="module", params=ENGINES)
def one_process(request, folder, tmp_path_factory) -> tuple[str, Path]:
    """A backend, and its run in one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    options = ["--backend", request.param, "--dataset", str(folder), "--out", str(out)]
    run("lenet_multi.train", *options, *TRAINING, *WHOLE)
    return request.param, out


@pytest.mark.parametrize("num_workers", [2, 3])
def test_several_workers_compute_the_run_of_one_process(num_workers, one_process, folder, tmp_path):
    name, expected = one_process
    options = ["--backend", name, "--dataset", str(folder), "--out", str(tmp_path / "run")]
    done = run("lenet_multi.launch", "--workers", str(num_workers), "--", "train", *options, *TRAINING, *WHOLE)
    require_same_run(tmp_path / "run", expected)
    assert len(done.stdout.splitlines()) == 2  # only worker 0 prints
    assert done.stderr.count("epoch 1 of 5: ") == 1
    variable = {"torch": "WORLD_SIZE", "tensorflow": "TF_CONFIG", "mxnet": "DMLC_NUM_WORKER"}[name]
    assert f"worker {num_workers - 1}: " in done.stderr
    assert done.stderr.count(f"{variable}=") == num_workers + 2 * (name == "mxnet")


def test_a_run_goes_on_with_another_number_of_workers_and_in_another_framework(folder, tmp_path):
    """Compared with the run of the first framework, whose steps the others take too."""
    expected, relay = tmp_path / "expected", tmp_path / "relay"
    first, second, third = (ENGINES[i % len(ENGINES)] for i in range(3))
    start = ["--dataset", str(folder), "--backend", first, *TRAINING]
    run("lenet_multi.train", *start, "--epochs", "3", "--out", str(expected))
    run("lenet_multi.train", *start, "--epochs", "1", "--out", str(relay))
    resume = ["--resume", "--device", "cpu", "--out", str(relay)]
    run("lenet_multi.launch", "--workers", "2", "--", "train", *resume, "--epochs", "2", "--backend", second)
    run("lenet_multi.train", *resume, "--epochs", "3", "--backend", third)
    require_same_run(relay, expected)
    assert [segment.workers for segment in load_checkpoint(relay)[0].segments] == [1, 2, 1]


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@contextmanager
def launched(name: str, folder: Path, out: Path, epochs: int = 5000) -> Iterator[subprocess.Popen[str]]:
    """Two workers that train, and have done at least one epoch; by default they would take long."""
    options = ["--backend", name, "--dataset", str(folder), "--epochs", str(epochs), "--out", str(out), *TRAINING]
    with subprocess.Popen(
        command("lenet_multi.launch", "--workers", "2", "--", "train", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not ((out / CHECKPOINT).exists() and load_checkpoint(out)[0].epochs_done >= 1):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ENGINES)
def test_a_killed_worker_ends_the_others_and_the_run_can_be_resumed(name, folder, tmp_path):
    out = tmp_path / "run"
    with launched(name, folder, out, epochs=60) as process:
        children = children_of(process)
        os.kill(children[-1], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert told[0].startswith("error: worker 1 was killed by SIGKILL, and the others were ended")
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    done = load_checkpoint(out)[0].epochs_done
    assert 1 <= done < 60
    # With another number of workers; then, in one framework, the finished run, which they do not train.
    resume = ["--resume", "--out", str(out), "--device", "cpu"]
    for _ in range(2 if name == ENGINES[0] else 1):
        printed = run("lenet_multi.launch", "--workers", "3", "--", "train", *resume)
        assert len(printed.stdout.splitlines()) == 2
    assert load_checkpoint(out)[0].epochs_done == 60


@pytest.mark.parametrize("name", ENGINES)
def test_interrupted_workers_keep_the_run_and_had_listened_on_this_machine_only(name, folder, tmp_path):
    out = tmp_path / "run"
    with launched(name, folder, out) as process:
        children = children_of(process)
        addresses = listening_addresses(children)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert addresses
    if name != "tensorflow":  # its server always listens on all interfaces
        assert addresses == {"127.0.0.1"}
    assert process.returncode == 130
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert load_checkpoint(out)[0].epochs_done >= 1
    assert errors.endswith("interrupted: start again, with --resume if the run has --out\n")
    assert "Traceback" not in errors


def test_of_workers_that_are_ended_only_errors_and_what_was_saved_are_told():
    told: list[str] = []
    printer = ErrorPrinter(told.append)
    trace = "print('Traceback', 'interrupted: saved', 'error: the disk is full', sep='\\n', file=sys.stderr)"
    lost = f"print('error: {LOST_CONNECTION}', file=sys.stderr)"
    for is_ending in (False, True):
        if is_ending:
            printer.expect_the_end()
        for line in (trace, lost):
            words = [sys.executable, "-c", f"import sys; {line}"]
            with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
                printer.follow(process)
                process.wait()
            printer.finish()
    assert told == ["Traceback", "interrupted: saved", "error: the disk is full", "interrupted: saved"]


@pytest.mark.parametrize("name", ENGINES)
def test_a_run_that_diverges_ends_on_all_workers(name, folder):
    options = ["--backend", name, "--dataset", str(folder), *TRAINING, "--activation", "relu", "--lr", "1e30"]
    done = run("lenet_multi.launch", "--workers", "2", "--", "train", *options, status=2)
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert told[0].endswith("in epoch 1: try a smaller --lr")


CALLER = """
import sys
from lenet_multi.runs.options import run_parser
from lenet_multi.runs.trainer import run_training

def after_epoch(net, point):
    {statement}

run_training(run_parser("caller", "").parse_args(sys.argv[1:]), after_epoch)
"""


def run_caller(name: str, statement: str, folder: Path, tmp_path: Path) -> list[tuple[int, str, str]]:
    """Status, standard output and standard error of all processes of a run that calls `run_training` itself."""
    program = tmp_path / "caller.py"
    program.write_text(CALLER.format(statement=statement))
    options = ["--backend", name, "--dataset", str(folder), "--epochs", "4", *TRAINING]
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables),
        )
        for _, _, variables in environments(name, ["127.0.0.1"] * 2, free_ports(2))
    ]
    printed = [process.communicate(timeout=PATIENCE) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, printed, strict=True)]


@pytest.mark.parametrize("name", ENGINES)
def test_all_workers_stop_when_the_caller_stops_worker_0(name, folder, tmp_path):
    outcomes = run_caller(name, "return point.epoch == 2", folder, tmp_path)
    assert [status for status, _, _ in outcomes] == [0] * len(outcomes)
    assert sum("epoch 2 of 4" in errors for _, _, errors in outcomes) == 1
    assert not any("epoch 3 of 4" in errors for _, _, errors in outcomes)


@pytest.mark.skipif("torch" not in ENGINES, reason="needs PyTorch")
def test_the_callers_own_error_is_not_taken_for_a_lost_connection(folder, tmp_path):
    (_, _, first), (_, _, second) = run_caller("torch", "raise RuntimeError('mine')", folder, tmp_path)
    assert first.rstrip().endswith("RuntimeError: mine")
    assert "lenet_multi.errors.UserError: the connection to the other workers failed (" in second


def test_a_second_launch_in_the_same_folder_is_refused(folder, tmp_path):
    name, out = ENGINES[0], tmp_path / "run"
    with launched(name, folder, out):
        for options in (["--resume"], ["--dataset", str(folder), *TRAINING]):
            done = run("lenet_multi.launch", "--", "train", "--backend", name, "--out", str(out), *options, status=2)
            told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert len(told) == 1
            assert str(out) in told[0]


def alone(name: str, port: int) -> dict[str, str]:
    """The variables of a first process whose peers do not come; on this port it listens."""
    if name == "mxnet":
        variables = environments(name, ["127.0.0.1"], [port])[0][2]  # the scheduler
        return variables | {"DMLC_NUM_WORKER": "2"}
    return environments(name, ["127.0.0.1"] * 2, [port, *free_ports(1)])[0][2]


@pytest.mark.parametrize("name", ENGINES)
def test_a_port_that_is_taken_is_told(name, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            command("lenet_multi.train", "--backend", name, "--dataset", str(folder), *TRAINING),
            capture_output=True,
            text=True,
            env=environment(**alone(name, taken.getsockname()[1])),
            timeout=PATIENCE,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "port" in line


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "tensorflow"])  # it waits for an hour
def test_a_missing_worker_is_told(name, folder):
    variables = alone(name, *free_ports(1)) | {"LENET_MULTI_JOIN_SECONDS": "1"}
    if name == "mxnet":
        variables["DMLC_ROLE"] = "worker"
    done = subprocess.run(
        command("lenet_multi.train", "--backend", name, "--dataset", str(folder), *TRAINING),
        capture_output=True,
        text=True,
        env=environment(**variables),
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: another worker is missing after 1 seconds: check the addresses in ")


class FakeEngine:
    """Sums over two workers, of which the other one sends these numbers."""

    def __init__(self, other: dict[str, list[float]]) -> None:
        self.other = iter(other.values())

    def total(self, numbers):
        return [own + other for own, other in zip(numbers, next(self.other), strict=True)]


@pytest.mark.parametrize("differs", [None, "the data", "the options"])
def test_what_differs_between_workers_is_named(differs):
    described = {"the data": "a" * 64, "the options": "lr 0.1"}
    other = {
        name: [float(byte) for byte in hashlib.sha256((text + "!" * (name == differs)).encode()).digest()[:8]]
        for name, text in described.items()
    }
    workers = Workers(1, 2, cast(Any, FakeEngine(other)))
    if differs is None:
        workers.require_equal(described)
        return
    with pytest.raises(UserError) as problem:
        workers.require_equal(described)
    shown = " (lr 0.1 here)" if differs == "the options" else ""
    assert str(problem.value) == f"worker 1: the workers differ in {differs}{shown}: use the same for all workers"


@pytest.mark.parametrize(
    ("name", "variables", "expected"),
    [
        ("torch", {"WORLD_SIZE": "2"}, False),
        ("torch", {"WORLD_SIZE": "2", "RANK": "0"}, True),
        ("torch", {"DMLC_ROLE": "worker"}, False),
        ("tensorflow", {"TF_CONFIG": "{}"}, False),
        ("tensorflow", {"TF_CONFIG": '{"cluster": {}, "task": {}}'}, True),
        ("mxnet", {"DMLC_ROLE": "worker"}, True),
        ("mxnet", {}, False),
        ("jax", {"WORLD_SIZE": "2", "RANK": "0"}, False),
    ],
)
def test_the_variables_that_make_a_process_a_worker(name, variables, expected, monkeypatch):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert is_worker(name) == expected


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in WORKER_VARIABLES])
def test_a_backend_that_trains_in_one_process_gets_no_workers(name, capsys):
    assert launch.main(["--workers", "2", "--", "train", "--backend", name]) == 2
    assert capsys.readouterr().err == (
        f"error: the {name} backend trains in one process only: for several workers, choose one of "
        f"{', '.join(WORKER_VARIABLES)}\n"
    )


def test_a_damaged_tf_config_is_told(monkeypatch):
    """Else each worker would train alone."""
    monkeypatch.setenv("TF_CONFIG", "{bad")
    with pytest.raises(UserError, match="TF_CONFIG is not JSON"):
        is_worker("tensorflow")


@pytest.mark.skipif("tensorflow" not in ENGINES, reason="needs TensorFlow")
def test_tensorflows_chief_is_the_first_worker(folder, tmp_path):
    ports = free_ports(2)
    cluster = {"chief": [f"127.0.0.1:{ports[0]}"], "worker": [f"127.0.0.1:{ports[1]}"]}
    options = ["--backend", "tensorflow", "--dataset", str(folder), "--epochs", "1", *TRAINING]
    processes = [
        subprocess.Popen(
            command("lenet_multi.train", *options),
            stdout=subprocess.PIPE,
            text=True,
            env=environment(TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": task, "index": 0}})),
        )
        for task in ("chief", "worker")
    ]
    printed = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [len(text.splitlines()) for text in printed] == [2, 0]


def test_a_folder_that_another_run_took_meanwhile_is_refused(folder, tmp_path):
    run("lenet_multi.train", "--dataset", str(folder), "--epochs", "1", "--out", str(tmp_path / "run"), *TRAINING)
    found = load_checkpoint(tmp_path / "run")[0]
    require_unchanged(tmp_path / "run", found, resumed=True)
    require_unchanged(tmp_path / "other", found, resumed=False)
    with pytest.raises(UserError, match="another process is already using"):
        require_unchanged(tmp_path / "run", found, resumed=False)
    with pytest.raises(UserError, match="another process has continued the run"):
        require_unchanged(tmp_path / "run", replace(found, segments=[]), resumed=True)


def test_workers_that_differ_are_told(folder, tmp_path):
    """The same variables, but not the same options."""
    name = ENGINES[0]
    outcomes = []
    for number, (_, _, variables) in enumerate(environments(name, ["127.0.0.1"] * 2, free_ports(2))):
        options = ["--backend", name, "--dataset", str(folder), "--epochs", "1", *TRAINING, "--seed", str(number)]
        outcomes.append(
            subprocess.Popen(
                command("lenet_multi.train", *options), stderr=subprocess.PIPE, text=True, env=environment(**variables)
            )
        )
    for number, process in enumerate(outcomes):
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        assert errors.startswith(f"error: worker {number}: the workers differ in the options (epochs 1, ")


@pytest.mark.skipif("torch" not in ENGINES, reason="needs PyTorch")
def test_torchrun_starts_workers_too(folder, tmp_path):
    options = ["--dataset", str(folder), "--epochs", "1", "--out", str(tmp_path / "run"), *TRAINING]
    run("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lenet_multi.train", *options)
    assert load_weights(tmp_path / "run")[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--workers", "2"], "launch needs a command after --"),
        (["--", "evaluate"], "launch runs train only, not 'evaluate'"),
        (["--workers", "2", "train", "--backend", "torch"], "launch needs -- before train"),
        (["--workers", "0", "--", "train"], "--workers: invalid value '0'"),
        pytest.param(
            ["--hosts", "a,b", "--", "train", "--backend", "mxnet"],
            "MXNet needs addresses, such as 192.168.0.2",
            marks=needs("mxnet"),
        ),
        (["--", "train", "--fast"], "the fast loop runs in one process: omit --fast"),
        (["--", "train", "--lr", "x"], "--lr: invalid value 'x'"),
        (["--", "train", "--backend", "caffe"], "unknown backend 'caffe'"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, told, capsys):
    assert launch.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_on_several_hosts_the_commands_are_printed(capsys):
    hosts = ["--workers", "3", "--hosts", "a,b"]
    assert launch.main([*hosts, "--", "train", "--backend", ENGINES[0]]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == "# worker 2, on a"
    assert printed[-1].endswith(f"python -m lenet_multi.train --backend {ENGINES[0]}")


# Shares


@pytest.mark.parametrize("num_workers", [1, 2, 3, 7])
def test_the_shares_of_a_batch_are_the_batch(num_workers):
    whole = ShareSampler(23, 5, seed=1)
    shares = [ShareSampler(23, 5, seed=1, rank=rank, num_workers=num_workers) for rank in range(num_workers)]
    for i, (index, *own) in enumerate(zip(whole, *shares, strict=True)):
        weights = [share.weight(i) for share in shares]
        parts = [part for part, weight in zip(own, weights, strict=True) if weight]
        assert sorted(np.concatenate(parts)) == sorted(index)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert all(len(part) for part in own)  # a stand-in where there is no share
        assert whole.batch_len(i) == len(index)


def test_the_shares_of_a_split_are_the_split():
    split = Split(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), np.arange(10, dtype=np.uint8))
    shares = [share_of(split, rank, 3) for rank in range(3)]
    assert sorted(label for share in shares for label in share.labels) == list(range(10))
    assert len(share_of(split.subset(2), 2, 3)) == 0


def test_a_hosts_workers_are_counted_from_zero():
    local = [variables["LOCAL_RANK"] for _, _, variables in environments("torch", ["a", "b", "a", "b"], [29500])]
    assert local == ["0", "0", "1", "1"]


def test_training_alone_ignores_the_variables_of_other_frameworks(folder, monkeypatch, capsys):
    name = ENGINES[0]
    other = {"torch": "DMLC_ROLE", "tensorflow": "WORLD_SIZE", "mxnet": "WORLD_SIZE"}[name]
    monkeypatch.setenv(other, "1")
    assert train.main(["--backend", name, "--dataset", str(folder), "--epochs", "1", *TRAINING]) == 0
    assert re.search("test acc", capsys.readouterr().out)
