"""The files that a run derives from its checkpoint: `summary.json`, `history.csv` and `curves.png`."""

from __future__ import annotations

import csv
import io
import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lenet_multi.backends import BACKENDS
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, Run, load_run
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.folder_lock import locked_folder
from lenet_multi.system.names import readable
from lenet_multi.system.signals import ignore_sigint
from lenet_multi.training.curves import draw_curves, png, write_figure

SUMMARY, HISTORY, CURVES = "summary.json", "history.csv", "curves.png"
OUTPUTS = (SUMMARY, HISTORY, CURVES)


def locked_run(folder: Path) -> AbstractContextManager[None]:
    """The folder of a run, created and locked as in `locked_folder`: only one process may write to it."""
    return locked_folder(folder, (CHECKPOINT, *OUTPUTS), title="--out")


def write_outputs(folder: Path, run: Run) -> None:
    """Write summary, history and curves; a run without a complete epoch has none of them yet.

    Curves that cannot be drawn cost a warning, and nothing else.
    """
    if not run.segments:
        return
    with ignore_sigint():
        write_atomically(folder / HISTORY, history(run).encode())
        write_atomically(folder / SUMMARY, (json.dumps(summary(run), indent=2) + "\n").encode())
        write_figure(folder / CURVES, lambda: png(draw_curves(run.points, run.epochs_done, title(run))))


def summary(run: Run) -> dict[str, Any]:
    """The content of `summary.json`. Times, speed and memory are those of the last segment."""
    last, segment = run.points[-1], run.segments[-1]
    return {
        "backend": segment.backend,
        "framework": segment.framework,
        "framework_version": segment.framework_version,
        "loop": segment.loop,
        "device": segment.device,
        "architecture": run.architecture.to_dict(),
        "parameters": run.architecture.num_parameters,
        **asdict(run.settings),
        "dataset": readable(run.settings.dataset),
        "epochs": run.epochs_done,
        "loss": last.train_loss,
        "train_acc": last.train_acc,
        "test_acc": last.test_acc,
        "examples_per_sec": segment.examples_per_sec,
        "wall_seconds": segment.wall_seconds,
        "startup_seconds": segment.startup_seconds,
        "peak_rss_mb": segment.peak_rss_mb,
        "segments": [asdict(segment) for segment in run.segments],
    }


def history(run: Run) -> str:
    """The content of `history.csv`."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["epoch", "train_loss", "train_acc", "test_acc"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(point) for point in run.points)
    return table.getvalue()


def title(run: Run) -> str:
    """The title of `curves.png`."""
    frameworks = ", then ".join(dict.fromkeys(BACKENDS[segment.backend] for segment in run.segments))
    return f"LeNet in {frameworks} on {Path(run.settings.dataset).name}"


def require_unchanged(out: Path | None, run: Run, resumed: bool) -> None:
    """Refuse a folder that another process has written to before this one locked it.

    Args:
        out: the folder; None if nothing is saved.
        run: the run before it is trained.
        resumed: whether the folder should hold it.

    Raises:
        UserError: if it has.
    """
    if out and (out / CHECKPOINT).exists() != resumed:
        raise UserError(f"another process is already using '{out}': choose another folder")
    if out and resumed and load_run(out).epochs_done != run.epochs_done:
        raise UserError(f"another process has continued the run in '{out}': start again")


def remove_outputs(folder: Path) -> None:
    """Remove the files that were derived from an earlier checkpoint, before the run continues.

    Raises:
        UserError: when a folder has the name of one of the run's files.
    """
    for name in (CHECKPOINT, *OUTPUTS):
        if (folder / name).is_dir():
            raise UserError(f"'{folder / name}' is a folder, but the run writes a file of that name: remove the folder")
        if name != CHECKPOINT:
            (folder / name).unlink(missing_ok=True)
