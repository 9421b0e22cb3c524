"""Makes the folders of a comparison of many runs from one trained run, without training the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lenet_multi.architecture import Pool
from lenet_multi.comparison.plan import Plan, RunSpec
from lenet_multi.comparison.results import RunResult
from lenet_multi.runs.checkpoint import Run, load_checkpoint, save_checkpoint
from lenet_multi.training.points import Point

EPOCHS = 10
REPORTS = 5  # points per epoch


def plan_of_many(count: int, dataset: str) -> Plan:
    """Two poolings and four learning rates, with seeds to make up `count` runs, a multiple of 8."""
    assert count % 8 == 0
    seeds = [str(seed) for seed in range(count // 8)]
    vary = [{"pooling": ["avg", "max"]}, {"lr": ["0.05", "0.5", "0.9", "0.1"]}, {"seed": seeds}]
    return Plan(["torch"], vary, {"dataset": dataset, "epochs": str(EPOCHS)})


def curve(rng: np.random.Generator, rate: float, last: float) -> list[Point]:
    """Made-up points of a training that ends with this test accuracy."""
    points = []
    for number in range(1, EPOCHS * REPORTS + 1):
        epoch = number / REPORTS
        loss = 0.4 + 1.9 * np.exp(-epoch * (0.3 + rate)) + rng.normal(0, 0.02)
        accuracy = last * (1 - np.exp(-epoch * (0.5 + rate)))
        points.append(Point(epoch, float(loss), float(accuracy), None if number % REPORTS else float(accuracy)))
    points[-1].test_acc = last
    return points


def variant(run: Run, spec: RunSpec, number: int) -> Run:
    """The run as if it had been trained with these settings."""
    rng = np.random.default_rng(number)
    lr, pooling = float(spec.varied["lr"]), spec.varied["pooling"]
    layers = run.architecture.layers
    return replace(
        run,
        architecture=replace(
            run.architecture,
            layers=tuple(replace(layer, kind=pooling) if isinstance(layer, Pool) else layer for layer in layers),
        ),
        settings=replace(run.settings, lr=lr, seed=int(spec.varied["seed"]), epochs=EPOCHS),
        points=curve(rng, lr, round(0.6 + 0.3 * rng.random(), 4)),
        segments=[replace(run.segments[-1], epochs_done=EPOCHS, examples_per_sec=float(rng.uniform(900, 12000)))],
    )


def write_many_runs(trained: Path, out: Path, count: int) -> tuple[Plan, list[RunResult]]:
    """Write the folders of `count` complete runs: the weights differ by noise, and the curves are made up.

    Args:
        trained: the folder of a run in PyTorch.
        out: the folder of the comparison.
        count: a multiple of 8.

    Returns:
        The plan, and the results of its runs.
    """
    run, parameters = load_checkpoint(trained)
    plan = plan_of_many(count, run.settings.dataset)
    results = [RunResult(spec, variant(run, spec, number)) for number, spec in enumerate(plan.specs)]
    for number, result in enumerate(results):
        assert result.run
        rng = np.random.default_rng(number)
        noise = {name: rng.normal(0, 0.02, value.shape).astype(value.dtype) for name, value in parameters.items()}
        (out / result.spec.folder).mkdir(parents=True)
        changed = {name: value + noise[name] for name, value in parameters.items()}
        save_checkpoint(out / result.spec.folder, result.run, changed)
    return plan, results
