"""The folder of a comparison: its files, its lock, and the runs that it already holds."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import canonical_name
from lenet_multi.comparison.plan import OPTIONS, Plan, RunSpec
from lenet_multi.comparison.results import RunResult
from lenet_multi.data import Dataset
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, OLD_NAMES, Run, load_checkpoint
from lenet_multi.runs.options import architecture_from
from lenet_multi.runs.outputs import locked_run
from lenet_multi.runs.weights import load_header
from lenet_multi.system.atomic_files import require_absent, write_atomically
from lenet_multi.system.folder_lock import locked_folder
from lenet_multi.system.regular_files import open_regular
from lenet_multi.training.settings import Settings

COMPARISON, REPORT, CURVES_PNG, CURVES_SVG = "compare.json", "report.html", "curves.png", "curves.svg"
RESULT_FILES = (REPORT, CURVES_PNG, CURVES_SVG)  # written after all runs
START = "start.safetensors"  # the weights that all runs start from
MAX_PLAN = 2**20  # bytes at the start of compare.json that are read; a plan takes some hundred bytes


def locked_comparison(out: Path) -> AbstractContextManager[None]:
    """The folder of a comparison, created and locked as in `locked_folder`; its runs have locks of their own."""
    return locked_folder(out, (COMPARISON, *RESULT_FILES, START), title="--out")


def to_json(described: Mapping[str, Any]) -> bytes:
    """Indented JSON, but lists of numbers on one line: some hold a number per test example."""
    return ("".join(_json_parts(described, "\n")) + "\n").encode()


def _json_parts(value: Any, line: str) -> Iterator[str]:
    """The text of a value; `line` begins a line that is as deep as the value.

    `json.dumps` with an indent makes a string of every number: a thousand runs would take gigabytes.
    """
    deeper = line + "  "
    if isinstance(value, Mapping) and value:
        separator = "{"
        for name, item in value.items():
            yield f"{separator}{deeper}{json.dumps(name)}: "
            yield from _json_parts(item, deeper)
            separator = ","
        yield line + "}"
    elif isinstance(value, list | tuple) and not set(map(type, value)) <= {int, float, bool, NoneType}:
        separator = "["
        for item in value:
            yield separator + deeper
            yield from _json_parts(item, deeper)
            separator = ","
        yield line + "]"
    else:
        text = json.dumps(value)
        yield f"[ {text[1:-1]} ]" if text.startswith("[") and value else text


def save_progress(out: Path, plan: Plan, results: Sequence[RunResult]) -> None:
    """Write `compare.json` with the results so far."""
    write_atomically(
        out / COMPARISON, to_json({"plan": asdict(plan), "runs": [result.as_json() for result in results]})
    )


def stored_plan(out: Path) -> Plan | None:
    """The plan of the comparison in a folder; None if it holds runs only.

    It is the first value of `compare.json`. The results that follow it are not read: the runs have their own.

    Raises:
        UserError: when there is nothing to resume, or it cannot be read.
    """
    path = out / COMPARISON
    if not path.exists():
        if has_runs(out):
            return None
        raise UserError(f"--resume: '{out}' holds no {COMPARISON}, so there is no comparison to resume: omit --resume")
    try:
        with open_regular(path) as file:
            described = _plan_at_start(file.read(MAX_PLAN).decode(errors="replace"))
        names = [canonical_name(name) for name in described["backends"]]
        vary = described["vary"]
        if isinstance(vary, dict):  # written before options could vary together
            vary = [{name: values} for name, values in vary.items()]
        groups = [{_renamed(name): [_value(value) for value in values] for name, values in g.items()} for g in vary]
        options = {_renamed(name): _value(value) for name, value in described["options"].items()}
        # Other names, such as `help` and `out`, are options of `train` that a comparison does not pass on.
        if not names or not {*options, *chain(*groups)} <= OPTIONS.keys():
            raise ValueError("not the options of a comparison")
        for sizes in ({len(values) for values in group.values()} for group in groups):
            if len(sizes) != 1 or 0 in sizes:
                raise ValueError("options that vary together have as many values as each other")
        same_start, tensorboard = (bool(described.get(name, False)) for name in ("same_start", "tensorboard"))
        return Plan(names, groups, options, same_start, tensorboard)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise UserError(f"'{path}' is not a comparison file: move it away, or choose another --out") from problem


def _plan_at_start(text: str) -> Any:
    """The value of `plan` if a JSON object begins with it; else ValueError."""
    start = re.match(r'\s*\{\s*"plan"\s*:\s*', text)
    if start is None:
        raise ValueError("it does not begin with a plan")
    return json.JSONDecoder().raw_decode(text, start.end())[0]


def _value(value: Any) -> str:
    """The value of an option as on the command line; TypeError or ValueError if it cannot be one."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TypeError("the value of an option is text or a number")
    text = str(value)
    if "\0" in text:
        raise ValueError("no argument of a command holds a null byte")
    return text


def _renamed(option: str) -> str:
    """Today's name of an option."""
    return OLD_NAMES.get(option.replace("-", "_"), option).replace("_", "-")


