"""Train LeNet in several frameworks, or with several settings, and compare what comes out.

    python -m lenet_multi.compare --out runs/three
    python -m lenet_multi.compare --backends torch,mxnet --epochs 2 --out runs/two
    python -m lenet_multi.compare --vary pooling=avg,max --vary seed=0,1,2 --out runs/pooling
    python -m lenet_multi.compare --vary activation=sigmoid,relu lr=0.9,0.1 --out runs/activations
    python -m lenet_multi.compare --vary conv-channels=6,16/12,32 --out runs/channels
    python -m lenet_multi.compare --vary loop=plain,fast --out runs/loops
    python -m lenet_multi.compare --same-start --out runs/same-start
    python -m lenet_multi.compare --resume --out runs/three

Each run is a process of its own, one after the other, with the same seed and batches. Settings after one `--vary` vary
in step; several `--vary` give every combination. With `--same-start` every run begins with the first run's initial
weights. Standard output is a table. The folder gets `curves.png`, `curves.svg`, `report.html`, `compare.json`, a folder
for each run and, with `--same-start`, `start.safetensors`. The exit status is 1 where a run failed, or the frameworks
differ with the same weights.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_multi import report, train
from lenet_multi.architecture import PRESETS, Architecture
from lenet_multi.backends import BACKENDS, canonical_name, installed_backends, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.child import run_in_process
from lenet_multi.cli import architecture_from, run_command, say, some_path
from lenet_multi.curves import draw_overlaid, png
from lenet_multi.data import Dataset, load_dataset, require_images_fit
from lenet_multi.drawing import svg
from lenet_multi.errors import UserError
from lenet_multi.files import CreatedFolder, uninterrupted, write_whole
from lenet_multi.process import describe_machine
from lenet_multi.run import (
    CHECKPOINT,
    OUTPUTS,
    Run,
    Settings,
    data_digest,
    load_checkpoint,
    require_free,
    summary,
    write_outputs,
)
from lenet_multi.weights import architecture_of, load_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPARISON, REPORT, CURVES_PNG, CURVES_SVG = "compare.json", "report.html", "curves.png", "curves.svg"
FINDINGS = (REPORT, CURVES_PNG, CURVES_SVG)  # written when all runs are done
START = "start.safetensors"  # the weights that every run begins with
PROG = "python -m lenet_multi.compare"
FAILED_STATUS = 1

Group = dict[str, list[str]]  # options that vary in step: name to values

NOT_PASSED_ON = ("help", "backend", "out", "resume", "fast")  # --fast is short for --loop fast
# All networks of a comparison answer the same test set.
NOT_VARIED = ("dataset", "data-dir")

COLUMNS = {
    "loss": "{loss:.3f}",
    "train acc": "{train_acc:.3f}",
    "test acc": "{test_acc:.3f}",
    "loop": "{loop}",
    "examples/s": "{examples_per_sec:.1f}",
    "wall time": "{wall_seconds:.1f} s",
    "start-up": "{startup_seconds:.1f} s",
    "peak memory": "{peak_rss_mb:.0f} MB",
}


def train_options() -> dict[str, argparse.Action]:
    """The options of `lenet_multi.train` that a comparison passes on, by name: `lr`, `batch-size`, ..."""
    actions = {action.option_strings[-1].lstrip("-"): action for action in train.parser()._actions}
    return {name: action for name, action in actions.items() if name not in NOT_PASSED_ON}


def separators() -> dict[str, str]:
    """What stands between the values of each of `train_options`: a slash where a value may hold commas."""
    return {name: "/" if "," in str(action.metavar) else "," for name, action in train_options().items()}


def parser() -> argparse.ArgumentParser:
    """The parser of `train`, but for what a comparison decides itself. What is passed on stays text."""
    parser = train.parser()
    parser.prog, parser.description = PROG, "Compare frameworks, or settings within one."
    passed_on = train_options()
    for action in parser._actions:
        if action.option_strings[-1].lstrip("-") in passed_on:
            if action.choices and not action.metavar:
                action.metavar = f"{{{','.join(map(str, action.choices))}}}"
            action.type = action.default = action.choices = None
    parser.conflict_handler = "resolve"  # what follows takes the place of train's own
    group = parser.add_argument_group("comparison options")
    group.add_argument(
        "--backends",
        "--backend",
        metavar="NAMES",
        help="torch, tensorflow, mxnet with commas between, or all (all; with --vary torch)",
    )
    group.add_argument(
        "--vary",
        action="append",
        nargs="+",
        metavar="NAME=A,B",
        help="a run for each of these values of a training or network option, or of loop; several NAME=A,B after one "
        "--vary vary in step, the first value with the first, as in activation=sigmoid,relu lr=0.9,0.1; several --vary "
        "give a run for every combination; slashes separate values that hold commas, as in conv-channels=6,16/12,32",
    )
    group.add_argument(
        "--same-start",
        action="store_true",
        help="every run begins with the initial weights of the first one; each shuffles by its own seed",
    )
    group.add_argument("--out", type=some_path, required=True, metavar="DIR", help="leave the comparison there")
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the comparison in --out DIR: finished runs are used again; "
        "only what is compared, the device and a larger --epochs may differ",
    )
    return parser


@dataclass(frozen=True)
class Case:
    """A run of the comparison: the backend, and the values of the options that vary."""

    name: str
    backend: str
    varied: Mapping[str, str]

    @property
    def folder(self) -> str:
        """The name of the run's folder: the run's, without what a shell or file system might mind."""
        return re.sub(r"[^\w.+]+", "-", self.name)


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        backends: canonical names.
        vary: groups of options that vary in step: option to its values, as on the command line of `train`.
        options: all other options of `train` that were given: their text, or True for a flag.
        same_start: whether every run begins with the same weights.
    """

    backends: list[str]
    vary: list[Group]
    options: dict[str, Any]
    same_start: bool = False

    @property
    def varied(self) -> list[str]:
        """The options that vary."""
        return [name for group in self.vary for name in group]

    @cached_property
    def cases(self) -> list[Case]:
        """A run for each backend and combination of the groups' values."""
        cases = []
        steps = [list(zip(*group.values(), strict=True)) for group in self.vary]
        for backend, *combination in product(self.backends, *steps):
            varied = dict(zip(self.varied, chain(*combination), strict=True))
            parts = [f"{name}={value}" for name, value in varied.items()]
            if len(self.backends) > 1 or not varied:
                parts.insert(0, backend)
            cases.append(Case(" ".join(parts), backend, varied))
        folders = [case.folder for case in cases]
        twice = next((case.name for case in cases if folders.count(case.folder) > 1), None)
        if twice:
            raise UserError(f"'{twice}' is there twice, or nearly, expected values that differ: leave one out")
        return cases

    def loop_of(self, case: Case) -> str | None:
        """The loop that is asked for by name."""
        return case.varied.get("loop", self.options.get("loop"))

    def arguments(self, case: Case, out: Path, going_on: bool = False, start: Path | None = None) -> list[str]:
        """The command line of `train` for a run.

        Args:
            case: the run.
            out: the comparison's folder.
            going_on: whether the run resumes; then it has weights of its own.
            start: file with the weights that a new run begins with, if they are not the network's own.
        """
        options = self.options | dict(case.varied) | {"backend": case.backend, "out": str(out / case.folder)}
        if going_on:
            options = {name: value for name, value in options.items() if name != "weights"} | {"resume": True}
        elif start:
            # Without a name `train` looks which preset the weights' network is, and takes the recipe of that.
            options = {"architecture": "lenet5"} | options | {"weights": str(start)}
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


