"""A training run on disk: its checkpoint, how it goes on, and what it leaves behind.

A run's folder holds `model.safetensors`: the parameters after the last whole epoch and, in its metadata, everything
else there is to know of the run. The other files (`summary.json`, `history.csv`, `curves.png`) are derived from it
when the run ends, so that one rename decides what a killed run has reached.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import BACKENDS, LOOPS
from lenet_multi.cli import some_path
from lenet_multi.curves import draw_curves, png
from lenet_multi.data import Dataset
from lenet_multi.errors import UserError
from lenet_multi.files import part_of, uninterrupted, write_whole
from lenet_multi.recorder import Point
from lenet_multi.weights import Parameters, WeightsError, load_weights, require_fit, save_weights

CHECKPOINT, SUMMARY, HISTORY, CURVES = "model.safetensors", "summary.json", "history.csv", "curves.png"
OUTPUTS = (SUMMARY, HISTORY, CURVES)  # derived from the checkpoint
BEFORE_LOOPS = "fast"  # what trained the runs whose files do not name their loop


@dataclass(frozen=True)
class Settings:
    """What makes a run the run it is; only `epochs` may grow when it goes on."""

    dataset: str
    data_sha256: str
    num_train: int
    num_test: int
    epochs: int
    batch_size: int
    lr: float
    seed: int
    lr_drop: int | None = None  # after so many epochs, a tenth of `lr`


@dataclass(frozen=True)
class Leg:
    """The part of a run that one process trained: epochs `first_epoch` (counted from 0) to before `epochs_done`."""

    backend: str
    framework: str
    framework_version: str
    device: str
    first_epoch: int
    epochs_done: int
    examples_per_sec: float
    wall_seconds: float
    startup_seconds: float
    peak_rss_mb: float
    loop: str


@dataclass(frozen=True)
class Run:
    """A run as far as it has come; `backend` and `loop` (of `LOOPS`) are those that train it now or did last."""

    architecture: Architecture
    settings: Settings
    backend: str
    loop: str
    points: list[Point] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)

    @property
    def epochs_done(self) -> int:
        return self.legs[-1].epochs_done if self.legs else 0


def data_digest(dataset: Dataset) -> str:
    """SHA-256 over the images and labels: two runs with the same digest saw the same data."""
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        digest.update(split.images.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()


def save_checkpoint(folder: Path, run: Run, parameters: Parameters) -> None:
    """Write the run as far as it has come, whole or not at all."""
    described = {
        "settings": asdict(run.settings),
        "backend": run.backend,
        "loop": run.loop,
        "points": [asdict(point) for point in run.points],
        "legs": [asdict(leg) for leg in run.legs],
    }
    save_weights(folder / CHECKPOINT, parameters, {"architecture": run.architecture.to_dict(), "run": described})


def load_checkpoint(folder: Path) -> tuple[Run, Parameters]:
    """Read a run back.

    Raises:
        UserError: when the folder holds no run, or its checkpoint is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise UserError(f"--resume: '{folder}' holds no {CHECKPOINT}, expected a run to go on with: leave --resume out")
    parameters, metadata = load_weights(path)
    try:
        described = metadata["run"]
        run = Run(
            Architecture.from_dict(metadata["architecture"]),
            _checked(Settings, described["settings"]),
            described["backend"],
            described.get("loop", BEFORE_LOOPS),
            [_checked(Point, point) for point in described["points"]],
            [_checked(Leg, {"loop": BEFORE_LOOPS} | leg) for leg in described["legs"]],
        )
        _require_sound(run)
    except (KeyError, TypeError, ValueError) as problem:
        raise WeightsError(f"'{path}' tells of no run, expected one left by a training run: use --weights") from problem
    require_fit(parameters, run.architecture, path)
    return run, parameters


