"""Writes a run to TensorBoard: the figures of each epoch, the settings, and the kernels of the first convolution.

Other writers import PyTorch or TensorFlow where installed, and write in a thread: a killed process loses events.
TensorBoard's messages need no framework. They are built here, and those of an epoch are appended to the file at once.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import Run
from lenet_multi.runs.weights import Parameters
from lenet_multi.training.points import Point
from lenet_multi.training.schedule import lr_schedule

EVENTS = "tensorboard"  # the folder's name
MAX_KERNELS, COLUMNS = 64, 8  # in the picture
SCALE = 8  # pixels for each weight


def require_tensorboard(needed_by: str = "--tensorboard") -> None:
    """Refuse to go on without TensorBoard.

    Args:
        needed_by: what needs it.

    Raises:
        UserError: when it is not installed; the message says how to install it.
    """
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError as problem:
        raise UserError(f'{needed_by} needs TensorBoard: pip install "lenet-multi[tensorboard]"') from problem


class EventLog:
    """What one process that trains a run writes for TensorBoard, with the number of the epoch as the step.

    Args:
        out: the run's folder; its subfolder `EVENTS` gets a new file.
        run: the run that this process continues.
        device: the device that it uses.

    Raises:
        UserError: when the file cannot be written.
    """

    def __init__(self, out: Path, run: Run, device: str) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self._path = out / EVENTS / f"events.out.tfevents.{int(time.time())}"
        self._settings, self._seconds = run.settings, 0.0
        first = run.epochs_done + 1
        settings = {
            "backend": run.backend,
            "loop": run.loop,
            "device": device,
            "architecture": run.architecture.to_dict(),
            **asdict(run.settings),
        }
        self._append(
            [
                Event(file_version="brain.Event:2"),
                # TensorBoard drops what it has of this step and later ones: an epoch whose checkpoint was not saved.
                Event(step=first, session_log=SessionLog(status=SessionLog.START)),
                Event(step=first, summary=_text("settings", json.dumps(settings, indent=2))),
            ]
        )

    def add_epoch(self, point: Point, seconds: float, parameters: Parameters) -> None:
        """Write an epoch.

        Args:
            point: its last point.
            seconds: training time of this process so far.
            parameters: the network's, in the canonical form.

        Raises:
            UserError: when the file cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = {
            "train_loss": point.train_loss,
            "train_acc": point.train_acc,
            "test_acc": point.test_acc,
            "examples_per_sec": self._settings.num_train / (seconds - self._seconds),
            "lr": next(lr for last_epoch, lr in lr_schedule(self._settings) if point.epoch <= last_epoch),
        }
        self._seconds = seconds
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        values += [_image(name, kernel_picture(value)) for name, value in parameters.items() if value.ndim == 4][:1]
        self._append([Event(step=round(point.epoch), summary=Summary(value=values))])

    def _append(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        content = io.BytesIO()
        for event in events:
            event.wall_time = time.time()
            RecordWriter(content).write(event.SerializeToString())
        try:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("ab") as file:
                file.write(content.getvalue())
        except OSError as problem:
            raise UserError(
                f"{self._path}: cannot be written ({problem.strerror}): choose a writable folder with free space"
            ) from problem


def kernel_picture(kernels: np.ndarray) -> np.ndarray:
    """Draw the first kernels of a convolution, side by side: gray is 0, darker is negative, lighter is positive.

    Args:
        kernels: float32 (out, in, height, width).

    Returns:
        Pixels, uint8 (H, W), with a white line around each kernel.
    """
    tiles = kernels.reshape(-1, *kernels.shape[2:])[:MAX_KERNELS]
    columns = min(COLUMNS, len(tiles))
    largest = float(np.abs(tiles).max()) or 1.0
    pixels = np.rint((tiles / largest + 1) * 127.5).astype(np.uint8).repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    pixels = np.pad(pixels, ((0, -len(pixels) % columns), (1, 1), (1, 1)), constant_values=255)
    rows = pixels.reshape(ceil(len(tiles) / columns), columns, *pixels.shape[1:]).swapaxes(1, 2)
    return rows.reshape(rows.shape[0] * rows.shape[1], -1)


def _text(tag: str, text: str) -> Any:
    """A summary with a text, which TensorBoard shows as it is: Markdown reads indented lines as code."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    code = "\n".join(f"    {line}" for line in text.splitlines())
    tensor = TensorProto(dtype=DT_STRING, string_val=[code.encode()])
    return Summary(value=[Summary.Value(tag=tag, metadata=create_summary_metadata("", ""), tensor=tensor)])


def _image(tag: str, pixels: np.ndarray) -> Any:
    """A value of a summary with a picture, from gray pixels uint8 (H, W)."""
    from PIL import Image  # matplotlib and TensorBoard need it too
    from tensorboard.compat.proto.summary_pb2 import Summary

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    height, width = pixels.shape
    picture = Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=content.getvalue())
    return Summary.Value(tag=tag, image=picture)