def parse_vary(groups: Sequence[Sequence[str]]) -> list[Group]:
    """`[["pooling=avg,max"]]` as [{"pooling": ["avg", "max"]}]; where a value may hold commas, slashes separate.

    Args:
        groups: for each `--vary` the settings that vary in step.

    Raises:
        UserError: unknown option, option given twice, less than two values, or another number than the group's first.
    """
    vary: list[Group] = []
    for texts in groups:
        group: Group = {}
        for text in texts:
            name, values = _parse_setting(text)
            if any(name in earlier for earlier in (*vary, group)):
                raise UserError(f"--vary {name} twice, expected it once: give all its values together")
            group[name] = values
        first, *others = group
        odd = next((name for name in others if len(group[name]) != len(group[first])), None)
        if odd:
            raise UserError(
                f"--vary '{' '.join(texts)}' has {len(group[first])} values of {first} and {len(group[odd])} of {odd}, "
                "expected as many of each: make them equal, or give each a --vary of its own for every combination"
            )
        vary.append(group)
    return vary


def _parse_setting(text: str) -> tuple[str, list[str]]:
    """The option's name and its values."""
    names = [name for name, action in train_options().items() if name not in NOT_VARIED and action.nargs != 0]
    name, equals, values = text.partition("=")
    name = name.lstrip("-").replace("_", "-")
    if name in ("backend", "backends"):
        raise UserError(f"--vary '{text}', expected a setting within one framework: give --backends {values or 'A,B'}")
    if name not in names or not equals:
        raise UserError(f"--vary '{text}', expected NAME=A,B with one of the names {', '.join(names)}")
    separator = separators()[name]
    if separator not in values:
        raise UserError(f"--vary '{text}', expected two values or more: separate them with '{separator}'")
    return name, values.split(separator)


