"""scripts/setup: which Python and which PyTorch it chooses, and what it says when there is none.

The first tests run it with programs that stand in for Python and uv. The last ones install for real, from a package
index on this machine.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import UNKNOWN_BACKEND
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lenet_multi.architecture import PRESETS
from lenet_multi.backends import ALIASES, BACKENDS, NEWEST_PYTHON
from lenet_multi.runs.checkpoint import Run, save_checkpoint
from lenet_multi.training.settings import Settings

ROOT = Path(__file__).parent.parent
CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))


def pins(path: Path) -> dict[str, str]:
    """The version of each package in a constraints file."""
    return dict(re.findall(r"^([^#=]+)==(.*)$", path.read_text(), flags=re.M))


TORCH = pins(CONSTRAINTS[0])["torch"]
PROGRAMS = ["basename", "bash", "cat", "chmod", "cmp", "comm", "cut", "dirname", "env", "flock", "grep", "head", "ln"]
PROGRAMS += ["mkdir", "rm", "sed", "sort", "tail", "tr", "uname"]

# Stands in for Python {version}: tells its version, creates environments that are copies of itself, and notes what pip
# is asked to install.
PYTHON = """#!/bin/bash
case "$*" in
*version_info*) [[ "$*" == *"'{version}'"* ]] ;;
*platform*) echo "python3 is {version}.1" ;;
*"import ensurepip, venv"*) {has_venv} ;;
"-m venv --clear "*)
    {venv} && rm -rf "$4" && mkdir "$4" "$4/bin" && cat "$0" >"$4/bin/python" && chmod +x "$4/bin/python"
    ;;
