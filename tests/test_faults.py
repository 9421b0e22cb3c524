"""The fault campaign: a small one finds nothing, and its checks find what is wrong."""

import random
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import safetensors
import safetensors.numpy

from lenet_multi import train
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
commands, files, workers = (import_module(f"fault_campaign.{name}") for name in ("commands", "files", "workers"))


@pytest.mark.parametrize(
    "section",
    [
        ["kills", "--kills", "1", "--backends", "torch", "--jobs", "1"],
        ["pairs", "--pairs", "1"],
        ["files", "--mutations", "60"],
        ["server", "--ways", "3"],
        ["streams", "--streams", "1"],
        ["disks", "--disks", "1"],
        ["names", "--names", "1"],
        ["workers", "--worker-kills", "1", "--backends", "torch"],
    ],
    ids=lambda section: section[0],
)
def test_a_small_campaign_finds_no_fault(section):
    done = subprocess.run([sys.executable, SCRIPTS / "faults", *section], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| what | tries | faults |" in done.stdout


def program(text: str) -> subprocess.Popen:
    """A process that a command of the package could be."""
    command = [sys.executable, "-c", f"import subprocess, sys, time\n{text}"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 / 0", "a traceback: ZeroDivisionError"),
        ("sys.exit(3)", "status 3, expected (0, 2)"),
        ("sys.exit(2)", "status 2 with 0 error lines"),
        ("subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3)", "processes left"),
        ("print('error: another reason', file=sys.stderr); sys.exit(2)", "another error: error: another reason"),
        ("time.sleep(60)", "no progress for 2 s"),
        ("while True: pass", "no end within 4 s"),
    ],
)
def test_what_goes_wrong_with_a_command_is_found(text, found, monkeypatch):
    monkeypatch.setattr(commands, "PATIENCE", 4)
    faults = commands.finish(program(text), expected=(0, 2), saying="the expected reason", silence=2)
    assert any(found in fault for fault in faults), faults


def test_a_lack_of_memory_is_not_an_error_of_the_command():
    text = """
from lenet_multi.system.command import run_command
def command(argv):
    raise MemoryError
sys.exit(run_command(command))
"""
    (fault,) = commands.finish(program(text), expected=(2,))
    assert "another error: error: out of memory" in fault


@pytest.mark.parametrize(
    "text", ["", "print('error: it cannot be, for the expected reason', file=sys.stderr); sys.exit(2)"]
)
def test_a_command_that_ends_as_expected_has_no_faults(text):
    assert commands.finish(program(text), expected=(0, 2), saying="the expected reason") == []


def test_an_exception_in_a_try_is_a_fault_of_that_try():
    row = commands.row_of("divisions", [1, 0, 2], lambda number: [] if 1 / number else ["no quotient"], jobs=2)
    assert (row.tries, row.faults) == (3, ["0: ZeroDivisionError: division by zero"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the campaign's data."""
    folder = tmp_path_factory.mktemp("campaign")
    data = commands.write_data(folder / "data", 128, 40)
    arguments = ["--dataset", data, "--epochs", "1", *commands.QUICK, "--out", folder / "run"]
    assert commands.finish(commands.start("train", *arguments)) == []
    return folder / "run"


def test_a_run_does_not_differ_from_its_copy(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    assert commands.difference(run, tmp_path / "copy") == []


def test_other_weights_a_missing_file_and_a_temporary_file_are_differences(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    content = bytearray((copy / CHECKPOINT).read_bytes())
    content[-1] ^= 1
    (copy / CHECKPOINT).write_bytes(content)
    (copy / "history.csv").unlink()
    (copy / ".summary.json.0123.part").touch()
    faults = commands.difference(run, copy)
    assert [fault.split(" ", 1)[1] for fault in faults] == ["differs", "history.csv", "left"]


def test_a_damaged_checkpoint_is_a_difference(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / CHECKPOINT).write_bytes((copy / CHECKPOINT).read_bytes()[:-1])
    (fault,) = commands.difference(run, copy)
    assert fault.startswith("damaged checkpoint: ")


def allocate() -> bytes:
    return b"\0" * (2 * files.MEMORY)


def wait() -> None:
    try:
        while True:
            pass
    except Exception as problem:
        raise UserError("damaged") from problem


def refuse() -> None:
    raise UserError("damaged")


@pytest.mark.parametrize(
    ("read", "found"), [(allocate, ["MemoryError"]), (wait, ["TimeIsUp"]), (refuse, []), (int, [])]
)
def test_what_goes_wrong_while_a_file_is_read_is_found(read, found, monkeypatch):
    monkeypatch.setattr(files, "SECONDS", 1)
    faults = files.faults_of(read)
    assert [fault.partition(":")[0].rpartition(".")[2] for fault in faults] == found


def test_a_file_that_ends_the_process_is_a_fault(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "file").touch()
    program = f"""
import os, pathlib
from fault_campaign.files import Kind, mutate_json, mutated
def read(folder, number):
    os._exit(1)
print(mutated(Kind("files", pathlib.Path({str(tmp_path)!r}, "few"), "file", read, mutate_json), 2, seed=0, jobs=2))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True)
    assert "tries=2, faults=['files: concurrent.futures.process.BrokenProcessPool" in done.stdout, done.stderr


def test_a_mutation_with_the_right_length_is_still_a_safetensors_file(run):
    content = (run / CHECKPOINT).read_bytes()
    mutated = [files.mutate_safetensors(content, random.Random(seed)) for seed in range(40)]
    assert len({*mutated}) > 30
    assert sum(map(is_safetensors, mutated)) > 10


def is_safetensors(content: bytes) -> bool:
    try:
        safetensors.numpy.load(content)
    except safetensors.SafetensorError:
        return False
    return True


def test_a_run_that_ends_elsewhere_than_in_one_process_is_found(small_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "EPOCHS", 1)
    options = ["--dataset", str(small_folder), "--epochs", "1", "--batch-size", "50", "--activation", "tanh"]
    for name, lr in (("expected", "0.1"), ("same", "0.1"), ("other", "0.11")):
        assert train.main([*options, "--lr", lr, "--out", str(tmp_path / name)]) == 0
    assert workers.difference(tmp_path / "expected", tmp_path / "same") == []
    found = workers.difference(tmp_path / "expected", tmp_path / "other")
    assert any(" differs by " in fault for fault in found)
    assert workers.difference(tmp_path / "expected", tmp_path / "none") == ["no checkpoint"]
