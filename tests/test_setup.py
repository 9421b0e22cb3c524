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

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))
PROGRAMS = ["basename", "bash", "cat", "chmod", "cmp", "comm", "cut", "dirname", "env", "grep", "head", "ln", "mkdir"]
PROGRAMS += ["rm", "sed", "sort", "touch", "uname", "wc"]

# Stands in for Python {version}: tells its version, creates environments that are copies of itself, and notes what pip
# is asked to install.
PYTHON = """#!/bin/bash
case "$*" in
*version_info*) [[ "$*" == *"'{version}'"* ]] ;;
*platform*) echo "python3 is {version}.1" ;;
*"import ensurepip, venv"*) {has_venv} ;;
"-m venv --clear "*) mkdir -p "$4/bin" && cat "$0" >"$4/bin/python" && chmod +x "$4/bin/python" ;;
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
        for made in (self.clone / "scripts", self.bin, self.home):
            made.mkdir(parents=True)
        for program in PROGRAMS:
            (self.bin / program).symlink_to(shutil.which(program) or program)
        shutil.copy(ROOT / "scripts" / "setup", self.clone / "scripts")
        shutil.copytree(ROOT / "constraints", self.clone / "constraints")
        shutil.copy(ROOT / "pyproject.toml", self.clone)

    def add_program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def add_python(self, version: str, path: str = "", has_venv: bool = True, pip: str = "true") -> None:
        text = PYTHON.format(version=version, has_venv=str(has_venv).lower(), log=self.log, pip=pip)
        self.add_program(self.bin / (path or f"python{version}"), text)

    def setup(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {"PATH": str(self.bin), "HOME": str(self.home), **variables}
        command = ["bash", str(self.clone / "scripts" / "setup"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

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


@pytest.mark.parametrize(("extra", "version"), [("torch", "3.14"), ("tensorflow", "3.13"), ("mxnet", "3.12")])
def test_a_backend_gets_the_newest_python_that_it_supports(machine, extra, version):
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
    ("version", "left_out"), [("3.12", []), ("3.13", ["mxnet"]), ("3.14", ["mxnet", "tensorflow"])]
)
def test_what_the_tests_leave_out_is_said_on_every_call(machine, version, left_out):
    machine.add_python(version)
    for _ in range(2):
        said = re.findall(rf"left out: (\w+) does not support Python {version}", machine.setup("test").stderr)
        assert said == left_out


@pytest.mark.parametrize("name", ["python3", "python", "../home/.pyenv/versions/3.12.7/bin/python"])
def test_a_python_is_found_under_each_of_its_names(machine, name):
    machine.add_python("3.12", path=name)
    assert machine.chosen("torch") == "3.12"


def test_an_environment_is_made_once_for_each_python(machine):
    machine.add_python("3.12")
    machine.add_python("3.13")
    for _ in range(2):
        assert machine.chosen("torch") == "3.13"
        assert machine.chosen("tensorflow") == "3.13"
        assert machine.chosen("mxnet") == "3.12"
    assert re.findall(r"\[(\w+)\]$", machine.log.read_text(), flags=re.M) == ["torch", "tensorflow", "mxnet"]


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
    shutil.rmtree(machine.clone / ".venv-3.13")
    machine.add_python("3.13")
    assert machine.chosen("torch") == "3.13"


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


def test_a_folder_named_venv_is_left_alone(machine):
    (machine.clone / ".venv").mkdir()
    machine.add_python("3.13")
    machine.chosen("all")
    assert list((machine.clone / ".venv").iterdir()) == []


def test_a_version_can_be_chosen(machine):
    machine.add_python("3.11")
    machine.add_python("3.13")
    assert machine.chosen("torch", LENET_MULTI_PYTHON="3.11") == "3.11"


def test_a_version_that_the_backend_does_not_support_cannot_be_chosen(machine):
    machine.add_python("3.13")
    assert machine.error("mxnet", LENET_MULTI_PYTHON="3.13") == (
        "error: the mxnet backend needs Python 3.12 or 3.11: LENET_MULTI_PYTHON is '3.13'"
    )


@pytest.mark.parametrize("there", ["3.10", "3.15"])
def test_a_python_that_is_too_old_or_too_new_is_an_error(machine, there):
    machine.add_python(there, path="python3")
    assert machine.error("torch") == (
        "error: the torch backend needs Python 3.14 or 3.13 or 3.12 or 3.11, and none was found "
        f"(python3 is {there}.1): install one, for example with pyenv, or install uv, which downloads one"
    )


def test_no_python_at_all_is_an_error(machine):
    assert "(no python3 is there)" in machine.error("mxnet")


def test_the_documentation_needs_all_frameworks(machine):
    machine.add_python("3.13")
    assert "needs Python 3.12 or 3.11" in machine.error("docs")


def test_a_python_without_venv_is_named_with_the_package_to_install(machine):
    machine.add_python("3.13", has_venv=False)
    error = machine.error("torch")
    assert f"{machine.bin}/python3.13 lacks the module venv" in error
    assert "sudo apt install python3.13-venv" in error


def test_another_python_takes_the_place_of_one_without_venv(machine):
    machine.add_python("3.13", has_venv=False)
    machine.add_python("3.11")
    assert machine.chosen("torch") == "3.11"


def test_an_unknown_extra_is_an_error(machine):
    assert "unknown extra 'jax': choose one of torch" in machine.error("jax")


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
        "error: the mxnet backend needs Python 3.12 or 3.11, and none was found"
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
                       "Provides-Extra: torch\\nRequires-Dist: torch>=2; extra == 'torch'\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

def build_wheel(*args):
    raise NotImplementedError
"""