"-m pip --version") ;;
"-m pip install "*) echo "$*" >>"{log}" ; {pip} ;;
*urlopen*) false ;;
esac
"""


class Machine:
    """A clone on a machine that has just the programs that the test puts there."""

    def __init__(self, folder: Path):
        self.clone = folder / "clone"
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.log = folder / "pip.log"
        for made in (self.bin, self.home):
            made.mkdir(parents=True)
        for program in PROGRAMS:
            (self.bin / program).symlink_to(shutil.which(program) or program)
        files = ["scripts/setup", "scripts/pytorch-index", "scripts/train", "pyproject.toml"]
        for file in (*files, "lenet_multi/backends/__init__.py"):
            (self.clone / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, self.clone / file)
        shutil.copytree(ROOT / "constraints", self.clone / "constraints")

    def add_program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def add_python(self, version: str, path: str = "", **results: str) -> None:
        """Add a Python; `results` has `true` or `false` for what succeeds: `has_venv`, `venv` and `pip`."""
        text = PYTHON.format(
            version=version, log=self.log, **{"has_venv": "true", "venv": "true", "pip": "true"} | results
        )
        self.add_program(self.bin / (path or f"python{version}"), text)

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {"PATH": str(self.bin), "HOME": str(self.home), **variables}
        command = ["bash", str(self.clone / "scripts" / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def setup(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return self.run("setup", *arguments, **variables)

    def chosen(self, *arguments: str, **variables: str) -> str:
        """The Python version of the environment that is set up."""
        done = self.setup(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        found = re.fullmatch(rf"{self.clone}/\.venv-(3\.\d+)/bin/python\n", done.stdout)
        assert found, done.stdout
        return found[1]

    def error(self, *arguments: str, **variables: str) -> str:
        """The one line of an error."""
        done = self.setup(*arguments, **variables)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"error: .*\n", done.stderr), done.stderr
        return done.stderr.strip()


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("extra", BACKENDS)
def test_a_backend_gets_the_newest_python_that_it_supports(machine, extra):
    version = "{}.{}".format(*NEWEST_PYTHON.get(extra, (3, 14)))
    for there in ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15"):
        machine.add_python(there)
    assert machine.chosen(extra) == version
    assert f"{machine.clone}[{extra}]" in machine.log.read_text()
    assert f"--constraint {machine.clone}/constraints/{version}.txt" in machine.log.read_text()


@pytest.mark.parametrize(
    ("there", "version"), [(["3.11", "3.13"], "3.11"), (["3.11", "3.12"], "3.12"), (["3.13", "3.14"], "3.13")]
)
def test_the_tests_get_the_python_that_most_frameworks_support(machine, there, version):
    for python in there:
        machine.add_python(python)
    assert machine.chosen("test") == version


@pytest.mark.parametrize(
    ("version", "left_out"), [("3.12", []), ("3.13", ["mxnet"]), ("3.14", ["tensorflow", "mxnet"])]
)
def test_what_the_tests_leave_out_is_said_on_every_call(machine, version, left_out):
    machine.add_python(version)
    for _ in range(2):
        messages = machine.setup("test").stderr
        assert re.findall(rf"left out: (\w+) supports Python 3.11 .+ 3.1\d, not {version}", messages) == left_out


@pytest.mark.parametrize("name", ["python3", "python", "../home/.pyenv/versions/3.12.7/bin/python"])
def test_a_python_is_found_under_each_of_its_names(machine, name):
    machine.add_python("3.12", path=name)
    assert machine.chosen("torch") == "3.12"


def test_an_environment_is_made_once_for_each_python(machine):
    machine.add_python("3.12")
    machine.add_python("3.13")
    for _ in range(2):
        for name in BACKENDS:
            assert machine.chosen(name) == ("3.12" if name == "mxnet" else "3.13")
    assert re.findall(r"\[(\w+)\]$", machine.log.read_text(), flags=re.M) == list(BACKENDS)


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints/3.13.txt"])
def test_changed_requirements_are_installed(machine, changed):
    machine.add_python("3.13")
    machine.chosen("torch")
    with (machine.clone / changed).open("a") as file:
        file.write("# changed\n")
    machine.chosen("torch")
    assert len(machine.log.read_text().splitlines()) == 2


def test_an_install_that_failed_is_tried_again(machine):
    machine.add_python("3.13", pip="false")
    done = machine.setup("torch")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: cannot install lenet-multi[torch]")
    machine.add_python("3.13", path=str(machine.clone / ".venv-3.13" / "bin" / "python"))
    assert machine.chosen("torch") == "3.13"
    assert len(machine.log.read_text().splitlines()) == 2


def test_an_environment_that_cannot_be_created_is_an_error(machine):
    machine.add_python("3.13", venv="false")
    done = machine.setup("torch")
    assert done.returncode == 2
    assert "error: cannot create" in done.stderr


def test_the_environment_of_the_tests_is_ready_for_every_backend(machine):
    machine.add_python("3.12")
    machine.chosen("test")
    for extra in (*BACKENDS, "all"):
        machine.chosen(extra)
    assert len(machine.log.read_text().splitlines()) == 1


def test_a_better_python_takes_the_place_of_an_environment_that_is_ready(machine):
    machine.add_python("3.13")
    assert machine.chosen("test") == "3.13"
    machine.add_python("3.12")
    assert machine.chosen("test") == "3.12"


def test_an_environment_whose_python_is_no_longer_found_is_kept(machine):
    machine.add_python("3.12")
    machine.chosen("torch")
    (machine.bin / "python3.12").unlink()
    assert machine.chosen("torch") == "3.12"
    assert machine.chosen("tensorflow") == "3.12"


def test_a_moved_clone_gets_a_new_environment(machine):
    machine.add_python("3.13")
    machine.chosen("torch")
    old = machine.clone / ".venv-3.13" / "old"
    old.touch()
    machine.clone = machine.clone.rename(machine.clone.with_name("moved"))
    machine.add_python("3.13")
    machine.chosen("torch")
    assert not (machine.clone / ".venv-3.13" / "old").exists()


def test_the_link_leads_to_the_environment_for_all_frameworks(machine):
    link = machine.clone / ".venv"
    machine.add_python("3.12")
    machine.add_python("3.13")
    machine.chosen("torch")
    assert link.readlink() == Path(".venv-3.13")
    machine.chosen("test")
    assert link.readlink() == Path(".venv-3.12")
    machine.chosen("torch")
    assert link.readlink() == Path(".venv-3.12")


def test_a_folder_named_venv_is_left_alone_and_the_user_told(machine):
    (machine.clone / ".venv").mkdir()
    machine.add_python("3.13")
    done = machine.setup("all")
    assert list((machine.clone / ".venv").iterdir()) == []
    assert f". {machine.clone}/.venv-3.13/bin/activate" in done.stderr


def test_an_environment_of_an_earlier_version_makes_way_for_the_link(machine):
    (machine.clone / ".venv").mkdir()
    (machine.clone / ".venv" / ".installed-test").touch()
    machine.add_python("3.13")
    machine.chosen("torch")
    assert (machine.clone / ".venv").readlink() == Path(".venv-3.13")


def test_a_version_can_be_chosen(machine):
    machine.add_python("3.11")
    machine.add_python("3.13")
    assert machine.chosen("torch", LENET_MULTI_PYTHON="3.11") == "3.11"


def test_a_version_that_the_backend_does_not_support_cannot_be_chosen(machine):
    machine.add_python("3.13")
    assert machine.error("mxnet", LENET_MULTI_PYTHON="3.13") == (
        "error: LENET_MULTI_PYTHON is '3.13', but the mxnet backend needs Python 3.11 or 3.12: give one of these "
        "versions, as in LENET_MULTI_PYTHON=3.12"
    )


def test_a_version_that_is_chosen_and_not_found_is_an_error(machine):
    machine.add_python("3.11", path="python3")
    assert machine.error("torch", LENET_MULTI_PYTHON="3.14") == (
        "error: LENET_MULTI_PYTHON is 3.14, but no such Python was found (python3 is 3.11.1): install it, or unset the "
        "variable"
    )


@pytest.mark.parametrize("there", ["3.10", "3.15"])
def test_a_python_that_is_too_old_or_too_new_is_an_error(machine, there):
    machine.add_python(there, path="python3")
    assert machine.error("torch") == (
        "error: the torch backend needs Python 3.11 to 3.14, and none was found "
        f"(python3 is {there}.1): install one, for example with pyenv, or install uv, which downloads one"
    )


def test_no_python_at_all_is_an_error(machine):
    assert "(there is no python3)" in machine.error("mxnet")


def test_the_documentation_needs_all_frameworks(machine):
    machine.add_python("3.13")
    assert "needs Python 3.11 or 3.12" in machine.error("docs")


def test_a_python_without_venv_is_named_with_the_package_to_install(machine):
    machine.add_python("3.13", has_venv="false")
    error = machine.error("torch")
    assert "the torch backend needs Python 3.11 to 3.14 with the module venv" in error
    assert f"install it for {machine.bin}/python3.13 (on Debian and Ubuntu: sudo apt install python3.13-venv)" in error


def test_another_python_takes_the_place_of_one_without_venv(machine):
    machine.add_python("3.13", has_venv="false")
    machine.add_python("3.11")
    assert machine.chosen("torch") == "3.11"


@pytest.mark.parametrize(("backend", "version"), [("torch", "3.13"), ("mxnet", "3.12")])
def test_a_resumed_run_gets_the_environment_of_its_backend(machine, backend, version):
    machine.add_python("3.12")
    machine.add_python("3.13")
    architecture = PRESETS["lenet5"]
    settings = Settings("synthetic", "", 10, 10, 1, 2, 0.1, seed=0)
    parameters = {name: np.zeros(shape, np.float32) for name, shape in architecture.parameter_shapes.items()}
    save_checkpoint(machine.clone, Run(architecture, settings, backend, "plain"), parameters)
    done = machine.run("train", "--resume", "--out", str(machine.clone))
    assert done.returncode == 0, done.stderr
    assert f"constraints/{version}.txt" in machine.log.read_text()
    assert f"[{backend}]" in machine.log.read_text()


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_gets_the_environment_of_its_backend(machine, name):
    machine.add_python("3.12")
    assert machine.run("train", "--backend", name).returncode == 0
    assert f"[{ALIASES[name]}]" in machine.log.read_text()


def test_an_unknown_backend_is_the_error_that_train_gives(machine):
    done = machine.run("train", "--backend=caffe")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {UNKNOWN_BACKEND}\n")


def test_a_backend_option_without_a_value_installs_nothing(machine):
    done = machine.run("train", "--epochs=1", "--backend")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --backend needs a value, as in --backend torch\n"


def test_help_of_an_installed_package_is_that_of_the_command(machine):
    program = machine.clone / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    machine.add_program(program, '#!/bin/bash\necho "called with $*"\n')
    done = machine.run("train", "--help")
    assert (done.returncode, done.stdout) == (0, "called with -m lenet_multi.train --help\n")


def test_an_unknown_extra_is_an_error(machine):
    assert "'caffe' is not an extra of the package: choose one of torch" in machine.error("caffe")


@pytest.mark.parametrize("script", ["setup", "train"])
def test_help_installs_nothing(machine, script):
    shutil.copy(ROOT / "scripts" / "train", machine.clone / "scripts")
    command = ["bash", str(machine.clone / "scripts" / script), "--help"]
    done = subprocess.run(
        command, env={"PATH": str(machine.bin), "HOME": str(machine.home)}, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert f"usage: scripts/{script}" in done.stdout
    assert done.stderr == ""


UV = """#!/bin/bash
managed="{home}/uv-python"
case "$*" in
"python find --managed-python"*) [ -x "$managed" ] && echo "$managed" ;;
"python install --no-bin "*) echo "downloading ${{@: -1}}" >&2 ; {install} ;;
esac
"""


def test_uv_downloads_a_python_where_there_is_none(machine):
    machine.add_python("3.12", path="../ready")
    machine.add_program(
        machine.bin / "uv", UV.format(home=machine.home, install=f'ln -s {machine.bin}/../ready "$managed"')
    )
    done = machine.setup("mxnet")
    assert "downloading 3.12" in done.stderr
    assert machine.chosen("mxnet") == "3.12"


def test_uv_downloads_nothing_where_a_python_is_there(machine):
    machine.add_python("3.11")
    machine.add_program(machine.bin / "uv", UV.format(home=machine.home, install="exit 1"))
    done = machine.setup("mxnet")
    assert done.returncode == 0
    assert "downloading" not in done.stderr


def test_a_download_that_fails_is_an_error(machine):
    machine.add_program(machine.bin / "uv", UV.format(home=machine.home, install="exit 1"))
    done = machine.setup("mxnet")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: the mxnet backend needs Python 3.11 or 3.12, and uv could not download it"
    )


# The rest installs for real.


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel with one module that is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


# Builds the package from itself, without anything from an index.
BUILD_BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "lenet_multi-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        info = "lenet_multi-1.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: lenet-multi\\nVersion: 1\\n"
                       "Provides-Extra: torch\\nRequires-Dist: torch>=2; extra == 'torch'\\n"
                       "Provides-Extra: all\\nRequires-Dist: torch>=2; extra == 'all'\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

def build_wheel(*args):
    raise NotImplementedError
"""