def _checked(kind: type[Any], values: Any) -> Any:
    """A dataclass from what JSON gave, each field of its type; TypeError where one is not."""
    types: dict[str, Any] = {"str": str, "int": int, "float": (int, float)}
    types |= {"int | None": (int, type(None)), "float | None": (int, float, type(None))}
    made = kind(**values)
    for described in fields(kind):
        value = getattr(made, described.name)
        if not isinstance(value, types[str(described.type)]) or isinstance(value, bool):
            raise TypeError(f"{described.name} is {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{described.name} is {value}")
    return made


def _require_sound(run: Run) -> None:
    """ValueError where the parts contradict one another, or training could not use them."""
    settings, last = run.settings, run.points[-1] if run.points else None
    sound = (
        run.backend in BACKENDS
        and all(loop in LOOPS for loop in (run.loop, *(leg.loop for leg in run.legs)))
        and settings.lr > 0
        and (settings.lr_drop is None or settings.lr_drop > 0)
        and settings.batch_size > 0
        and settings.seed >= 0
        and 0 <= run.epochs_done <= settings.epochs
        and bool(run.points) == bool(run.legs)
        and (last is None or (last.test_acc is not None and last.epoch == run.epochs_done))
    )
    if not sound:
        raise ValueError("the run's parts contradict one another")


def summary(run: Run) -> dict[str, Any]:
    """What `summary.json` holds. Times, speed and memory are those of the last leg."""
    last, leg = run.points[-1], run.legs[-1]
    return {
        "backend": leg.backend,
        "framework": leg.framework,
        "framework_version": leg.framework_version,
        "loop": leg.loop,
        "device": leg.device,
        "architecture": run.architecture.to_dict(),
        "parameters": run.architecture.num_parameters,
        **asdict(run.settings),
        "epochs": run.epochs_done,
        "loss": last.train_loss,
        "train_acc": last.train_acc,
        "test_acc": last.test_acc,
        "examples_per_sec": leg.examples_per_sec,
        "wall_seconds": leg.wall_seconds,
        "startup_seconds": leg.startup_seconds,
        "peak_rss_mb": leg.peak_rss_mb,
        "legs": [asdict(leg) for leg in run.legs],
    }


def write_outputs(folder: Path) -> None:
    """Derive summary, history and curves from the checkpoint; a run without a whole epoch has none yet."""
    run, _ = load_checkpoint(folder)
    if not run.points:
        return
    with uninterrupted():
        _write_outputs(folder, run)


def _write_outputs(folder: Path, run: Run) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["epoch", "train_loss", "train_acc", "test_acc"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(point) for point in run.points)
    backends = ", then ".join(dict.fromkeys(leg.backend for leg in run.legs))
    title = f"LeNet in {backends} on {Path(run.settings.dataset).name}"
    write_whole(folder / HISTORY, table.getvalue().encode())
    write_whole(folder / CURVES, png(draw_curves(run.points, run.epochs_done, title)))
    write_whole(folder / SUMMARY, (json.dumps(summary(run), indent=2) + "\n").encode())


def weights_path(text: str) -> Path:
    """The argument of `--weights`: a file with parameters, or the folder of a run for the file in it."""
    path = some_path(text)
    return path / CHECKPOINT if path.is_dir() else path


def require_free(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which a file would be written over.

    Raises:
        UserError: when one of these names is taken.
    """
    taken = next((name for name in names if (folder / name).exists()), None)
    if taken:
        raise UserError(f"--out '{folder}' holds {taken} already, expected a folder without: choose another")


def remove_outputs(folder: Path) -> None:
    """Take away what is derived from an earlier checkpoint, for the run is about to go on.

    Raises:
        UserError: when what stands in a file's place cannot be taken away or written over.
    """
    for name in (CHECKPOINT, *OUTPUTS):
        for path in (folder / name, part_of(folder / name)):
            if path.is_dir():
                raise UserError(f"'{path}' is a folder, expected a file or nothing there: take it away")
        if name != CHECKPOINT:
            (folder / name).unlink(missing_ok=True)
