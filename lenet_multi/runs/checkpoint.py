"""A training run and its checkpoint.

A run's folder holds `model.safetensors`: the parameters after the last complete epoch and, in its metadata, everything
else about the run. The other files (`runs.outputs`) are derived from it at the end of the run, so a killed run is in
the state of its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import BACKENDS, LOOPS
from lenet_multi.backends.sharing import jobs_at_a_time, node_name
from lenet_multi.errors import UserError
from lenet_multi.runs.weights import (
    CHECKPOINT,
    DESCRIBED,
    Arrays,
    Parameters,
    WeightsError,
    load_header,
    load_weights,
    require_fit,
    save_weights,
)
from lenet_multi.system.process import peak_rss_mb
from lenet_multi.training.points import Point
from lenet_multi.training.settings import Settings

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend
    from lenet_multi.training.recorder import Recorder

DEFAULT_LOOP = "fast"  # for runs whose files name no loop: earlier versions had only the fast one
# Names that earlier versions wrote, and the names that replaced them.
OLD_NAMES = {"lr_drop": "lr_decay_epoch", "legs": "segments"}
# Numbers that a run can hold. Larger ones cannot be drawn, and overflow in a framework.
LARGEST_INT, LARGEST_FLOAT = 2**32, 3.5e38  # above the seeds and the float32 numbers
# An epoch adds up to 700 bytes to the header of the checkpoint, and 500 more if it is a segment of its own. With the
# description of the network, this many have fewer than `MAX_HEADER`.
MAX_EPOCHS = 10_000


@dataclass(frozen=True)
class Segment:
    """The part of a run that one process trained: epochs `first_epoch` (counted from 0) to before `epochs_done`.

    `jobs` runs were trained at a time on its machine: with more than 1, times and speed are those of a shared machine.
    `node` names a machine of a cluster; it is empty for the machine that ran the command. `workers` processes trained
    it together; time, speed and memory are those of worker 0.
    """

    backend: str
    framework: str
    framework_version: str
    device: str
    first_epoch: int
    epochs_done: int
    examples_per_sec: float
    wall_seconds: float
    startup_seconds: float
    peak_rss_mb: float | None  # None on Windows
    loop: str
    jobs: int = 1
    node: str = ""
    workers: int = 1

    @property
    def is_shared(self) -> bool:
        return self.jobs > 1


@dataclass(frozen=True)
class Run:
    """The state of a run; `backend` and `loop` (one of `LOOPS`) are those that train it now, or trained it last.

    `class_names` names the network's outputs; it is empty in the files of earlier versions.
    """

    architecture: Architecture
    settings: Settings
    backend: str
    loop: str
    points: list[Point] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    class_names: tuple[str, ...] = ()

    @property
    def epochs_done(self) -> int:
        return self.segments[-1].epochs_done if self.segments else 0


def finished_segment(run: Run, backend: Backend, device: str, recorder: Recorder, workers: int = 1) -> Segment:
    """What this process, one of so many `workers`, has trained so far, continuing `run`."""
    peak = peak_rss_mb()
    return Segment(
        backend=run.backend,
        framework=backend.FRAMEWORK,
        framework_version=backend.VERSION,
        device=device,
        first_epoch=run.epochs_done,
        epochs_done=recorder.epochs_done,
        examples_per_sec=round(recorder.examples_per_sec, 1),
        wall_seconds=round(recorder.wall_seconds, 3),
        startup_seconds=round(recorder.startup_seconds or 0.0, 3),
        peak_rss_mb=None if peak is None else round(peak, 1),
        loop=run.loop,
        jobs=jobs_at_a_time(),
        node=node_name(),
        workers=workers,
    )


def save_checkpoint(folder: Path, run: Run, parameters: Parameters) -> None:
    """Write the state of the run, completely or not at all."""
    described = {
        "settings": asdict(run.settings),
        "backend": run.backend,
        "loop": run.loop,
        "class_names": list(run.class_names),
        "points": [asdict(point) for point in run.points],
        "segments": [asdict(segment) for segment in run.segments],
    }
    save_weights(folder / CHECKPOINT, parameters, {"architecture": run.architecture.to_dict(), "run": described})


def load_checkpoint(folder: Path) -> tuple[Run, Parameters]:
    """Read a run and its parameters.

    Raises:
        UserError: when the folder holds no run, its checkpoint is damaged, or the parameters are not those of the
            network that it describes.
    """
    run, arrays = _read(folder)
    require_fit(arrays, run.architecture, folder / CHECKPOINT, DESCRIBED)
    return run, load_weights(folder / CHECKPOINT)[0]


def load_run(folder: Path) -> Run:
    """Read a run without its parameters, which may be those of another network: one changed in the backend's code.

    Raises:
        UserError: when the folder holds no run, or its checkpoint is damaged.
    """
    return _read(folder)[0]


def require_run(folder: Path) -> None:
    """Refuse a folder without a checkpoint.

    Raises:
        UserError: when there is none.
    """
    if not (folder / CHECKPOINT).is_file():
        advice = "omit --resume"
        if next(folder.glob(f"*/{CHECKPOINT}"), None):
            advice = "for a comparison, use python -m lenet_multi.compare --resume"
        raise UserError(f"--resume: '{folder}' holds no {CHECKPOINT}, so there is no run to resume: {advice}")


def data_of(metadata: Mapping[str, Any], architecture: Architecture) -> tuple[Settings | None, tuple[str, ...]]:
    """What the metadata of a weights file tells of the data: the run's settings, and the names of the classes.

    They are None and empty where the file does not tell, as if it is not of a run.
    """
    described = metadata.get("run", {})
    try:
        settings = _checked(Settings, _renamed(described["settings"]))
        names = tuple(described.get("class_names", ()))
        known = len(names) == architecture.num_classes and all(isinstance(name, str) for name in names)
        return settings, names if known else ()
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, ()


def run_of(metadata: Mapping[str, Any]) -> Run | None:
    """The run that the metadata of a weights file describes; None if it describes none."""
    try:
        return _described_run(metadata)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _read(folder: Path) -> tuple[Run, Arrays]:
    require_run(folder)
    path = folder / CHECKPOINT
    arrays, metadata = load_header(path)
    try:
        return _described_run(metadata), arrays
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise WeightsError(
            f"'{path}' does not describe a training run: to start from its parameters, use --weights"
        ) from problem


def _described_run(metadata: Mapping[str, Any]) -> Run:
    described = _renamed(metadata["run"])
    run = Run(
        Architecture.from_dict(metadata["architecture"]),
        _checked(Settings, _renamed(described["settings"])),
        described["backend"],
        described.get("loop", DEFAULT_LOOP),
        [_checked(Point, point) for point in described["points"]],
        [_checked(Segment, {"loop": DEFAULT_LOOP} | segment) for segment in described["segments"]],
        tuple(described.get("class_names", ())),
    )
    _require_consistent(run)
    return run


def _renamed(described: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under today's names."""
    return {OLD_NAMES.get(name, name): value for name, value in described.items()}


