"""Standard streams that are closed, full or unread: they cost what would have been printed, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import INSTALLED

from lenet_multi.runs.checkpoint import CHECKPOINT, load_run
from lenet_multi.runs.outputs import OUTPUTS
from lenet_multi.system.parent_watch import PARENT_PIPE

PATIENCE = 120  # seconds until a process that does not get anywhere fails the test
FILES = sorted((CHECKPOINT, *OUTPUTS))
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
UNREAD = ">UNREAD"  # standard output is a pipe that nobody reads
# Redirections of a shell.
FAULTS = {
    "unread output": UNREAD,
    "full output": ">/dev/full",
    "full errors": "2>/dev/full",
    "both full": ">/dev/full 2>/dev/full",
    "no input": "<&-",
    "no output": ">&-",
    "no errors": "2>&-",
    "none at all": "<&- >&- 2>&-",
}
EVERY_FAULT = [
    pytest.param(redirection, id=name, marks=needs_full if "full" in redirection else ())
    for name, redirection in FAULTS.items()
]


@pytest.fixture
def ended():
    """Runs a module of the package, with its streams redirected, to its end."""

    def ended(redirection: str, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run(
                shell(redirection.replace(UNREAD, ""), "-m", f"lenet_multi.{module}", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=writing if UNREAD in redirection else subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
                text=True,
                timeout=PATIENCE,
            )
        finally:
            os.close(writing)

    return ended


def shell(redirection: str, *arguments: str) -> list[str]:
    """The command of a shell that becomes Python, with these redirections."""
    return ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, *arguments]


@pytest.fixture
def quick(small_folder, tmp_path) -> list[str]:
    """Options of a run that takes a moment."""
    data = ["--dataset", str(small_folder), "--batch-size", "32", "--epochs", "1", "--device", "cpu"]
    return [*data, "--activation", "tanh", "--lr", "0.2"]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("redirection", EVERY_FAULT)
def test_a_run_is_trained_and_written_whatever_becomes_of_its_streams(redirection, ended, quick, tmp_path):
    out = tmp_path / "run"
    process = ended(redirection, "train", *quick, "--out", str(out))
    assert process.returncode == 0, process.stderr
    assert files_in(out) == FILES
    assert load_run(out).epochs_done == 1


@pytest.mark.parametrize("name", INSTALLED)
def test_every_framework_trains_without_streams(name, ended, quick, tmp_path):
    """A framework prints to the descriptors 1 and 2, whatever files they have become."""
    out = tmp_path / "run"
    process = ended("<&- >&- 2>&-", "train", "--backend", name, "--fast", *quick, "--out", str(out))
    assert process.returncode == 0, process.stderr
    assert files_in(out) == FILES
    assert load_run(out).epochs_done == 1


@pytest.mark.parametrize("redirection", [UNREAD, "<&- >&- 2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_the_files_of_a_comparison_do_not_depend_on_its_streams(redirection, ended, quick, tmp_path):
    out = tmp_path / "compared"
    process = ended(redirection, "compare", "--backends", "torch", *quick, "--out", str(out))
    assert process.returncode == 0, process.stderr
    assert files_in(out) == ["compare.json", "curves.png", "curves.svg", "report.html", "torch"]
    assert files_in(out / "torch") == FILES


@pytest.mark.parametrize("unbuffered", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_pipe_that_does_not_block_gets_everything_if_it_is_read(unbuffered):
    """A terminal or a supervisor may make a pipe so. It is full at times."""
    code = (
        "from lenet_multi.system.command import run_command\n"
        "raise SystemExit(run_command(lambda _: print('x' * 10**6)))\n"
    )
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (
        subprocess.Popen([sys.executable, *unbuffered, "-c", code], stdout=writing, stderr=subprocess.PIPE) as process,
        os.fdopen(reading, "rb") as pipe,
    ):
        os.close(writing)
        assert len(pipe.read()) == 10**6 + len(os.linesep)
        assert process.communicate(timeout=PATIENCE)[1] == b""
    assert process.returncode == 0


@needs_full
def test_what_a_full_device_did_not_take_is_told(ended, quick, tmp_path):
    process = ended(">/dev/full", "train", *quick, "--out", str(tmp_path / "run"))
    assert process.stderr.splitlines()[1:] == ["warning: standard output is incomplete (no space left on device)"]


@needs_full
def test_a_result_that_was_not_printed_is_an_error_where_it_is_all_that_the_command_gives(ended):
    process = ended(">/dev/full", "shapes", "--backends", "torch")
    assert (
        process.stderr
        == "error: standard output is incomplete (no space left on device): redirect it to another place\n"
    )
    assert process.returncode == 2


@pytest.mark.parametrize("redirection", [UNREAD, ">&-"])
def test_a_table_that_nobody_reads_ends_quietly(redirection, ended):
    process = ended(redirection, "shapes", "--backends", "torch")
    assert process.stderr == ""
    assert process.returncode == 0


@pytest.mark.parametrize("redirection", [UNREAD, "<&- >&- 2>&-", pytest.param(">/dev/full", marks=needs_full)])
def test_help_ends_without_a_trace(redirection, ended):
    process = ended(redirection, "train", "--help")
    assert "Traceback" not in process.stderr
    assert process.returncode == 0


@pytest.mark.parametrize("redirection", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_an_error_keeps_its_exit_status(redirection, ended):
    assert ended(redirection, "train", "--backend", "caffe").returncode == 2


def test_without_standard_error_nothing_is_printed_to_the_files_of_a_run(ended, quick, tmp_path):
    """Without care, the next file that is opened becomes descriptor 2, and a message for the user lands in it."""
    out = tmp_path / "run"
    assert ended("<&- >&- 2>&-", "train", *quick, "--out", str(out)).returncode == 0
    process = ended("<&- >&- 2>&-", "train", "--resume", "--epochs", "2", "--out", str(out))
    assert process.returncode == 0
    assert load_run(out).epochs_done == 2


def test_a_child_process_gets_the_three_descriptors():
    """Otherwise a child's first file becomes its standard output."""
    code = (
        "import os, subprocess, sys\n"
        "from lenet_multi.system.command import run_command\n"
        "def command(_):\n"
        "    check = 'import os; [os.fstat(number) for number in range(3)]'\n"
        "    return subprocess.run([sys.executable, '-c', check]).returncode\n"
        "sys.exit(run_command(command))\n"
    )
    assert subprocess.run(shell("<&- >&- 2>&-", "-c", code), timeout=PATIENCE).returncode == 0


