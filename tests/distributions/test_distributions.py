"""The wheel, the sdist and `pip install` from git: what they contain, and that every command runs from them.

scripts/package-test runs this: each installs into an empty environment, which takes a few minutes.
"""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import write_folder

from lenet_multi.__main__ import COMMANDS
from lenet_multi.backends import BACKENDS

ROOT = Path(__file__).parent.parent.parent
CONSTRAINTS = ROOT / "constraints" / f"{sys.version_info[0]}.{sys.version_info[1]}.txt"


@dataclass(frozen=True)
class Environment:
    """An environment with the package, and a folder outside the clone to run commands in."""

    bin: Path
    folder: Path

    def run(self, command: str) -> str:
        """Run a command; its standard output.

        Raises:
            AssertionError: if it fails.
        """
        program, *arguments = shlex.split(command)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [self.bin / program, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def distributions(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True)
    return folder


def install(folder: Path, requirement: str) -> Environment:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    environment = Environment(folder / "venv" / "bin", folder / "work")
    environment.folder.mkdir()
    environment.run(shlex.join(["python", "-m", "pip", "install", "--constraint", str(CONSTRAINTS), requirement]))
    return environment


@pytest.fixture(scope="session", params=["*.whl", "*.tar.gz"], ids=["wheel", "sdist"])
def environment(request, distributions, tmp_path_factory) -> Environment:
    """Each distribution in an environment of its own, with PyTorch."""
    (distribution,) = distributions.glob(request.param)
    made = install(tmp_path_factory.mktemp("installed"), f"lenet-multi[torch] @ {distribution.as_uri()}")
    write_folder(made.folder / "data", 3200, 500)  # the parity checks need that many
    return made


def modules() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / "lenet_multi").rglob("*.py")}


TEMPLATES = {f"lenet_multi/exporting/templates/{name}.py.txt" for name in (*BACKENDS, "idx", "pictures")}
REPORT = {f"lenet_multi/comparison/report.{ending}" for ending in ("html.j2", "css.j2", "js")}
WEB = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "lenet_multi" / "interactive" / "web").rglob("*.*")
    if path.name != "deno.json"
}
EXPECTED = {"lenet_multi/py.typed"} | REPORT | TEMPLATES | WEB


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    (path,) = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
    package = {name for name in names if not re.match(r"lenet_multi-[\d.]+\.dist-info/", name)}
    assert package == modules() | EXPECTED
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_holds_the_package_and_what_describes_it(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    described = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert names == modules() | EXPECTED | described


def test_the_installed_package_is_the_one_that_is_imported(environment):
    path = environment.run("python -c 'import lenet_multi; print(lenet_multi.__file__)'").strip()
    assert Path(path).is_relative_to(environment.bin.parent)


QUICK = "--dataset data --batch-size 32 --epochs 1 --activation tanh"
RUNS = [
    f"train {QUICK} --lr 0.1 --out first",
    f"train {QUICK} --lr 0.1 --fast --out second",
    "train --resume --out first --epochs 2",
    f"launch --workers 2 -- train {QUICK} --lr 0.1 --out two",
    "evaluate --weights first --dataset data",
    "shapes",
    "parity --dataset data",
    f"compare {QUICK} --backends torch --vary lr=0.1,0.2 --out compared",
    "activations --weights first --dataset data --classes 2,4 --out maps.png",
    "predict --weights first --json predicted.json maps.png",
    "playground --weights first --dataset data --out play.html",
    "diagram --out lenet.svg",
    "export --weights first --format torch --out exported/lenet.pt2",
    "export --pooling max --format source --out program/lenet.py",
    "compare_port networks.py:net networks.py:net --shape 2,1,8,8 --json port.json",
]
NETWORKS = """import torch


def net():
    torch.manual_seed(0)
    return torch.nn.Conv2d(1, 2, 3)
"""
FILES = ["first/curves.png", "first/history.csv", "compared/report.html", "maps.png", "lenet.svg", "port.json"]
FILES += ["exported/lenet.pt2", "program/lenet.py", "program/requirements.txt", "predicted.json", "play.html"]


def test_every_command_runs_outside_the_clone(environment):
    (environment.folder / "networks.py").write_text(NETWORKS)
    for line in RUNS:
        environment.run(f"lenet-multi {line}")
    assert {line.split()[0] for line in RUNS} == set(COMMANDS)
    for file in FILES:
        assert (environment.folder / file).stat().st_size > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_module_too(environment, command):
    assert environment.run(f"python -m lenet_multi.{command} --help").startswith("usage: ")


def test_pip_installs_from_git(tmp_path):
    """Without a framework: the commands that need none run."""
    environment = install(tmp_path, f"git+{ROOT.as_uri()}")
    assert re.fullmatch(r"lenet-multi [\d.]+\n", environment.run("lenet-multi --version"))
    environment.run("lenet-multi diagram --out lenet.svg")
