"""`train --keep-epochs`: the parameters after every epoch, and before the first, each in a file of its own.

The files stand in the subfolder `epochs` of the run, as `epoch-0000.safetensors` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import Run
from lenet_multi.runs.weights import Parameters, save_weights
from lenet_multi.system.atomic_files import CreatedFolder, remove_temporary_files, require_absent

EPOCHS = "epochs"  # the folder's name
NAME = re.compile(r"epoch-([0-9]{4,5})\.safetensors")  # of a run's 10,000 epochs at most


def require_no_kept_epochs(out: Path) -> None:
    """Refuse a folder that holds epochs of another run. An empty `epochs` is what a run leaves that is killed at once.

    Raises:
        UserError: when it does.
    """
    if not (out / EPOCHS).is_dir() or any((out / EPOCHS).iterdir()):
        require_absent(out, [EPOCHS])


@contextmanager
def epochs_folder(out: Path, run: Run) -> Iterator[None]:
    """Create the folder for the epochs of a run, and remove what killed processes left in it.

    If the block raises, the folder is removed again if it is empty.

    Args:
        out: the run's folder, which this process has locked.
        run: the run that this process continues.

    Raises:
        UserError: when the folder cannot be created.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(CreatedFolder(out / EPOCHS))
        except OSError as problem:
            raise UserError(
                f"'{out / EPOCHS}' cannot be created ({problem.strerror}): remove what is in its place"
            ) from problem
        # A process writes an epoch when the one before is in the checkpoint, and the current one when it starts.
        names = [epoch_path(out, epoch).name for epoch in (0, run.epochs_done, run.epochs_done + 1)]
        remove_temporary_files(out / EPOCHS, names)
        yield


def keep_epoch(out: Path, run: Run, epoch: int, parameters: Parameters) -> None:
    """Write the parameters after an epoch, completely or not at all.

    Raises:
        UserError: when the file cannot be written.
    """
    save_weights(epoch_path(out, epoch), parameters, {"architecture": run.architecture.to_dict()})


def epoch_path(out: Path, epoch: int) -> Path:
    """The file of an epoch; 0 is before the first."""
    return out / EPOCHS / f"epoch-{epoch:04d}.safetensors"


def kept_epochs(out: Path) -> dict[int, Path]:
    """The files of a run's epochs by number, in order; none if it keeps no epochs."""
    folder = out / EPOCHS
    found = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    numbers = {int(match[1]): path for name, path in found.items() if (match := NAME.fullmatch(name))}
    return dict(sorted(numbers.items()))
