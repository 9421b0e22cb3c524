"""Every command on the pages in docs/ runs here; their Python runs when the site is built."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.metadata import metadata
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED, needs_two, with_installed
from PIL import Image

from lenet_multi import __main__, compare, compare_port, export, parity
from lenet_multi.errors import UserError
from lenet_multi.exporting.exporter import FORMATS
from lenet_multi.runs.options import run_parser
from lenet_multi.system.machine import version_of
from lenet_multi.system.process import child_environment

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.is_relative_to(DOCS / "_build"))
EXECUTED_ELSEWHERE = {"ports.md"}  # tests/test_ports.py runs its examples


def blocks(page: Path, language: str) -> list[str]:
    """The content of a page's fenced blocks of this language, including those that a list indents."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(), flags=re.S | re.M)


def commands(page: Path) -> list[str]:
    """The commands of a page in order; one that spans several lines is joined."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if shlex.split(line, comments=True)]


@pytest.fixture
def somewhere(small_cache, tmp_path, monkeypatch) -> Path:
    """An empty working directory for the commands of a page, with the small data set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_cache))
    monkeypatch.delenv("LENET_MULTI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_module(module: str, arguments: list[str]) -> int:
    """Run a command of the package with few examples and, if it starts a run, one epoch."""
    if module == "lenet_multi.parity":  # tests/test_parity_checks.py runs the checks
        parity.parser().parse_args(arguments)
        return 0
    if "--address" in arguments:  # of a cluster: tests/test_sweeps.py starts one
        compare.parser().parse_args(arguments)
        return 0
    if "--engine" in arguments and version_of("ray") is None:
        compare.parser().parse_args(arguments)
        return 0
    if module == "lenet_multi.export":
        args = export.parser().parse_args(arguments)
        backend = FORMATS[args.format].backend if args.format in FORMATS else None
        if backend and backend not in INSTALLED:
            return 0
    for name in (name for name in arguments if name.endswith(".jpg") and not Path(name).exists()):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(name)
    if module == "lenet_multi.compare_port" and arguments[0].startswith("docs/"):  # a port with a mistake to find
        files = [str(ROOT / argument) for argument in arguments[:2]]
        return 0 if compare_port.main([*files, *arguments[2:]]) == compare_port.DIFFER_STATUS else 2
    if module == "lenet_multi.compare_port":
        for name in ("original.py", "port.py"):
            Path(name).write_text("import numpy as np\n\n\ndef net():\n    return np.tanh\n")
    small: list[str] = []
    if "animals" in arguments:
        for number in range(20):
            file = Path(arguments[arguments.index("animals")], "cat" if number < 10 else "dog", f"{number}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file)
        small = ["--batch-size", "4", "--epochs", "1"]
    elif module in ("lenet_multi.train", "lenet_multi.compare", "lenet_multi.launch") and "--resume" not in arguments:
        small = ["--dataset", "synthetic", "--batch-size", "32", "--epochs", "1"]
    elif "--dataset" in arguments:
        small = ["--dataset", "synthetic"]
    try:
        return import_module(module).main([*arguments, *small])
    except SystemExit as end:  # --help
        return int(end.code or 0)


def run_shown(line: str, monkeypatch) -> None:
    """Run a command as a reader would. Of a script that takes hours or installs packages, only check the syntax."""
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    match words:
        case ["python" | ".venv/bin/python", "-m", module, *arguments] if module.startswith("lenet_multi."):
            assert run_module(module, arguments) == 0, line
        case ["torchrun", *arguments]:  # of this environment, which may not be on the PATH
            small = ["--dataset", "synthetic", "--batch-size", "32"]
            command = [sys.executable, "-m", "torch.distributed.run", *arguments, *small]
            subprocess.run(command, check=True, env=child_environment())
        case ["lenet-multi", command, *arguments] if command in __main__.COMMANDS:
            assert run_module(f"lenet_multi.{command}", arguments) == 0, line
        case ["lenet-multi", *arguments]:
            assert __main__.main(arguments) == 0, line
        case [".venv/bin/python", script] | [script, *_] if script.startswith("scripts/"):
            assert os.access(ROOT / script, os.X_OK), line
            if script == "scripts/train":
                assert run_module("lenet_multi.train", words[1:]) == 0, line
            elif (ROOT / script).read_text().startswith("#!/usr/bin/env bash"):
                subprocess.run(["bash", "-n", ROOT / script], check=True)
            else:
                compile((ROOT / script).read_text(), script, "exec")
        case ["pip", "install", "-e", target] if found := re.fullmatch(r"\.\[(.+)\]", target):
            known = metadata("lenet-multi").get_all("Provides-Extra") or []
            assert set(found[1].split(",")) <= set(known), line
        case ["ssh", _host, remote, *_]:  # the last of the commands on the other machine
            subprocess.run(["bash", "-n", "-c", remote], check=True)
            last = shlex.split(remote.rpartition("&&")[2])
            while re.fullmatch(r"[A-Z_]+=\S*", last[0]):
                last.pop(0)
            assert last[:3] == ["python", "-m", "lenet_multi.train"], line
            run_parser("train", "").parse_args(last[3:])
        case ["sbatch", *arguments]:  # tests/test_cluster.py runs the scripts
            (at,) = (i for i, word in enumerate(arguments) if (ROOT / word).suffix == ".sh")
            assert (ROOT / arguments[at]).is_file(), line
            run_parser("train", "").parse_args(arguments[at + 1 :])
        case ["kubectl", "apply", "-f", manifest]:  # tests/test_cluster.py runs the pods
            assert (ROOT / manifest).is_file(), line
        case ["kubectl", "logs", "--follow", job]:
            assert f"name: {job.removeprefix('job/')}\n" in "".join(
                path.read_text() for path in (DOCS / "cluster").glob("*.yaml")
            )
        case ["tensorboard", "--logdir", folder]:
            assert any(Path(folder).glob("*/tensorboard/*tfevents*")), line
        case [".", ".venv/bin/activate"]:
            pass
        case _:
            pytest.fail(f"no test runs {line!r}: show a command that can be run, or add a case here")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[needs_two] if "--same-start" in page.read_text() else [])
        for page in PAGES
        if commands(page)
    ],
)
def test_the_commands_of_a_page_run_in_the_order_shown(page, somewhere, monkeypatch):
    for line in commands(page):
        run_shown(with_installed(line), monkeypatch)


