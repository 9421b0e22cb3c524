"""The package runs without what only POSIX systems or Linux have, and writes file names that Windows accepts.

The tests run on Linux. They hide from the package what Windows lacks, in processes of their own.
"""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import write_folder

from lenet_multi.backends import BACKENDS, installed_backends
from lenet_multi.comparison.folder import rename_old_folders
from lenet_multi.comparison.plan import Plan
from lenet_multi.comparison.vary import parse_vary
from lenet_multi.errors import UserError
from lenet_multi.runs.weights import load_weights, save_weights

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "lenet_multi").rglob("*.py"))
}
POSIX_ONLY = (
    *("_curses", "crypt", "curses", "fcntl", "grp", "nis", "ossaudiodev", "pty", "pwd", "readline", "resource"),
    *("spwd", "syslog", "termios", "tty"),
)
PATIENCE = 120  # seconds until a process that does not get anywhere fails the test

# Python imports `sitecustomize` when it starts, in the processes that a command starts too. The modules are hidden from
# everyone. The names in `os`, `signal`, `time` and `select` are hidden from the package only: Python's own modules and
# the frameworks choose by `sys.platform`, which stays `linux`, and then need them. For that reason `posix` and
# `_posixshmem` stay too.
HIDING = f"""
import builtins, io, os, select, signal, sys, time, types, warnings

for name in {POSIX_ONLY}:
    sys.modules[name] = None

def view(module, hidden, **replaced):
    seen = types.ModuleType(module.__name__)
    for name, value in vars(module).items():
        if name not in hidden.split():
            setattr(seen, name, value)
    for name, value in replaced.items():
        setattr(seen, name, value)
    return seen

def open_descriptor(path, *others):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return os.open(path, *others)

def select_sockets(*_):
    raise OSError(10038, "an operation was attempted on something that is not a socket")

VIEWS = {{
    "os": view(
        os,
        "chown chroot confstr ctermid fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs getegid geteuid "
        "getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid initgroups killpg lchown "
        "lockf memfd_create mkfifo mknod nice openpty pathconf posix_spawn posix_spawnp pread pwrite register_at_fork "
        "sched_getaffinity sched_setaffinity sendfile setpgid setpgrp setpriority setsid setuid statvfs sync sysconf "
        "sysconf_names tcgetpgrp ttyname uname wait wait3 wait4 waitid O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK "
        "WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG WTERMSIG",
        open=open_descriptor,
    ),
    "select": view(select, "epoll poll", select=select_sockets),
    "signal": view(
        signal,
        "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU "
        "SIGUSR1 SIGUSR2 SIGWINCH alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending "
        "sigwait",
    ),
    "time": view(
        time,
        "CLOCK_BOOTTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_REALTIME clock_getres clock_gettime tzset",
    ),
}}
original_import, original_open = builtins.__import__, io.open

def import_on_windows(name, globals=None, locals=None, fromlist=(), level=0):
    package = (globals or {{}}).get("__package__") or ""
    if name in VIEWS and package.split(".")[0] == "lenet_multi":
        return VIEWS[name]
    return original_import(name, globals, locals, fromlist, level)

def open_without_proc(file, *others, **named):
    if str(file).startswith("/proc/"):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return original_open(file, *others, **named)

builtins.__import__, builtins.open, io.open = import_on_windows, open_without_proc, open_without_proc
# A file that the package reads or writes in the default encoding, which depends on the platform, is an error.
warnings.filterwarnings("error", category=EncodingWarning, module="lenet_multi")
"""


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that lacks what Windows lacks, with ASCII instead of UTF-8 as its default."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(HIDING, encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONWARNDEFAULTENCODING": "1"}
    return {**os.environ, **ascii_only, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> list[str]:
    """Options of a run that takes a moment."""
    if not installed_backends():
        pytest.skip("needs a framework")
    folder = write_folder(tmp_path_factory.mktemp("data") / "small")
    network = ["--conv-channels", "2", "--dense-units", "12", "--activation", "tanh"]
    return ["--dataset", str(folder), *network, "--epochs", "1", "--batch-size", "32", "--device", "cpu"]


def ended(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=PATIENCE, encoding="utf-8"
    )


# Imports


def imported_at_the_top(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports outside functions, wherever: in `if`, `try` and classes too."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += ast.iter_child_nodes(node)


def test_no_file_imports_at_its_top_what_only_posix_has():
    """A function imports it, and says what happens without it."""
    found = {
        f"{module} imports {name}"
        for module, path in FILES.items()
        for name in imported_at_the_top(ast.parse(path.read_bytes()))
        if name in POSIX_ONLY
    }
    assert found == set()


@pytest.mark.parametrize(
    "code", ["import fcntl", "import os, fcntl as f", "from fcntl import flock", "try:\n    import fcntl\nfinally: 0"]
)
def test_an_import_at_the_top_is_found(code):
    """Known wrong imports, for the checker itself."""
    assert "fcntl" in imported_at_the_top(ast.parse(code))
    assert "fcntl" not in imported_at_the_top(ast.parse("def f():\n    import fcntl"))


PROGRAMS = "lenet_multi.exporting.loading."  # they run when they are imported

IMPORT_ALL = f"""
import importlib, pkgutil, sys
import lenet_multi
absent = sys.argv[1:]
for module in pkgutil.walk_packages(lenet_multi.__path__, "lenet_multi."):
    if module.name.startswith({PROGRAMS!r}):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as problem:
        if problem.name not in absent:
            raise
    else:
        print(module.name)
"""


def test_every_module_can_be_imported(windows):
    absent = [name for name in BACKENDS if name not in installed_backends()]
    absent += ["keras"] if "tensorflow" in absent else []
    process = ended(["-c", IMPORT_ALL, *absent], windows)
    assert process.returncode == 0, process.stderr
    left_out = {name for name in FILES if not name.startswith(PROGRAMS)} - {"lenet_multi", *process.stdout.split()}
    may_need_them = ("lenet_multi.backends.", "lenet_multi.distributed.", "lenet_multi.fast.") if absent else ()
    assert [module for module in left_out if not module.startswith(may_need_them)] == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import fcntl", "ModuleNotFoundError"),
        ("import os; os.sysconf", "AttributeError"),
        ("import signal; signal.SIGHUP", "AttributeError"),
        ("from time import CLOCK_BOOTTIME", "ImportError"),
        ("import os; os.open('.', 0)", "PermissionError"),
        ("from pathlib import Path; Path('/proc/self/stat').read_bytes()", "FileNotFoundError"),
        ("import select, sys; select.select([sys.stdin], [], [], 0)", "OSError"),
        ("from pathlib import Path; Path('file').write_text('')", "EncodingWarning"),
        ("print('\\u00d7')", "UnicodeEncodeError"),
    ],
)
def test_what_windows_lacks_is_hidden_from_the_package(code, told, windows, tmp_path):
    package = tmp_path / "lenet_multi"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "module.py").write_text(code, encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-c", "import lenet_multi.module"], env=windows, cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode != 0
    assert process.stderr.splitlines()[-1].startswith(told)


# Commands


def test_a_run_trains_and_writes_its_files(windows, quick, tmp_path):
    out = tmp_path / "run"
    command = ["-m", "lenet_multi.train", "--backend", installed_backends()[0], *quick, "--out", str(out)]
    process = ended(command, windows)
    assert process.returncode == 0, process.stderr
    assert re.match(r"loss \d\.\d{3}, train acc", process.stdout)
    assert {path.name for path in out.iterdir()} == {
        "curves.png",
        "history.csv",
        "model.safetensors",
        "summary.json",
    }
    summary = json.loads((out / "summary.json").read_bytes())
    assert summary["peak_rss_mb"] is None
    assert summary["startup_seconds"] > 0
    process = ended(["-m", "lenet_multi.train", "--resume", "--epochs", "2", "--out", str(out)], windows)
    assert process.returncode == 0, process.stderr


def test_a_comparison_trains_its_runs_and_writes_its_report(windows, quick, tmp_path):
    out = tmp_path / "out"
    backend = installed_backends()[0]
    command = ["-m", "lenet_multi.compare", "--backends", backend, *quick, "--vary", "lr=0.1,1.", "--out", str(out)]
    process = ended(command, windows)
    assert process.returncode == 0, process.stderr
    title, first, second, *others = process.stdout.splitlines()
    assert title.endswith("  peak memory")
    assert re.fullmatch(r"lr=0\.1 .* unknown", first)
    assert re.fullmatch(r"lr=1\. .* unknown", second)
    assert [line for line in others if re.search(r"with \d+ cores; Python 3", line)]  # the machine, without its memory
    assert {path.name for path in out.iterdir()} == {
        *("compare.json", "curves.png", "curves.svg", "report.html"),
        *("lr-0.1", "lr-1"),
    }
    assert [path for path in out.rglob("*") if not is_legal(path.name)] == []
    for name in ("compare.json", "curves.svg", "report.html", "lr-1/history.csv", "lr-1/summary.json"):
        assert b"\r" not in (out / name).read_bytes()


PARENT = """
import sys
from lenet_multi.system.child_processes import run_in_process
try:
    run_in_process([sys.executable, "-c", sys.argv[1]])
except KeyboardInterrupt:
    print("interrupted")
"""


def test_without_pseudo_terminals_a_command_writes_to_a_pipe(windows):
    import pty  # this test's own, for a terminal

    controller, terminal = pty.openpty()
    code = "import sys; print(sys.stderr.isatty(), sys.stdout.encoding, 'caf\\u00e9')"
    subprocess.run([sys.executable, "-c", PARENT, code], env=windows, stderr=terminal, timeout=PATIENCE, check=True)
    os.close(terminal)
    shown = os.read(controller, 4096).decode()
    os.close(controller)
    assert shown.split() == ["False", "utf-8", "caf\\xe9"]  # the parent's ASCII


def test_ctrl_c_lets_a_command_end_that_has_received_it_too(windows, tmp_path):
    """A console on Windows interrupts every process in it, and one process cannot interrupt another."""
    code = (
        "import pathlib, sys, time\n"
        "try:\n"
        f"    print('ready', flush=True); time.sleep({PATIENCE})\n"
        "except KeyboardInterrupt:\n"
        f"    time.sleep(0.3); pathlib.Path({str(tmp_path / 'saved')!r}).touch()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, code],
        env=windows,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert output == "interrupted\n", errors
    assert (tmp_path / "saved").exists()


def test_a_weights_file_is_closed_once_it_is_read(tmp_path):
    """Windows cannot replace a file that is open or mapped into memory, and a resumed run replaces its checkpoint."""
    path = tmp_path / "model.safetensors"
    save_weights(path, {"weight": np.zeros((300, 300), np.float32)}, {})
    parameters, _ = load_weights(path)
    assert "weight" in parameters
    assert path.name not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert path.resolve() not in [file.resolve() for file in Path("/proc/self/fd").iterdir()]


# File names


def is_legal(name: str) -> bool:
    """Whether Windows accepts the name of a file or folder."""
    device = re.fullmatch(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", name)
    return not re.search(r'[<>:"/\\|?*\x00-\x1f]|[. ]$', name) and not device and 0 < len(name) <= 255


@pytest.mark.parametrize("name", ["a:b", "a?", "a.", "a ", "NUL", "aux.txt", "a\\b", "a\tb", ""])
def test_a_name_that_windows_rejects_is_found(name):
    """Known wrong names, for the checker itself."""
    assert not is_legal(name)
    assert is_legal("lr-0.1")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("device", "gpu:0"),
        ("conv-channels", "6,16"),
        ("lr", "1."),
        ("weights", ".."),
        ("weights", "/"),
        ("weights", "C:\\runs\\a"),
        ("weights", 'a<b>c:d"e|f?g*h.safetensors'),
        ("weights", "runs/a. . ."),
        ("weights", "nul."),
        ("weights", "aux \tline\n"),
        ("weights", "caf\u00e9 \udcff"),
    ],
)
@pytest.mark.parametrize("backends", [["torch"], list(BACKENDS)])
def test_the_folder_of_a_run_has_a_legal_name(option, value, backends):
    folders = [spec.folder for spec in Plan(backends, [{option: [value]}], {}).specs]
    assert [folder for folder in folders if not is_legal(folder)] == []


def test_folders_that_differ_in_case_only_are_refused():
    """On macOS and Windows they are the same folder."""
    plan = Plan(["torch"], parse_vary([["weights=Runs/A,runs/a"]]), {})
    with pytest.raises(UserError, match="two runs would share the folder 'weights-Runs-A'"):
        _ = plan.specs


def test_a_folder_that_an_earlier_version_named_with_a_dot_at_its_end_is_found_again(tmp_path):
    (tmp_path / "lr-1.").mkdir()
    rename_old_folders(tmp_path, Plan(["torch"], parse_vary([["lr=1.,0.1"]]), {}))
    assert [path.name for path in tmp_path.iterdir()] == ["lr-1"]
