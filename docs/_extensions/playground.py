"""Makes the network playground: trains a network in each framework when the site is built."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from lenet_multi.backends import installed_backends
from lenet_multi.system.process import child_environment

FILE = "play.html"
KEEPS_EPOCHS = "torch"  # one framework shows how its parameters change: a page with all epochs of all would be large


def make_page(app: Sphinx, problem: Exception | None) -> None:
    """Write the page beside the others."""
    if problem or app.builder.format != "html":
        return
    with tempfile.TemporaryDirectory() as temporary:
        runs = {name: Path(temporary, name) for name in installed_backends()}
        for name, run in runs.items():
            options = ["--backend", name, "--fast", "--out", str(run)]
            _run("train", *options, *(["--keep-epochs"] if name == KEEPS_EPOCHS else []))
        _run("playground", "--weights", *map(str, runs.values()), "--out", str(Path(app.outdir, FILE)))


def _run(command: str, *arguments: str) -> None:
    words = [sys.executable, "-m", f"lenet_multi.{command}", *arguments]
    done = subprocess.run(words, env=child_environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[2:])} failed:\n{done.stderr}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", make_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
