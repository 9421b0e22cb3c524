"""Train LeNet in several frameworks, or with several settings, and compare what comes out.

    python -m lenet_multi.compare --out runs/three
    python -m lenet_multi.compare --backends torch,mxnet --epochs 2 --out runs/two
    python -m lenet_multi.compare --vary pooling=avg,max --vary seed=0,1,2 --out runs/pooling
    python -m lenet_multi.compare --vary conv-channels=6,16/12,32 --out runs/channels
    python -m lenet_multi.compare --resume --out runs/three

Each run is a process of its own, one after the other, with the same seed and batches. Standard output is a table. The
folder gets `curves.png`, `curves.svg`, `report.html`, `compare.json` and a folder for each run. The exit status is 1
where a run failed, or the frameworks differ with the same weights.
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
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_multi import report, train
from lenet_multi.architecture import PRESETS, Architecture
from lenet_multi.backends import BACKENDS, canonical_name, installed_backends
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
PROG = "python -m lenet_multi.compare"
FAILED_STATUS = 1

NOT_PASSED_ON = ("help", "backend", "out", "resume")
# All networks of a comparison answer the same test set.
NOT_VARIED = ("dataset", "data-dir")

COLUMNS = {
    "loss": "{loss:.3f}",
    "train acc": "{train_acc:.3f}",
    "test acc": "{test_acc:.3f}",
    "examples/s": "{examples_per_sec:.1f}",
    "wall time": "{wall_seconds:.1f} s",
    "start-up": "{startup_seconds:.1f} s",
    "peak memory": "{peak_rss_mb:.0f} MB",
}


def train_options() -> dict[str, argparse.Action]:
    """The options of `lenet_multi.train` that a comparison passes on, by name: `lr`, `batch-size`, ..."""
    actions = {action.option_strings[-1].lstrip("-"): action for action in train.parser()._actions}
    return {name: action for name, action in actions.items() if name not in NOT_PASSED_ON}


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
        metavar="NAME=A,B",
        help="a run for each of these values of a training or network option; values that hold commas are separated "
        "by slashes, as in conv-channels=6,16/12,32; given more than once, a run for every combination",
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
        vary: option to its values, as on the command line of `train`.
        options: all other options of `train` that were given: their text, or True for a flag.
    """

    backends: list[str]
    vary: dict[str, list[str]]
    options: dict[str, Any]

    @cached_property
    def cases(self) -> list[Case]:
        """A run for each backend and combination of values."""
        cases = []
        for backend, *values in product(self.backends, *self.vary.values()):
            varied = dict(zip(self.vary, values, strict=True))
            parts = [f"{name}={value}" for name, value in varied.items()]
            if len(self.backends) > 1 or not varied:
                parts.insert(0, backend)
            cases.append(Case(" ".join(parts), backend, varied))
        folders = [case.folder for case in cases]
        twice = next((case.name for case in cases if folders.count(case.folder) > 1), None)
        if twice:
            raise UserError(f"'{twice}' is there twice, or nearly, expected values that differ: leave one out")
        return cases

    def arguments(self, case: Case, out: Path, going_on: bool) -> list[str]:
        """The command line of `train` for a run."""
        options = self.options | dict(case.varied) | {"backend": case.backend, "out": str(out / case.folder)}
        if going_on:
            options = {name: value for name, value in options.items() if name != "weights"} | {"resume": True}
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


def parse_vary(texts: Sequence[str]) -> dict[str, list[str]]:
    """`pooling=avg,max` as {"pooling": ["avg", "max"]}; where a value may hold commas, slashes separate.

    Raises:
        UserError: unknown option, option given twice, or less than two values.
    """
    options = train_options()
    names = [name for name, action in options.items() if name not in NOT_VARIED and action.nargs != 0]
    vary: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.lstrip("-").replace("_", "-")
        if name in ("backend", "backends"):
            raise UserError(
                f"--vary '{text}', expected a setting within one framework: give --backends {values or 'A,B'}"
            )
        if name not in names or not equals:
            raise UserError(f"--vary '{text}', expected NAME=A,B with one of the names {', '.join(names)}")
        if name in vary:
            raise UserError(f"--vary {name} twice, expected it once: give all its values together")
        separator = "/" if "," in str(options[name].metavar) else ","
        vary[name] = values.split(separator)
        if len(vary[name]) < 2:
            raise UserError(f"--vary '{text}', expected two values or more: separate them with '{separator}'")
    return vary


