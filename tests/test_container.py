"""Containerfile and devcontainer.json. No container engine runs here: a linter reads the one, this file the other."""

import json
import re
import subprocess
import sys
from pathlib import Path

from lenet_multi.backends import BACKENDS

ROOT = Path(__file__).parent.parent


def lint(containerfile: Path) -> subprocess.CompletedProcess:
    return subprocess.run([Path(sys.executable).parent / "hadolint", containerfile], capture_output=True, text=True)


def test_the_containerfile_has_no_lint():
    done = lint(ROOT / "Containerfile")
    assert done.returncode == 0, done.stdout


def test_the_linter_finds_a_mistake(tmp_path):
    text = (ROOT / "Containerfile").read_text().replace("--yes ", "")
    (tmp_path / "Containerfile").write_text(text)
    assert "DL3014" in lint(tmp_path / "Containerfile").stdout


def test_the_container_has_a_python_that_all_frameworks_support():
    (version,) = re.findall(r"^FROM .*/python:([\d.]+)-", (ROOT / "Containerfile").read_text(), flags=re.M)
    pins = (ROOT / "constraints" / f"{version}.txt").read_text()
    assert all(f"\n{package}==" in pins for package in BACKENDS)


def test_the_development_container_is_a_stage_of_the_containerfile():
    described = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    build = described["build"]
    containerfile = (ROOT / ".devcontainer" / build["dockerfile"]).resolve()
    assert containerfile == ROOT / "Containerfile"
    assert f" AS {build['target']}\n" in containerfile.read_text()
    assert described["remoteUser"] in re.findall(r"useradd .* (\w+)$", containerfile.read_text(), flags=re.M)
    assert described["postCreateCommand"].split() == ["scripts/setup", "test"]