def parse_backends(text: str | None, vary: Sequence[Group]) -> list[str]:
    """Canonical names; of None and `all` all, but PyTorch alone when settings are compared and none is asked for."""
    if text is None and vary:
        return [train.DEFAULTS["backend"]]
    if text in (None, "all"):
        return list(BACKENDS)
    return list(dict.fromkeys(canonical_name(name) for name in str(text).split(",")))


@dataclass(frozen=True)
class Row:
    """What became of a run: either it is whole, or `reason` says what failed."""

    case: Case
    run: Run | None = None
    reason: str | None = None

    @property
    def cells(self) -> list[str]:
        """The text of each of `COLUMNS`; none for a run that failed."""
        if self.run is None:
            return []
        return [text.format_map(summary(self.run)) for text in COLUMNS.values()]

    def as_json(self) -> dict[str, Any]:
        state = "failed" if self.reason else "done" if self.run else "waiting"
        return {
            **asdict(self.case),
            "folder": self.case.folder,
            "state": state,
            "reason": self.reason,
            "summary": summary(self.run) if self.run else None,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: `rows` in the order of the plan, `findings` about the networks of those that are whole."""

    out: Path
    plan: Plan
    rows: list[Row]
    findings: report.Findings
    machine: str

    @property
    def failed(self) -> bool:
        """Whether a run failed, or the frameworks differ with the same weights."""
        return any(row.reason for row in self.rows) or bool(self.findings.differences)

    @property
    def columns(self) -> list[str]:
        return list(COLUMNS)

    @property
    def dataset_name(self) -> str:
        """Of a folder its last part."""
        return Path(self.findings.dataset.name).name

    @property
    def title(self) -> str:
        """What is compared, in a few words."""
        frameworks = ", ".join(BACKENDS[backend] for backend in self.plan.backends)
        varied = ", ".join(" with ".join(group) for group in self.plan.vary)
        return f"LeNet in {frameworks}" + (f": {varied} compared" if varied else "")

    @property
    def shared(self) -> dict[str, Any]:
        """The settings that all whole runs share, and the network where they share it."""
        runs = [row.run for row in self.rows if row.run]
        described = [
            {"network": f"{run.architecture.name}, {run.architecture.num_parameters:,} parameters"}
            | {name.replace("_", " "): value for name, value in asdict(run.settings).items() if name != "data_sha256"}
            | {"dataset": self.dataset_name, "device": run.legs[-1].device, "loop": run.legs[-1].loop}
            for run in runs
        ]
        first = described[0] if described else {}
        told = {name: value for name, value in first.items() if value is not None}
        return {name: value for name, value in told.items() if all(other[name] == value for other in described)}

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know."""
        notes = []
        if self.findings.dataset.name == "synthetic":
            notes.append("these figures are on `synthetic`, garments drawn by code, and NOT on Fashion-MNIST")
        if self.plan.same_start:
            notes.append("all runs began with the same weights")
        for row in self.rows:
            if not row.run:
                continue
            name, legs, loss = row.case.name, row.run.legs, row.run.points[-1].train_loss
            if train.learned_nothing(loss, row.run.epochs_done, row.run.settings.num_train):
                notes.append(f"{name} has learned nothing: its loss is that of guessing all classes alike")
            if len(legs) > 1:
                notes.append(f"{name} was trained in {len(legs)} processes: times, speed and memory are the last one's")
            if self.plan.loop_of(row.case) == "fast" and legs[-1].loop == "plain":
                framework = BACKENDS[row.case.backend]
                notes.append(f"{name} ran the plain loop: {framework} has no faster one for this network on its device")
        return notes

    @property
    def command(self) -> str:
        """The command that makes the comparison anew."""
        words = ["python", "-m", "lenet_multi.compare", "--backends", ",".join(self.plan.backends)]
        for group in self.plan.vary:
            words += ["--vary", *(f"{name}={separators()[name].join(values)}" for name, values in group.items())]
        for name, value in self.plan.options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        if self.plan.same_start:
            words.append("--same-start")
        return f"{shlex.join(words)} --out DIR"

    def table(self) -> str:
        """The rows as text, then the notes, the machine with its versions, and what the ladder found."""
        names = ["", *(row.case.name for row in self.rows)]
        width = max(map(len, names))
        columns = [[title, *(row.cells[i] for row in self.rows if row.run)] for i, title in enumerate(COLUMNS)]
        widths = [max(map(len, column)) for column in columns]

        def line(name: str, cells: Sequence[str]) -> str:
            return "  ".join([name.ljust(width), *(text.rjust(w) for text, w in zip(cells, widths, strict=True))])

        lines = [line("", self.columns)]
        for row in self.rows:
            lines.append(
                line(row.case.name, row.cells) if row.run else f"{row.case.name:{width}}  FAILED: {row.reason}"
            )
        lines += [f"note: {note}" for note in self.notes]
        lines += ["", self.machine]
        if self.findings.ladders:
            checked = list(self.findings.ladders.values())
            networks = f"each of {len(checked)} networks" if len(checked) > 1 else "1 network"
            lines += [f"differs: {sentence}" for sentence in self.findings.differences] or [
                f"the same weights give the same numbers in every framework: "
                f"{len(checked[0])} checks on {networks} pass"
            ]
        return "\n".join(lines)

    def figure(self) -> Figure:
        """The curves of all whole runs, overlaid."""
        return draw_overlaid({row.case.name: row.run.points for row in self.rows if row.run})

    def as_json(self) -> dict[str, Any]:
        """Everything that was found, JSON-ready."""
        return {
            "plan": asdict(self.plan),
            "runs": [row.as_json() for row in self.rows],
            "machine": self.machine,
            "notes": self.notes,
            "failed": self.failed,
            **self.findings.as_json(),
        }


def compare(
    out: str | Path,
    backends: Sequence[str] | None = None,
    vary: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]] | None = None,
    resume: bool = False,
    same_start: bool = False,
    fast: bool = False,
    **options: Any,
) -> Comparison:
    """Compare from Python; what the command does, but that the table is returned and not printed.

    >>> result = compare("runs/pooling", vary={"pooling": ["avg", "max"]}, epochs=2)
    >>> print(result.table())
    >>> result.figure()
    >>> compare("runs/activations", vary=[{"activation": ["sigmoid", "relu"], "lr": [0.9, 0.1]}])

    Args:
        out: the folder, which gets the report and a folder for each run.
        backends: names; by default all, or PyTorch alone when something varies.
        vary: option of `train` to the values to compare, with a run for every combination; a tuple is a value with
            commas: `(6, 16)`. In a list of such dictionaries, the options of one dictionary vary in step: the first
            value with the first, the second with the second.
        resume: go on with the comparison in `out`.
        same_start: every run begins with the initial weights of the first one.
        fast: short for `loop="fast"`.
        options: of `train`, `-` written `_`: `batch_size=32`, `conv_channels=(6, 16)`.

    Raises:
        UserError: when a value or the data cannot be used, or the folder holds runs already. A run that fails raises
            nothing: its row says why.
    """
    groups = [{name: values} for name, values in vary.items()] if isinstance(vary, Mapping) else vary or []
    checked = parse_vary([[_setting(name, values) for name, values in group.items()] for group in groups if group])
    options |= {"loop": "fast"} if fast else {}
    given = {name.replace("_", "-"): _text(value) for name, value in options.items() if value is not None}
    unknown = next((name for name in given if name not in train_options()), None)
    if unknown:
        raise UserError(f"option '{unknown}', expected one of {', '.join(train_options())}")
    return run_comparison(Path(out), ",".join(backends) if backends else None, checked, given, resume, same_start)