@pytest.fixture
def index(tmp_path) -> Iterator[str]:
    """A web server with two package indexes: /pypi with PyTorch's usual build, and /cpu with its CPU build."""
    write_wheel(tmp_path / "web" / "pypi" / "torch", "torch", "2.13.0")
    write_wheel(tmp_path / "web" / "cpu" / "torch", "torch", "2.13.0+cpu")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def installed_torch(machine: Machine, **variables: str) -> str:
    """The version of PyTorch that a real Python installs."""
    (machine.clone / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "lenet-multi"\n'
    )
    (machine.clone / "backend.py").write_text(BUILD_BACKEND)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (machine.bin / f"python{version}").symlink_to(Path(sys.base_prefix) / "bin" / f"python{version}")
    nothing_else = {"PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", "LENET_MULTI_PYTHON": version}
    done = machine.setup("torch", **variables, **nothing_else)
    assert done.returncode == 0, done.stderr
    (info,) = (machine.clone / f".venv-{version}").glob("lib/python*/site-packages/torch-*.dist-info")
    return info.name.removeprefix("torch-").removesuffix(".dist-info")


def test_without_a_gpu_the_cpu_build_of_pytorch_is_installed(machine, index):
    assert (
        installed_torch(machine, PIP_INDEX_URL=f"{index}/pypi", LENET_MULTI_PYTORCH_INDEX=f"{index}/cpu")
        == "2.13.0+cpu"
    )


def test_with_a_gpu_the_usual_build_of_pytorch_is_installed(machine, index):
    machine.add_program(machine.bin / "nvidia-smi", "#!/bin/bash\necho GPU 0\n")
    assert installed_torch(machine, PIP_INDEX_URL=f"{index}/pypi", LENET_MULTI_PYTORCH_INDEX=f"{index}/cpu") == "2.13.0"


def test_where_the_index_of_cpu_builds_does_not_answer_pypi_is_used(machine, index):
    done = installed_torch(machine, PIP_INDEX_URL=f"{index}/pypi", LENET_MULTI_PYTORCH_INDEX=f"{index}/nowhere")
    assert done == "2.13.0"


# The constraints.


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_the_constraints_pin_every_requirement(path):
    """Each requirement that applies to this Python is pinned, at a version that it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(re.findall(r"^([^#=]+)==(.*)$", path.read_text(), flags=re.M))
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    environment = {"python_version": path.stem, "python_full_version": f"{path.stem}.0", "extra": ""}
    for requirement in map(Requirement, texts):
        name = canonicalize_name(requirement.name)
        if name == "lenet-multi" or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        assert name in pins, f"{path.name} does not pin {name}: run scripts/lock"
        assert requirement.specifier.contains(pins[name]), f"{path.name}: {name} {pins[name]}: run scripts/lock"


def test_the_bash_scripts_have_no_lint():
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    bash = [path for path in scripts if path.read_text().startswith("#!/usr/bin/env bash")] + [ROOT / ".ci" / "run"]
    assert len(bash) > 5
    shellcheck = Path(sys.executable).parent / "shellcheck"
    subprocess.run([shellcheck, *bash], check=True)