def parse_backends(text: str | None, vary: Mapping[str, Sequence[str]]) -> list[str]:
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
        return f"LeNet in {frameworks}" + (f": {', '.join(self.plan.vary)} compared" if self.plan.vary else "")

    @property
    def shared(self) -> dict[str, Any]:
        """The settings that all whole runs share, and the network where they share it."""
        runs = [row.run for row in self.rows if row.run]
        described = [
            {"network": f"{run.architecture.name}, {run.architecture.num_parameters:,} parameters"}
            | {name.replace("_", " "): value for name, value in asdict(run.settings).items() if name != "data_sha256"}
            | {"dataset": self.dataset_name, "device": run.legs[-1].device}
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
        notes += [
            f"{row.case.name} was trained in {len(row.run.legs)} processes: times, speed and memory are the last one's"
            for row in self.rows
            if row.run and len(row.run.legs) > 1
        ]
        return notes

    @property
    def command(self) -> str:
        """The command that makes the comparison anew."""
        words = ["python", "-m", "lenet_multi.compare", "--backends", ",".join(self.plan.backends)]
        separators = {name: "/" if "," in str(action.metavar) else "," for name, action in train_options().items()}
        for name, values in self.plan.vary.items():
            words += ["--vary", f"{name}={separators[name].join(values)}"]
        for name, value in self.plan.options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
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
    vary: Mapping[str, Sequence[Any]] | None = None,
    resume: bool = False,
    **options: Any,
) -> Comparison:
    """Compare from Python; what the command does, but that the table is returned and not printed.

    >>> result = compare("runs/pooling", vary={"pooling": ["avg", "max"]}, epochs=2)
    >>> print(result.table())
    >>> result.figure()

    Args:
        out: the folder, which gets the report and a folder for each run.
        backends: names; by default all, or PyTorch alone when something varies.
        vary: option of `train` to the values to compare; a tuple is a value with commas: `(6, 16)`.
        resume: go on with the comparison in `out`.
        options: of `train`, `-` written `_`: `batch_size=32`, `conv_channels=(6, 16)`.

    Raises:
        UserError: when a value or the data cannot be used, or the folder holds runs already. A run that fails raises
            nothing: its row says why.
    """
    varied = {name.replace("_", "-"): [_text(value) for value in values] for name, values in (vary or {}).items()}
    separators = {name: "/" if "," in str(action.metavar) else "," for name, action in train_options().items()}
    checked = parse_vary([f"{name}={separators.get(name, ',').join(values)}" for name, values in varied.items()])
    given = {name.replace("_", "-"): _text(value) for name, value in options.items() if value is not None}
    unknown = next((name for name in given if name not in train_options()), None)
    if unknown:
        raise UserError(f"option '{unknown}', expected one of {', '.join(train_options())}")
    return run_comparison(Path(out), ",".join(backends) if backends else None, checked, given, resume)


