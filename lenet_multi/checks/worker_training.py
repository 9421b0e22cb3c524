"""Trains the fixture of check 12 as one of several workers, in a separate process.

    python -m lenet_multi.checks.worker_training FOLDER

FOLDER has `plan.json` and `arrays.npz`, which `distributed_checks` writes. Worker 0 adds `result.npz`: the running
means of the loss, and the final parameters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.data import Split
from lenet_multi.distributed.workers import joined_workers, serve
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, path_argument
from lenet_multi.training.recorder import Recorder

DATA = ("train", "test")


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser("python -m lenet_multi.checks.worker_training", "Train the fixture of check 12 as one worker.")
    parser.add_argument("folder", type=path_argument, metavar="FOLDER", help="has plan.json and arrays.npz")
    folder = parser.parse_args(argv).folder
    plan = json.loads((folder / "plan.json").read_text())
    serve(plan["backend"])
    arrays = dict(np.load(folder / "arrays.npz"))
    train_data, test_data = (Split(arrays.pop(f"{name} images"), arrays.pop(f"{name} labels")) for name in DATA)
    backend = load_backend(plan["backend"])
    with joined_workers(plan["backend"]) as workers:
        assert workers is not None
        device = workers.device(plan["device"], backend.available_devices())
        net = backend.LeNet(Architecture.from_dict(plan["architecture"]), device=device)
        backend.set_parameters(net, arrays)
        recorder = Recorder(reports_per_epoch=plan["reports_per_epoch"], is_quiet=True)
        workers.engine.train(net, train_data, test_data, **plan["options"], recorder=recorder)
        if workers.rank == 0:
            result: dict[str, Any] = dict(backend.get_parameters(net))  # Any: see where arrays.npz is written
            result["losses"] = np.array([point.train_loss for point in recorder.points])
            np.savez(folder / "result.npz", **result)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
