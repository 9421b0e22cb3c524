"""Train LeNet in one of the frameworks.

    python -m lenet_multi.train --backend torch
    python -m lenet_multi.train --backend mxnet --dataset fashion-mnist --out runs/mxnet
    python -m lenet_multi.train --out runs/mxnet --resume --epochs 20 --backend tensorflow
    python -m lenet_multi.train --backend torch --fast

Standard output ends with the chapter's two lines: loss and accuracies, then speed and device.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from lenet_multi.backends.devices import parse_device
from lenet_multi.runs.options import run_parser
from lenet_multi.runs.trainer import run_training
from lenet_multi.system.command import run_command
from lenet_multi.training.recorder import AfterEpoch


def command(argv: Sequence[str] | None = None, after_epoch: AfterEpoch | None = None) -> None:
    args = run_parser("python -m lenet_multi.train", "Train LeNet in one of the frameworks.").parse_args(argv)
    parse_device(args.device)
    run_training(args, after_epoch)


def main(argv: Sequence[str] | None = None, after_epoch: AfterEpoch | None = None) -> int:
    """Run the command and return its exit status.

    Args:
        argv: its arguments; those of this process when None.
        after_epoch: as for `training.recorder.Recorder`: called after each epoch, it may stop the run.
    """
    return run_command(partial(command, after_epoch=after_epoch), argv)


if __name__ == "__main__":
    sys.exit(main())