def _setting(name: str, values: Sequence[Any]) -> str:
    """What varies as on the command line: `pooling=avg,max`."""
    name = name.replace("_", "-")
    return f"{name}={separators().get(name, ',').join(str(_text(value)) for value in values)}"


def _text(value: Any) -> Any:
    return value if value is True else ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    values = {name: getattr(args, action.dest) for name, action in train_options().items()}
    given = {name: value for name, value in values.items() if value not in (None, False)}
    vary = parse_vary(args.vary or [])
    comparison = run_comparison(args.out, args.backends, vary, given, args.resume, args.same_start)
    print(comparison.table())
    if comparison.findings.networks:
        say(f"report: {comparison.out / REPORT}")
    return FAILED_STATUS if comparison.failed else 0


def run_comparison(
    out: Path, backends: str | None, vary: list[Group], options: dict[str, Any], resume: bool, same_start: bool
) -> Comparison:
    """Train what is not trained yet, examine it all, and leave the folder's files."""
    before = _stored_plan(out) if resume else None
    if before:
        vary, same_start = vary or before.vary, same_start or before.same_start
        kept = {name: value for name, value in before.options.items() if not any(name in group for group in vary)}
        options = kept | options
    names = before.backends if before and backends is None else parse_backends(backends, vary)
    plan = Plan(names, vary, options, same_start)
    doubly = next((name for name in plan.varied if name in options), None)
    if doubly:
        raise UserError(f"--{doubly} and --vary {doubly} together, expected one of them: leave --{doubly} out")
    if same_start and "weights" in (*plan.varied, *options):
        raise UserError("--same-start and --weights together, expected one of them: leave --same-start out")
    if not resume:
        _require_unused(out, same_start)

    # What every run would refuse is refused before the first begins.
    asked = {case.name: _parsed(plan, case, out) for case in plan.cases}
    dataset = load_dataset(options.get("dataset", train.DEFAULTS["dataset"]), options.get("data-dir"))
    plan = replace(plan, options=options | {"dataset": dataset.name})
    digest = data_digest(dataset)
    loops = {case.folder: before.loop_of(case) for case in before.cases} if before else {}
    found = {
        case.name: _run_of(case, asked[case.name], out, dataset, digest, loops.get(case.folder)) for case in plan.cases
    }
    for case in plan.cases:
        if found[case.name] is None:
            require_free(out / case.folder, OUTPUTS)
    networks = {name: run.architecture if run else _architecture(asked[name]) for name, run in found.items()}
    for architecture in networks.values():
        require_images_fit(architecture, dataset)
    if same_start:
        _require_one_start(out, before, found, networks)

    with ExitStack() as stack:
        try:
            stack.enter_context(CreatedFolder(out))
        except OSError as problem:
            raise UserError(
                f"--out '{out}' cannot be made ({problem.strerror}), expected a folder of yours: choose another"
            ) from problem
        stack.enter_context(_alone_in(out))
        try:
            return _carried_out(plan, asked, found, out, dataset)
        except KeyboardInterrupt:
            going_on = shlex.join([sys.executable, "-m", "lenet_multi.compare", "--resume", "--out", str(out)])
            raise KeyboardInterrupt(f"'{out}' keeps what is done; go on with: {going_on}") from None