@pytest.fixture
def index(tmp_path) -> Iterator[str]:
    """A web server with two package indexes: /pypi with PyTorch's usual build, and /cpu with its CPU build."""
    write_wheel(tmp_path / "web" / "pypi" / "torch", "torch", TORCH)
    write_wheel(tmp_path / "web" / "cpu" / "torch", "torch", f"{TORCH}+cpu")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def installed_torch(machine: Machine, extra: str = "torch", **variables: str) -> str:
    """The version of PyTorch that a real Python installs."""
    (machine.clone / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "lenet-multi"\n[project.optional-dependencies]\nall = ["lenet-multi[torch]"]\n'
    )
    (machine.clone / "backend.py").write_text(BUILD_BACKEND)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (machine.bin / f"python{version}").symlink_to(Path(sys.base_prefix) / "bin" / f"python{version}")
    nothing_else = {"PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", "LENET_MULTI_PYTHON": version}
    done = machine.setup(extra, **variables, **nothing_else)
    assert done.returncode == 0, done.stderr
    (info,) = (machine.clone / f".venv-{version}").glob("lib/python*/site-packages/torch-*.dist-info")
    return info.name.removeprefix("torch-").removesuffix(".dist-info")


@pytest.mark.parametrize("extra", ["torch", "all"])
def test_without_a_gpu_the_cpu_build_of_pytorch_is_installed(machine, index, extra):
    variables = {"PIP_INDEX_URL": f"{index}/pypi", "LENET_MULTI_PYTORCH_INDEX": f"{index}/cpu"}
    assert installed_torch(machine, extra, **variables) == f"{TORCH}+cpu"