def _checked(kind: type[Any], values: Any) -> Any:
    """A dataclass from JSON values; TypeError if a field has another type."""
    types: dict[str, Any] = {"str": str, "int": int, "float": (int, float)}
    types |= {"int | None": (int, type(None)), "float | None": (int, float, type(None))}
    made = kind(**values)
    for described in fields(kind):
        value = getattr(made, described.name)
        if not isinstance(value, types[str(described.type)]) or isinstance(value, bool):
            raise TypeError(f"{described.name} has another type")
        largest = LARGEST_INT if str(described.type).startswith("int") else LARGEST_FLOAT
        if isinstance(value, int | float) and not abs(value) < largest:  # NaN is not below it either
            raise ValueError(f"{described.name} is too large")
    return made


def _require_consistent(run: Run) -> None:
    """ValueError if the parts contradict each other, or training could not use them."""
    settings, last = run.settings, run.points[-1] if run.points else None
    consistent = (
        run.backend in BACKENDS
        and all(loop in LOOPS for loop in (run.loop, *(segment.loop for segment in run.segments)))
        and settings.lr > 0
        and (settings.lr_decay_epoch is None or settings.lr_decay_epoch > 0)
        and settings.batch_size > 0
        and settings.seed >= 0
        and settings.split_seed >= 0
        and (settings.test_fraction is None or 0 < settings.test_fraction < 1)
        and all(isinstance(name, str) for name in run.class_names)
        and len(run.class_names) in (0, run.architecture.num_classes)
        and 0 <= run.epochs_done <= settings.epochs
        and bool(run.points) == bool(run.segments)
        and (last is None or (last.test_acc is not None and last.epoch == run.epochs_done))
        and all(0 <= point.epoch <= run.epochs_done for point in run.points)
        and all(segment.backend in BACKENDS for segment in run.segments)
        # These are printed to standard output.
        and all((segment.device + segment.node).isprintable() for segment in run.segments)
        and all(segment.jobs >= 1 and segment.workers >= 1 for segment in run.segments)
    )
    if not consistent:
        raise ValueError("the parts of the run contradict each other")