def _require_unused(out: Path, same_start: bool) -> None:
    """Refuse a folder in which runs lie, or files would be written over; a comparison that trained nothing makes room.

    Raises:
        UserError: when it is used.
    """
    if _has_runs(out) or (out / CHECKPOINT).exists():
        raise UserError(
            f"--out '{out}' holds runs already, expected a folder without: choose another, or go on with --resume"
        )
    before = _stored_plan(out) if (out / COMPARISON).exists() else None
    require_free(out, FINDINGS)
    if same_start and not (before and before.same_start):
        require_free(out, [START])


def _require_one_start(
    out: Path, before: Plan | None, found: Mapping[str, Run | None], networks: Mapping[str, Architecture]
) -> None:
    """Check that all runs can begin, or began, with the same weights.

    Args:
        out: the comparison's folder.
        before: the plan that is resumed.
        found: by name, the runs that are there already.
        networks: by name, the network of each run.

    Raises:
        UserError: when runs began with other weights, the weights are gone, or a network has other parameters.
    """
    first, *others = networks
    expected, whose = networks[first].parameter_shapes, f"run '{first}'"
    if _has_runs(out):
        if not (before and before.same_start):
            raise UserError(
                f"--same-start: the runs in '{out}' began with weights of their own, expected runs made with "
                "--same-start: leave --same-start out, or choose another --out"
            )
        if None in found.values():
            if not (out / START).exists():
                raise UserError(
                    f"'{out / START}' is gone, expected the weights that the other runs began with: put it back, or "
                    "choose another --out"
                )
            expected = {name: value.shape for name, value in load_weights(out / START)[0].items()}
            whose, others = f"'{out / START}'", list(networks)
    elif before and not before.same_start:
        require_free(out, [START])
    for name in others:
        shapes = networks[name].parameter_shapes
        for parameter in dict.fromkeys([*shapes, *expected]):
            if shapes.get(parameter) != expected.get(parameter):
                has = f"has shape {shapes[parameter]}" if parameter in shapes else "is missing"
                raise UserError(
                    f"--same-start: {parameter} of run '{name}' {has}, expected {expected.get(parameter, 'none')} as "
                    f"in {whose}: leave --same-start out, or compare networks whose parameters have the same shapes"
                )