@pytest.mark.parametrize(
    "line",
    [
        "python -m lenet_multi.train --epoch-count 3",
        "python -m lenet_multi.evaluate --weights missing.safetensors",
        "lenet-multi tran",
        "scripts/no-such-script",
        'pip install -e ".[caffe]"',
        "curl example.org",
        "ssh node1 'cd x && python -m lenet_multi.train --epoch-count 3'",
        "ssh node1 'cd x && rm -r runs'",
        "sbatch docs/cluster/no-such-script.sh",
        "sbatch docs/cluster/slurm_torch.sh --nodes 4",
        "kubectl apply -f docs/cluster/no-such-manifest.yaml",
        "kubectl logs --follow job/no-such-job",
    ],
)
def test_a_command_that_does_not_work_is_noticed(line, somewhere, monkeypatch):
    with pytest.raises((AssertionError, pytest.fail.Exception, UserError)):
        run_shown(line, monkeypatch)


def test_commands_in_lists_and_over_several_lines_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "1. So:\n\n   ```sh\n   one --a \\\n     --b\n   # a remark\n   two\n   ```\n\n```text\nthree\n```\n"
    )
    assert [line.split() for line in commands(page)] == [["one", "--a", "--b"], ["two"]]


def test_python_on_the_pages_is_run_when_the_site_is_built():
    shown = {str(page.relative_to(DOCS)) for page in PAGES if blocks(page, "python")}
    assert shown <= EXECUTED_ELSEWHERE, "use {code-cell} python3, which the build runs, instead of python"