def rename_old_folders(out: Path, plan: Plan) -> None:
    """Give the runs of an earlier version the folder names of today: these contain the names of options.

    Folder names of earlier versions may also end in dots.
    """
    old_names = {new: old.replace("_", "-") for old, new in OLD_NAMES.items()}
    for spec in plan.specs:
        old_folder = out / (spec.folder + spec.name[len(spec.name.rstrip(".")) :])
        for name in spec.varied:
            if old := old_names.get(name.replace("-", "_")):
                old_folder = out / old_folder.name.replace(name, old)
        if not (out / spec.folder).exists() and old_folder.is_dir():
            old_folder.rename(out / spec.folder)


def has_runs(out: Path) -> bool:
    return next(out.glob(f"*/{CHECKPOINT}"), None) is not None


def require_unused(out: Path, same_start: bool) -> None:
    """Refuse a folder that holds runs or files that would be overwritten; a comparison without runs may be replaced.

    Raises:
        UserError: when it is used.
    """
    if has_runs(out) or (out / CHECKPOINT).exists():
        raise UserError(f"--out '{out}' already holds runs: choose another folder, or pass --resume")
    before = stored_plan(out) if (out / COMPARISON).exists() else None
    require_absent(out, RESULT_FILES)
    if same_start and not (before and before.same_start):
        require_absent(out, [START])


def require_same_start(
    out: Path, before: Plan | None, found: Mapping[str, Run | None], networks: Mapping[str, Architecture]
) -> None:
    """Check that all runs can start, or started, from the same weights.

    Args:
        out: the comparison's folder.
        before: the plan that is resumed.
        found: by name, the runs that already exist.
        networks: by name, the network of each run.

    Raises:
        UserError: when runs started from other weights, the weights are missing, or a network has other parameters.
    """
    first, *others = networks
    if not others and not before:
        raise UserError("--same-start with a single run: compare at least two, or omit --same-start")
    expected, owner = networks[first].parameter_shapes, f"run '{first}'"
    if has_runs(out):
        if not (before and before.same_start):
            raise UserError(
                f"--same-start: the runs in '{out}' started from their own weights: omit --same-start, or choose "
                "another --out"
            )
        if None in found.values():
            if not (out / START).exists():
                raise UserError(
                    f"'{out / START}', the weights that the other runs started from, is missing: restore it, or choose "
                    "another --out"
                )
            expected = {name: array.shape for name, array in load_header(out / START)[0].items()}
            owner, others = f"'{out / START}'", list(networks)
    elif before and not before.same_start:
        require_absent(out, [START])
    for name in others:
        shapes = networks[name].parameter_shapes
        for parameter in dict.fromkeys([*shapes, *expected]):
            if shapes.get(parameter) != expected.get(parameter):
                has = f"has shape {shapes[parameter]}" if parameter in shapes else "is missing"
                raise UserError(
                    f"--same-start: {parameter} of run '{name}' {has}, expected {expected.get(parameter, 'none')} as "
                    f"in {owner}: omit --same-start, or compare networks with the same parameter shapes"
                )


def existing_run(
    out: Path,
    plan: Plan,
    spec: RunSpec,
    args: argparse.Namespace,
    dataset: Dataset,
    digest: str,
    loop_before: str | None,
) -> Run | None:
    """The run that the spec's folder already holds; None if there is none.

    Args:
        out: the comparison's folder.
        plan: the comparison.
        spec: the run.
        args: the options of the run, as `train` parses them.
        dataset: the data.
        digest: digest of the data.
        loop_before: the loop that the resumed comparison gave for this run.

    Raises:
        UserError: when its options differ from the run's, or another process is training it.
    """
    folder = out / spec.folder
    if not folder.is_dir():
        return None
    with locked_run(folder):  # a run of a killed comparison may still be ending
        if not (folder / CHECKPOINT).exists():
            return None
        run, _ = load_checkpoint(folder)
    trained_in = ", ".join(dict.fromkeys([*(segment.backend for segment in run.segments), run.backend]))
    if trained_in != spec.backend:
        raise UserError(
            f"the run in '{folder}' was trained in {trained_in}, not in {spec.backend}: choose another --out"
        )
    described = architecture_from(args)
    if described:
        described = described.for_data(dataset.image_shape, dataset.num_classes)
    given_and_actual: dict[str, tuple[Any, Any]] = {
        "dataset": ({"sha256": digest}, {"sha256": run.settings.data_sha256}),
        "network": (described or run.architecture, run.architecture),
    }
    for setting in fields(Settings):
        given, actual = getattr(args, setting.name, None), getattr(run.settings, setting.name)
        if setting.name != "dataset" and given is not None:
            expected = max(given, actual) if setting.name == "epochs" else actual
            given_and_actual[setting.name.replace("_", "-")] = (given, expected)
    # A run with --loop fast is recorded as plain if its network has no fast loop.
    if args.loop and not (args.loop == loop_before == "fast"):
        loops = ", ".join(dict.fromkeys([*(segment.loop for segment in run.segments), run.loop]))
        given_and_actual["loop"] = (args.loop, loops)
    for name, (given, actual) in given_and_actual.items():
        if given != actual:
            if isinstance(given, str | int | float):
                actual_text = f"no {name}" if actual is None else f"{name} {actual}"
                difference = (
                    f"{plan.option_text(name)} {given} differs from the run in '{folder}', which has {actual_text}"
                )
            else:
                difference = f"the {name} differs from that of the run in '{folder}'"
            raise UserError(f"{difference}: omit the option, or choose another --out")
    return run