def _has_runs(out: Path) -> bool:
    return next(out.glob(f"*/{CHECKPOINT}"), None) is not None


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep other comparisons out of the folder meanwhile; where the file system has no locks, hope."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another comparison is at work in --out '{out}', expected none: wait for its end"
                ) from None
        yield
    finally:
        os.close(descriptor)


def _carried_out(
    plan: Plan, asked: Mapping[str, argparse.Namespace], found: Mapping[str, Run | None], out: Path, dataset: Dataset
) -> Comparison:
    """Train what is not trained yet, then examine it all."""
    rows = [Row(case) for case in plan.cases]
    for name in FINDINGS:
        (out / name).unlink(missing_ok=True)
    _keep(out, plan, rows)
    if plan.same_start and not _has_runs(out):
        _write_start(plan, out)
    for number, case in enumerate(plan.cases):
        say(f"[{number + 1}/{len(rows)}] {case.name}")
        rows[number] = _row(plan, case, asked[case.name], out, found[case.name])
        if rows[number].reason:
            say(f"failed: {rows[number].reason}")
        _keep(out, plan, rows)
    say("comparing the networks")
    return _examined(out, plan, rows, dataset)


def _write_start(plan: Plan, out: Path) -> None:
    """Write the initial weights of the first run.

    Raises:
        UserError: when its framework cannot make them.
    """
    first = plan.cases[0]
    require_installed(first.backend)
    say(f"drawing the initial weights of {first.name}, for all runs")
    arguments = [str(out / START), *plan.arguments(first, out)]
    reason = run_in_process([sys.executable, "-m", "lenet_multi.initial_weights", *arguments])
    if reason:
        raise UserError(
            f"--same-start: the initial weights of '{first.name}' cannot be computed ({reason}), expected a first run "
            "that can begin: correct its options"
        )


