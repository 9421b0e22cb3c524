"""Runs a comparison: has the missing runs trained, then lets `outcome` examine the networks."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import note_left_out, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.comparison.case_runs import IN_TURN, Case, SweepEngine, TrainCases
from lenet_multi.comparison.engines import opened, require_engine
from lenet_multi.comparison.folder import (
    RESULT_FILES,
    START,
    existing_run,
    has_runs,
    locked_comparison,
    rename_old_folders,
    require_same_start,
    require_unused,
    save_progress,
    stored_plan,
)
from lenet_multi.comparison.outcome import write_results
from lenet_multi.comparison.plan import OPTIONS, Plan, RunSpec, VaryGroup
from lenet_multi.comparison.results import Comparison, RunResult
from lenet_multi.comparison.vary import parse_backends, parse_vary
from lenet_multi.data import require_fit
from lenet_multi.distributed import WORKER_VARIABLES, is_worker
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import Run, load_checkpoint
from lenet_multi.runs.options import DEFAULTS, recipe, run_parser
from lenet_multi.runs.outputs import OUTPUTS, locked_run, write_outputs
from lenet_multi.runs.selection import dataset_from, network_for, shape_of_weights
from lenet_multi.runs.tensorboard import EVENTS, require_tensorboard
from lenet_multi.system import child_processes
from lenet_multi.system.atomic_files import require_absent
from lenet_multi.system.option_parser import option_words
from lenet_multi.system.stderr import say

PROG = "python -m lenet_multi.compare"


def compare(
    out: str | Path,
    backends: Sequence[str] | None = None,
    vary: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]] | None = None,
    resume: bool = False,
    same_start: bool = False,
    tensorboard: bool = False,
    fast: bool = False,
    jobs: int | None = None,
    engine: str = IN_TURN.name,
    address: str | None = None,
    **options: Any,
) -> Comparison:
    """Compare from Python: as the command, but the table is returned instead of printed.

    >>> result = compare("runs/pooling", vary={"pooling": ["avg", "max"]}, epochs=2)
    >>> print(result.table())
    >>> result.figure()
    >>> compare("runs/activations", vary=[{"activation": ["sigmoid", "relu"], "lr": [0.9, 0.1]}])

    Args:
        out: the folder for the report, with a subfolder for each run.
        backends: names; by default all that are installed, or PyTorch only when a setting varies.
        vary: option of `train` to the values to compare, with a run for every combination; a tuple is a value with
            commas: `(6, 16)`. In a list of dictionaries, the options of one dictionary vary together: the first value
            with the first, the second with the second.
        resume: continue the comparison in `out`.
        same_start: all runs start from the initial weights of the first one.
        tensorboard: each run writes its epochs to `tensorboard` in its subfolder.
        fast: same as `loop="fast"`.
        jobs: how many runs to train at a time; the cores of the machine are shared out among them.
        engine: `processes` of this machine, or `ray`.
        address: of the Ray cluster, or `auto`; without it, Ray is started on this machine.
        options: of `train`, with `_` for `-`: `batch_size=32`, `conv_channels=(6, 16)`.

    Raises:
        UserError: when a value or the data cannot be used, or the folder already holds runs. A run that fails raises
            nothing: its result has the reason.
    """
    if isinstance(backends, str):
        raise UserError(f"backends='{backends}', expected a list of names, as in [{backends!r}]")
    groups = [{name: values} for name, values in vary.items()] if isinstance(vary, Mapping) else vary or []
    checked = parse_vary([[_setting(name, values) for name, values in group.items()] for group in groups if group])
    options |= {"loop": "fast"} if fast else {}
    given = {name.replace("_", "-"): _text(value) for name, value in options.items() if value is not None}
    unknown = next((name for name in given if name not in OPTIONS), None)
    if unknown:
        raise UserError(f"option '{unknown}', expected one of {', '.join(OPTIONS)}")
    names = ",".join(backends) if backends else None
    chosen = SweepEngine(engine, jobs, address)
    return run_comparison(Path(out), names, checked, given, resume, same_start, tensorboard, chosen)


def _setting(name: str, values: Sequence[Any]) -> str:
    """A varying setting as on the command line: `pooling=avg,max`."""
    name = name.replace("_", "-")
    separator = OPTIONS[name].separator if name in OPTIONS else ","
    return f"{name}={separator.join(_text(value) for value in values)}"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def run_comparison(
    out: Path,
    backends: str | None,
    vary: list[VaryGroup],
    options: dict[str, Any],
    resume: bool,
    same_start: bool,
    tensorboard: bool,
    engine: SweepEngine = IN_TURN,
) -> Comparison:
    """Train the missing runs, examine the networks, and write the folder's files.

    Args:
        out: the folder.
        backends: names separated by commas, or `all`.
        vary: groups of options that vary together.
        options: the other options of `train`, as text.
        resume: whether to continue the comparison in the folder.
        same_start: whether all runs start from the same weights.
        tensorboard: whether each run writes for TensorBoard.
        engine: what trains the runs.

    Raises:
        UserError: as for `compare`.
        KeyboardInterrupt: on Ctrl-C; its text has the command that resumes the comparison.
    """
    if resume:
        stored_plan(out)  # before locking, which creates the folder
    require_engine(engine)
    with locked_comparison(out):
        return _run_locked(out, backends, vary, options, resume, same_start, tensorboard, engine)


def _run_locked(
    out: Path,
    backends: str | None,
    vary: list[VaryGroup],
    options: dict[str, Any],
    resume: bool,
    same_start: bool,
    tensorboard: bool,
    engine: SweepEngine,
) -> Comparison:
    """Run the comparison as the only process in its folder."""
    before = stored_plan(out) if resume else None
    if before:
        vary, same_start = vary or before.vary, same_start or before.same_start
        tensorboard = tensorboard or before.tensorboard
        kept = {name: value for name, value in before.options.items() if not any(name in group for group in vary)}
        options = kept | options
    names, left_out = (before.backends, ()) if before and backends is None else parse_backends(backends, vary)
    for name in names:
        if is_worker(name):
            raise UserError(
                f"{' and '.join(WORKER_VARIABLES[name])} make this process one of several workers, but each run of a "
                "comparison trains in one: unset them"
            )
    plan = Plan(list(names), vary, options, same_start, tensorboard)
    both = next((name for name in plan.varied if name in options), None)
    if both:
        raise UserError(f"--{both} and --vary {both} cannot be combined: omit --{both}")
    if same_start and "weights" in (*plan.varied, *options):
        raise UserError("--same-start and --weights cannot be combined: omit --same-start")
    if resume:
        rename_old_folders(out, plan)
    else:
        require_unused(out, same_start)

    # Before the first run starts, refuse what any run would refuse.
    if tensorboard:
        require_tensorboard()
    args_of = {spec.name: _parsed(plan, spec, out) for spec in plan.specs}
    first = args_of[plan.specs[0].name]
    dataset = dataset_from(first, DEFAULTS["dataset"], shape=shape_of_weights(first.weights))
    plan = replace(plan, options=options | {"dataset": dataset.name})
    digest = dataset.digest
    loops = {spec.folder: before.requested_loop(spec) for spec in before.specs} if before else {}
    found = {
        spec.name: existing_run(out, plan, spec, args_of[spec.name], dataset, digest, loops.get(spec.folder))
        for spec in plan.specs
    }
    for spec in plan.specs:
        if found[spec.name] is None:
            require_absent(out / spec.folder, (*OUTPUTS, EVENTS))
    networks = {name: run.architecture if run else network_for(args_of[name], dataset) for name, run in found.items()}
    for architecture in networks.values():
        require_fit(architecture, dataset)
    if same_start:
        require_same_start(out, before, found, networks)
    if before:
        _note_dropped_runs(before, plan)

    note_left_out(left_out)
    try:
        with opened(engine, digest) as train_cases:
            results = _train_all(plan, args_of, networks, found, out, train_cases)
        say("comparing the networks")
        return write_results(out, plan, results, dataset)
    except KeyboardInterrupt:
        words = [sys.executable, "-m", "lenet_multi.compare", "--resume", *option_words("out", out), *engine.words]
        raise KeyboardInterrupt(f"'{out}' keeps what was trained; continue with: {shlex.join(words)}") from None


def _note_dropped_runs(before: Plan, plan: Plan) -> None:
    folders = {spec.folder for spec in plan.specs}
    dropped = [spec.name for spec in before.specs if spec.folder not in folders]
    if dropped:
        say(f"note: no longer compared: {', '.join(dropped)}; the folders of these runs remain")


def _parsed(plan: Plan, spec: RunSpec, out: Path) -> argparse.Namespace:
    """The options of a run, parsed and checked as in `train`."""
    args = run_parser(PROG, "").parse_args(plan.arguments(spec, out))
    parse_device(args.device)
    return args


def _train_all(
    plan: Plan,
    args_of: Mapping[str, argparse.Namespace],
    networks: Mapping[str, Architecture],
    found: Mapping[str, Run | None],
    out: Path,
    train_cases: TrainCases,
) -> list[RunResult]:
    """Have the runs that are not complete trained, each in a process of its own."""
    results = [RunResult(spec) for spec in plan.specs]
    for name in RESULT_FILES:
        (out / name).unlink(missing_ok=True)
    save_progress(out, plan, results)
    if plan.same_start and not has_runs(out):
        _write_initial_weights(plan, args_of[plan.specs[0].name], networks[plan.specs[0].name], out)
    cases = [_case(plan, spec, args_of[spec.name], out, found[spec.name]) for spec in plan.specs]

    numbers = {spec.name: number for number, spec in enumerate(plan.specs)}

    def finished(case: Case, reason: str | None) -> None:
        if case.complete:
            with locked_run(case.folder):
                write_outputs(case.folder, case.complete)
        number = numbers[case.name]
        run = None if reason else case.complete or load_checkpoint(case.folder)[0]
        results[number] = RunResult(plan.specs[number], run, reason)
        if not case.complete:
            save_progress(out, plan, results)

    train_cases(cases, finished)
    save_progress(out, plan, results)
    return results


def _case(plan: Plan, spec: RunSpec, args: argparse.Namespace, out: Path, run: Run | None) -> Case:
    """A run as it is to be trained."""
    is_complete = run and run.epochs_done and run.epochs_done >= (args.epochs or run.settings.epochs)
    start = out / START if plan.same_start else None
    arguments = plan.arguments(spec, out, resume=run is not None, start=start)
    return Case(spec.name, out / spec.folder, arguments, run if is_complete else None)


def _write_initial_weights(plan: Plan, args: argparse.Namespace, architecture: Architecture, out: Path) -> None:
    """Write the initial weights of the first run.

    Raises:
        UserError: when its framework cannot make them.
    """
    first = plan.specs[0]
    require_installed(first.backend)
    say(f"drawing the initial weights of {first.name} for all runs")
    spec = {
        "backend": first.backend,
        "architecture": architecture.to_dict(),
        "seed": recipe(args, args.architecture)["seed"],
        "device": args.device,
    }
    reason = child_processes.run_in_process(
        [sys.executable, "-m", "lenet_multi.runs.initial_weights", "--", str(out / START), json.dumps(spec)]
    )
    if reason:
        raise UserError(f"--same-start: the initial weights of '{first.name}' cannot be drawn ({reason})")