def _text(value: Any) -> Any:
    return value if value is True else ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def command(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    values = {name: getattr(args, action.dest) for name, action in train_options().items()}
    given = {name: value for name, value in values.items() if value not in (None, False)}
    comparison = run_comparison(args.out, args.backends, parse_vary(args.vary or []), given, args.resume)
    print(comparison.table())
    if comparison.findings.networks:
        say(f"report: {comparison.out / REPORT}")
    return FAILED_STATUS if comparison.failed else 0


def run_comparison(
    out: Path, backends: str | None, vary: dict[str, list[str]], options: dict[str, Any], resume: bool
) -> Comparison:
    """Train what is not trained yet, examine it all, and leave the folder's files."""
    before = _stored_plan(out) if resume else None
    if before:
        vary = vary or before.vary
        options = {name: value for name, value in before.options.items() if name not in vary} | options
    names = before.backends if before and backends is None else parse_backends(backends, vary)
    doubly = next((name for name in vary if name in options), None)
    if doubly:
        raise UserError(f"--{doubly} and --vary {doubly} together, expected one of them: leave --{doubly} out")
    if not resume:
        _require_unused(out)

    # What every run would refuse is refused before the first begins.
    plan = Plan(names, vary, options)
    asked = {case.name: _parsed(plan, case, out) for case in plan.cases}
    dataset = load_dataset(options.get("dataset", train.DEFAULTS["dataset"]), options.get("data-dir"))
    plan = replace(plan, options=options | {"dataset": dataset.name})
    digest = data_digest(dataset)
    found = {case.name: _run_of(case, asked[case.name], out, dataset, digest) for case in plan.cases}
    for case in plan.cases:
        if found[case.name] is None:
            require_free(out / case.folder, OUTPUTS)
    for name, run in found.items():
        require_images_fit(run.architecture if run else _architecture(asked[name]), dataset)

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


def _require_unused(out: Path) -> None:
    """Refuse a folder in which runs lie, or files would be written over; a comparison that trained nothing makes room.

    Raises:
        UserError: when it is used.
    """
    if next(out.glob(f"*/{CHECKPOINT}"), None) or (out / CHECKPOINT).exists():
        raise UserError(
            f"--out '{out}' holds runs already, expected a folder without: choose another, or go on with --resume"
        )
    if (out / COMPARISON).exists():
        _stored_plan(out)
    require_free(out, FINDINGS)


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
    for number, case in enumerate(plan.cases):
        say(f"[{number + 1}/{len(rows)}] {case.name}")
        rows[number] = _row(plan, case, asked[case.name], out, found[case.name])
        if rows[number].reason:
            say(f"failed: {rows[number].reason}")
        _keep(out, plan, rows)
    say("comparing the networks")
    return _examined(out, plan, rows, dataset)


def _stored_plan(out: Path) -> Plan | None:
    """The plan of the comparison in a folder; None where single runs lie there.

    Raises:
        UserError: when there is nothing to go on with, or it cannot be read.
    """
    path = out / COMPARISON
    if not path.exists():
        if next(out.glob(f"*/{CHECKPOINT}"), None):
            return None
        raise UserError(f"--resume: '{out}' holds no {COMPARISON}, expected a comparison: leave --resume out")
    try:
        described = json.loads(path.read_text())["plan"]
        names = [canonical_name(name) for name in described["backends"]]
        vary = {name: [str(value) for value in values] for name, values in described["vary"].items()}
        return Plan(names, vary, dict(described["options"]))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UserError(f"'{path}' tells of no comparison, expected one left by compare: take it away") from problem


def _parsed(plan: Plan, case: Case, out: Path) -> argparse.Namespace:
    """The arguments of a run as `train` reads them, which refuses wrong ones."""
    reader = train.parser()
    reader.prog = PROG
    args = reader.parse_args(plan.arguments(case, out, going_on=False))
    parse_device(args.device)
    return args


def _architecture(args: argparse.Namespace) -> Architecture:
    """The network that a new run would train."""
    architecture = architecture_from(args)
    if args.weights:
        return architecture_of(args.weights, *load_weights(args.weights), architecture)
    return architecture or PRESETS["lenet5"]


def _run_of(case: Case, args: argparse.Namespace, out: Path, dataset: Dataset, digest: str) -> Run | None:
    """The run that lies in the case's folder already; None where there is none.

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
    arguments = plan.arguments(case, out, going_on=run is not None)
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
