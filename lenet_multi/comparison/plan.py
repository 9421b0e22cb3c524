"""What a comparison compares: backends, and the settings that vary."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from math import prod
from pathlib import Path
from typing import Any

from lenet_multi.backends import BACKENDS
from lenet_multi.errors import UserError
from lenet_multi.runs.options import RUN_OPTIONS
from lenet_multi.system.option_parser import option_words

VaryGroup = dict[str, list[str]]  # options that vary together: name to values

OPTIONS = {option.name: option for option in RUN_OPTIONS}
MAX_RUNS = 1000


@dataclass(frozen=True)
class RunSpec:
    """A run of the comparison: its backend, and the values of the options that vary."""

    name: str
    backend: str
    varied: Mapping[str, str]

    @property
    def folder(self) -> str:
        """The name of the run's folder: that of the run, without characters that a shell or file system may reject.

        Windows drops dots at the end of a name.
        """
        return re.sub(r"[^\w.+]+", "-", self.name).rstrip(".")

    @property
    def title(self) -> str:
        """The name as readers see it: `PyTorch` instead of `torch`."""
        return " ".join(BACKENDS.get(part, part) for part in self.name.split(" "))


@dataclass(frozen=True)
class Plan:
    """The runs of a comparison.

    Args:
        backends: canonical names.
        vary: groups of options that vary together: option to its values, as on the command line of `train`.
        options: the other options of `train` that were given, as text.
        same_start: whether all runs start from the same weights.
        tensorboard: whether each run writes for TensorBoard.
    """

    backends: list[str]
    vary: list[VaryGroup]
    options: dict[str, Any]
    same_start: bool = False
    tensorboard: bool = False

    @property
    def varied(self) -> list[str]:
        """The options that vary."""
        return [name for group in self.vary for name in group]

    @cached_property
    def specs(self) -> list[RunSpec]:
        """A run for each backend and combination of the groups' values.

        Raises:
            UserError: when they are too many, or two of them have the same name, or folders that differ in case only.
        """
        specs = []
        steps = [list(zip(*group.values(), strict=True)) for group in self.vary]
        if prod([len(self.backends), *map(len, steps)]) > MAX_RUNS:
            raise UserError(f"the comparison would have more than {MAX_RUNS:,} runs: choose fewer values")
        for backend, *combination in product(self.backends, *steps):
            varied = dict(zip(self.varied, chain(*combination), strict=True))
            parts = [f"{name}={value}" for name, value in varied.items()]
            if len(self.backends) > 1 or not varied:
                parts.insert(0, backend)
            specs.append(RunSpec(" ".join(parts), backend, varied))
        folders = [spec.folder.casefold() for spec in specs]  # macOS and Windows ignore case
        duplicate = next((spec for spec in specs if folders.count(spec.folder.casefold()) > 1), None)
        if duplicate:
            raise UserError(
                f"two runs would share the folder '{duplicate.folder}' (upper and lower case count as the same): "
                "choose different values"
            )
        return specs

    def requested_loop(self, spec: RunSpec) -> str | None:
        """The loop that is given for this run."""
        return spec.varied.get("loop", self.options.get("loop"))

    def option_text(self, name: str) -> str:
        """The option as the user wrote it: `--lr`, or `--vary lr`."""
        return f"--vary {name}" if name in self.varied else f"--{name}"

    def arguments(self, spec: RunSpec, out: Path, resume: bool = False, start: Path | None = None) -> list[str]:
        """The command line of `train` for a run.

        Args:
            spec: the run.
            out: the comparison's folder.
            resume: whether the run resumes, with its own weights.
            start: file with the weights that a new run starts from; None for its own initial weights.
        """
        options = self.options | dict(spec.varied) | {"backend": spec.backend, "out": str(out / spec.folder)}
        if resume:
            options = {name: value for name, value in options.items() if name != "weights"} | {"resume": True}
        elif start:
            # With a name, `train` does not take the recipe of the preset that the weights' network happens to be.
            options = {"architecture": "lenet5"} | options | {"weights": str(start)}
        if self.tensorboard:
            options |= {"tensorboard": True}
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]

    @property
    def command(self) -> str:
        """The shell command that repeats the comparison."""
        words = ["python", "-m", "lenet_multi.compare", "--backends", ",".join(self.backends)]
        for group in self.vary:
            words += ["--vary", *(f"{name}={OPTIONS[name].separator.join(values)}" for name, values in group.items())]
        for name, value in self.options.items():
            words += option_words(name, value)
        if self.same_start:
            words.append("--same-start")
        if self.tensorboard:
            words.append("--tensorboard")
        return f"{shlex.join(words)} --out DIR"

    @property
    def title(self) -> str:
        """What is compared, in a few words."""
        frameworks = ", ".join(BACKENDS[backend] for backend in self.backends)
        varied = ", ".join(" with ".join(group) for group in self.vary)
        return f"LeNet in {frameworks}" + (f": {varied} compared" if varied else "")