def _stored_plan(out: Path) -> Plan | None:
    """The plan of the comparison in a folder; None where single runs lie there.

    Raises:
        UserError: when there is nothing to go on with, or it cannot be read.
    """
    path = out / COMPARISON
    if not path.exists():
        if _has_runs(out):
            return None
        raise UserError(f"--resume: '{out}' holds no {COMPARISON}, expected a comparison: leave --resume out")
    try:
        described = json.loads(path.read_text())["plan"]
        names = [canonical_name(name) for name in described["backends"]]
        vary = described["vary"]
        if isinstance(vary, dict):  # as before options could vary in step
            vary = [{name: values} for name, values in vary.items()]
        groups = [{name: [str(value) for value in values] for name, values in group.items()} for group in vary]
        return Plan(names, groups, dict(described["options"]), bool(described.get("same_start", False)))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UserError(f"'{path}' tells of no comparison, expected one left by compare: take it away") from problem


def _parsed(plan: Plan, case: Case, out: Path) -> argparse.Namespace:
    """The arguments of a run as `train` reads them, which refuses wrong ones."""
    reader = train.parser()
    reader.prog = PROG
    args = reader.parse_args(plan.arguments(case, out))
    parse_device(args.device)
    return args


def _architecture(args: argparse.Namespace) -> Architecture:
    """The network that a new run would train."""
    architecture = architecture_from(args)
    if args.weights:
        return architecture_of(args.weights, *load_weights(args.weights), architecture)
    return architecture or PRESETS["lenet5"]


def _run_of(
    case: Case, args: argparse.Namespace, out: Path, dataset: Dataset, digest: str, loop_before: str | None
) -> Run | None:
    """The run that lies in the case's folder already; None where there is none.

    Args:
        case: the run.
        args: what is asked for now, as `train` reads it.
        out: the comparison's folder.
        dataset: the data.
        digest: of the data.
        loop_before: the loop that the comparison that is resumed asked for by name.

    Raises:
        UserError: when it is another than is asked for.
    """
    folder = out / case.folder
    if not (folder / CHECKPOINT).exists():
        return None
    run, _ = load_checkpoint(folder)
    trained_in = ", ".join(dict.fromkeys([*(leg.backend for leg in run.legs), run.backend]))
    if trained_in != case.backend:
        raise UserError(
            f"the run in '{folder}' is of {trained_in}, expected one of {case.backend}: choose another --out"
        )
    asked: dict[str, tuple[Any, Any]] = {
        "dataset": ((dataset.name, digest), (run.settings.dataset, run.settings.data_sha256)),
        "network": (architecture_from(args) or run.architecture, run.architecture),
    }
    for setting in fields(Settings):
        given, was = getattr(args, setting.name, None), getattr(run.settings, setting.name)
        if setting.name != "dataset" and given is not None:
            asked[setting.name.replace("_", "-")] = (given, max(given, was) if setting.name == "epochs" else was)
    # Where nothing is faster, a run that was asked to be fast says that it is plain.
    if args.loop and not (args.loop == loop_before == "fast"):
        asked["loop"] = (args.loop, ", ".join(dict.fromkeys([*(leg.loop for leg in run.legs), run.loop])))
    for name, (given, was) in asked.items():
        if given != was:
            told, expected = f"another {name}", "that of"
            if isinstance(given, str | int | float):
                least = "at least " if name == "epochs" else ""
                told, expected = f"--{name} {given}", f"{least}{'none' if was is None else was} as in"
            raise UserError(f"{told}, expected {expected} the run in '{folder}': leave it out, or choose another --out")
    return run