def test_with_a_gpu_the_usual_build_of_pytorch_is_installed(machine, index):
    machine.add_program(machine.bin / "nvidia-smi", "#!/bin/bash\necho GPU 0\n")
    variables = {"PIP_INDEX_URL": f"{index}/pypi", "LENET_MULTI_PYTORCH_INDEX": f"{index}/cpu"}
    assert installed_torch(machine, **variables) == TORCH


def test_where_the_index_of_cpu_builds_does_not_answer_pypi_is_used(machine, index):
    variables = {"PIP_INDEX_URL": f"{index}/pypi", "LENET_MULTI_PYTORCH_INDEX": f"{index}/nowhere"}
    assert installed_torch(machine, **variables) == TORCH


# The constraints.


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_the_constraints_pin_every_requirement(path):
    """Each requirement that applies to this Python is pinned, at a version that it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins(path)
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    environment = {"python_version": path.stem, "python_full_version": f"{path.stem}.0", "extra": ""}
    for requirement in map(Requirement, texts):
        name = canonicalize_name(requirement.name)
        if name == "lenet-multi" or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        assert name in pinned, f"{path.name} does not pin {name}: run scripts/lock"
        assert requirement.specifier.contains(pinned[name]), f"{path.name}: {name} {pinned[name]}: run scripts/lock"


def test_the_bash_scripts_have_no_lint():
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    bash = [path for path in scripts if path.read_text().startswith("#!/usr/bin/env bash")] + [ROOT / ".ci" / "run"]
    assert len(bash) > 5
    shellcheck = Path(sys.executable).parent / "shellcheck"
    subprocess.run([shellcheck, *bash], check=True)
