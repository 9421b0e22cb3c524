"""The end of a comparison: runs the trained networks on the test set, examines them, and writes the folder's files."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path

from lenet_multi.backends import installed_backends, packages_of
from lenet_multi.comparison.findings import ComparedNetwork, examine, predictions_and_confidence
from lenet_multi.comparison.folder import COMPARISON, CURVES_PNG, CURVES_SVG, REPORT, to_json
from lenet_multi.comparison.page import page
from lenet_multi.comparison.plan import Plan
from lenet_multi.comparison.results import Comparison, RunResult
from lenet_multi.data import Dataset
from lenet_multi.pictures.canvas import svg
from lenet_multi.runs.checkpoint import load_checkpoint
from lenet_multi.runs.prediction import logits_of
from lenet_multi.runs.weights import Parameters
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.machine import describe_machine
from lenet_multi.system.names import readable
from lenet_multi.system.signals import ignore_sigint
from lenet_multi.system.stderr import say
from lenet_multi.training.curves import png, write_figure

PROGRESS = 100  # networks after which a line says how far it is
# Networks after which their memory is freed. Those of MXNet hold themselves, and Python sees only how small their
# Python objects are: a thousand of them would take gigabytes before it looks for such circles.
FREED = 50


def write_results(out: Path, plan: Plan, results: list[RunResult], dataset: Dataset) -> Comparison:
    """Run the trained networks on the test set, examine them, and write the files.

    A run whose network cannot be run becomes a failed one in `results`.
    """
    networks = []
    for number, result in enumerate(results):
        if number and number % PROGRESS == 0:
            say(f"[{number:,}/{len(results):,}] networks have been run on the test set")
        if number % FREED == 0:
            gc.collect()
        if result.run is None:
            continue
        spec = result.spec
        run, parameters = load_checkpoint(out / spec.folder)
        try:
            device = plan.options.get("device", spec.varied.get("device", "auto"))
            logits = logits_of(spec.backend, run.architecture, parameters, dataset.test, device)
        except Exception as problem:  # whatever a framework raises, keep the other results
            reason = f"trained, but cannot be run: {type(problem).__name__}: {' '.join(str(problem).split())}"
            results[number] = RunResult(spec, reason=reason)
            continue
        networks.append(
            ComparedNetwork(
                spec.name,
                spec.title,
                spec.backend,
                run.architecture,
                partial(_parameters, out / spec.folder),
                run.points,
                run.settings.lr,
                *predictions_and_confidence(logits),
            )
        )
    comparison = Comparison(out, plan, results, examine(networks, dataset), describe_machine(*_packages(plan)))
    with ignore_sigint():
        write_atomically(out / COMPARISON, to_json(comparison.as_json()))
        if networks:
            write_figure(out / CURVES_PNG, lambda: png(comparison.figure()))
            write_figure(out / CURVES_SVG, lambda: svg(comparison.figure(), {"Title": plan.title}))
            write_atomically(out / REPORT, readable(page(comparison)).encode())
    return comparison


def _parameters(folder: Path) -> Parameters:
    return load_checkpoint(folder)[1]


def _packages(plan: Plan) -> list[str]:
    """The packages whose versions affect the figures."""
    installed = [name for name in plan.backends if name in installed_backends()]
    return [*packages_of(*installed), "numpy"]