def _row(plan: Plan, case: Case, args: argparse.Namespace, out: Path, run: Run | None) -> Row:
    """Train a run, or use it again where it is whole."""
    folder = out / case.folder
    if run and run.epochs_done and run.epochs_done >= (args.epochs or run.settings.epochs):
        say(f"all {run.epochs_done} epochs are done already")
        write_outputs(folder)
        return Row(case, run)
    start = out / START if plan.same_start else None
    arguments = plan.arguments(case, out, going_on=run is not None, start=start)
    reason = run_in_process([sys.executable, "-m", "lenet_multi.train", *arguments])
    return Row(case, reason=reason) if reason else Row(case, load_checkpoint(folder)[0])


def _examined(out: Path, plan: Plan, rows: list[Row], dataset: Dataset) -> Comparison:
    """Run the trained networks on the test set, compare them, and write the files."""
    networks = []
    for number, row in enumerate(rows):
        if row.run is None:
            continue
        run, parameters = load_checkpoint(out / row.case.folder)
        try:
            device = plan.options.get("device", row.case.varied.get("device", "auto"))
            logits = report.predict(row.case.backend, run.architecture, parameters, dataset.test.images, device)
        except Exception as problem:  # whatever a framework raises: the others' results stay
            reason = f"trained, but cannot be run: {type(problem).__name__}: {' '.join(str(problem).split())}"
            rows[number] = Row(row.case, reason=reason)
            continue
        lr, name = run.settings.lr, row.case.name
        networks.append(
            report.TrainedNetwork(name, row.case.backend, run.architecture, parameters, run.points, lr, logits)
        )
    machine = describe_machine(*_packages(plan))
    comparison = Comparison(out, plan, rows, report.examine(networks, dataset), machine)
    files = {COMPARISON: _json(comparison.as_json())}
    if networks:
        figure = comparison.figure()
        files |= {
            CURVES_PNG: png(figure),
            CURVES_SVG: svg(figure, {"Title": comparison.title}),
            REPORT: report.page(comparison).encode(),
        }
    with uninterrupted():
        for name, content in files.items():
            write_whole(out / name, content)
    return comparison


def _packages(plan: Plan) -> list[str]:
    """The packages whose versions matter to the figures."""
    installed = [name for name in plan.backends if name in installed_backends()]
    return [*installed, *(["keras"] if "tensorflow" in installed else []), "numpy"]


def _keep(out: Path, plan: Plan, rows: Sequence[Row]) -> None:
    """Write `compare.json` as far as the comparison has come."""
    write_whole(out / COMPARISON, _json({"plan": asdict(plan), "runs": [row.as_json() for row in rows]}))


def _json(described: Mapping[str, Any]) -> bytes:
    """Indented, but lists of numbers in one line: some hold a number for each test example."""
    text = json.dumps(described, indent=2)
    return (re.sub(r"\[\n[^\[\]{}\"]*\]", lambda found: re.sub(r"\n\s*", " ", found[0]), text) + "\n").encode()


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
