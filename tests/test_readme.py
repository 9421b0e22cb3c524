"""The commands, the Python example and the links in README.md work."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs_two, subset, with_installed
from PIL import Image

import lenet_multi
from lenet_multi import (
    activations,
    compare,
    diagram,
    evaluate,
    export,
    launch,
    parity,
    playground,
    predict,
    shapes,
    train,
)

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_python_examples_run_in_the_order_shown(fashion_mnist, monkeypatch, capsys):
    monkeypatch.setattr(lenet_multi, "load_dataset", lambda name: subset(fashion_mnist, 1000, 500), raising=False)
    example, early_stopping = blocks("python")
    names: dict[str, Any] = {}
    exec(with_installed(example), names)
    assert "Point(epoch=2.0" in capsys.readouterr().out
    exec(early_stopping, names)
    assert 3 < names["recorder"].epochs_done == len(names["test_accs"]) < 50
    assert max(names["test_accs"][-3:]) <= max(names["test_accs"][:-3])


COMMANDS = [
    shlex.split(with_installed(line), comments=True)
    for block in blocks("sh")
    for line in block.splitlines()
    if "python" in line
]


@needs_two
def test_the_commands_run_in_the_order_shown(small_folder, tmp_path, monkeypatch):
    """With a small data set."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save("boot.jpg")
    mains = {
        "lenet_multi.train": train.main,
        "lenet_multi.launch": launch.main,
        "lenet_multi.evaluate": evaluate.main,
        "lenet_multi.shapes": shapes.main,
        "lenet_multi.compare": compare.main,
        "lenet_multi.activations": activations.main,
        "lenet_multi.diagram": diagram.main,
        "lenet_multi.export": export.main,
        "lenet_multi.playground": playground.main,
        "lenet_multi.predict": predict.main,
    }
    assert len(COMMANDS) == 18
    for _python, _m, module, *arguments in COMMANDS:
        if module == "lenet_multi.parity":  # tests/test_parity_checks.py runs the checks
            parity.parser().parse_args(arguments)
            continue
        arguments = [
            "2,4" if argument == "pullover,coat" else argument for argument in arguments
        ]  # this data set has no class names
        small = {
            "lenet_multi.train": ["--dataset", str(small_folder), "--batch-size", "32"],
            "lenet_multi.launch": ["--dataset", str(small_folder), "--batch-size", "32"],
            "lenet_multi.compare": ["--dataset", str(small_folder), "--batch-size", "32"],
            "lenet_multi.activations": ["--dataset", str(small_folder)],
            "lenet_multi.playground": ["--dataset", str(small_folder)],
        }.get(module, [])
        assert mains[module]([*arguments, *([] if "--resume" in arguments else small)]) == 0


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_somewhere(link):
    path, _, section = link.partition("#")
    target = Path(__file__).parent.parent / path
    assert target.exists()
    if section:
        titles = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.M)
        assert section in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
