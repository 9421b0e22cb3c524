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

from lenet_multi.runs.checkpoint import CHECKPOINT

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
commands, files = (import_module(f"fault_campaign.{name}") for name in ("commands", "files"))


@pytest.mark.parametrize(
    "section",
    [
        ["kills", "--kills", "1", "--backends", "torch"],
        ["files", "--mutations", "60"],
        ["streams", "--streams", "1"],
        ["disks", "--disks", "1"],
    ],
    ids=lambda section: section[0],
)
def test_a_small_campaign_finds_no_fault(section):
    done = subprocess.run([sys.executable, SCRIPTS / "faults", *section], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| what | tries | faults |" in done.stdout


def program(text: str) -> subprocess.Popen:
    """A process that a command of the package could be."""
    command = [sys.executable, "-c", text]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 / 0", "a traceback: ZeroDivisionError"),
        ("import sys; sys.exit(3)", "status 3, expected (0, 2)"),
        ("import sys; sys.exit(2)", "status 2 with 0 error lines"),
        ("import subprocess; subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3)", "processes left"),
        ("import time; time.sleep(60)", "no end within"),
    ],
)
def test_what_goes_wrong_with_a_command_is_found(text, found, monkeypatch):
    monkeypatch.setattr(commands, "PATIENCE", 8)
    faults = commands.finish(program(text), expected=(0, 2))
    assert any(found in fault for fault in faults), faults


def test_a_command_that_ends_well_has_no_faults():
    assert commands.finish(program("")) == []


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


def allocate() -> bytes:
    return b"\0" * (2 * files.MEMORY)


def wait() -> None:
    while True:
        pass


@pytest.mark.parametrize(("read", "found"), [(allocate, "MemoryError"), (wait, "TimeoutError"), (int, None)])
def test_what_goes_wrong_while_a_file_is_read_is_found(read, found, monkeypatch):
    monkeypatch.setattr(files, "SECONDS", 1)
    faults = files.faults_of(read)
    assert [fault.partition(":")[0] for fault in faults] == ([found] if found else [])


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