def test_a_name_that_is_not_utf8_is_printed(ended, tmp_path):
    """A stream that refuses what it cannot encode must not end the command."""
    process = ended("", "evaluate", "--weights", os.fsdecode(bytes(tmp_path) + b"/w\xff"), PYTHONIOENCODING="utf-8")
    assert process.stderr.startswith("error: weights file ")
    assert process.returncode == 2


def test_output_that_an_encoding_lacks_is_escaped(ended, small_folder, tmp_path):
    code = (
        "from lenet_multi.system.command import run_command\n"
        "raise SystemExit(run_command(lambda _: print('5 \\u00d7 5 \\udcff')))\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (process.returncode, process.stdout) == (0, "5 \\xd7 5 \\udcff\n"), process.stderr


def test_the_streams_of_a_program_that_calls_a_command_stay_its_own():
    code = (
        "import sys\n"
        "from lenet_multi.system.command import run_command\n"
        "before = sys.stdout, sys.stderr\n"
        "run_command(lambda _: print('one'))\n"
        "print('two')\n"
        "sys.exit(before != (sys.stdout, sys.stderr))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, "one\ntwo\n"), process.stderr


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "9" * 30, "\u0663", "999999999"])
def test_a_wrong_descriptor_of_a_parent_is_no_error(value, ended):
    """As where a program passes its environment on to processes, but not its files."""
    process = ended("", "train", "--help", **{PARENT_PIPE: value})
    assert (process.returncode, process.stderr) == (0, "")


def test_a_program_without_standard_error_runs_other_programs():
    code = (
        "import sys\n"
        "from lenet_multi.system.child_processes import run_in_process\n"
        "assert run_in_process([sys.executable, '-c', 'print(1)']) is None\n"
        "assert run_in_process([sys.executable, '-c', 'raise SystemExit(3)']) == 'exit status 3'\n"
    )
    process = subprocess.run(shell("2>&-", "-c", code), timeout=PATIENCE, capture_output=True)
    assert (process.returncode, process.stdout) == (0, b"")


def test_a_note_is_not_printed_to_standard_output_for_want_of_standard_error():
    code = "from lenet_multi.fast import note_no_fast_loop; note_no_fast_loop('PyTorch')"
    process = subprocess.run(shell("2>&-", "-c", code), timeout=PATIENCE, capture_output=True)
    assert (process.returncode, process.stdout) == (0, b"")


@pytest.mark.parametrize("name", INSTALLED)
def test_a_backend_loads_in_a_program_without_standard_error(name):
    code = f"from lenet_multi import load_backend; load_backend({name!r})"
    assert subprocess.run(shell("2>&-", "-c", code), timeout=PATIENCE).returncode == 0
