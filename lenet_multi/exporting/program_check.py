"""Compares an exported program with the description and with the plain loop of its framework."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.backends.layouts import channels_first_shape
from lenet_multi.checks.float64_reference import forward
from lenet_multi.data import Split, load_dataset
from lenet_multi.data.dataset import MAX_CLASSES
from lenet_multi.data.idx import FILE_NAMES
from lenet_multi.errors import UserError
from lenet_multi.exporting.dialects import Line, load_dialect
from lenet_multi.exporting.fresh_process import outputs_of, require_equal
from lenet_multi.exporting.network import built_network
from lenet_multi.exporting.program_text import Pictures
from lenet_multi.runs.weights import Parameters
from lenet_multi.training.recorder import Recorder

# One epoch on random images: four batches of 10, one of 5. Few examples, to be quick. The small learning rate suits
# every network.
NUM_TRAIN, NUM_TEST, BATCH_SIZE, LR = 45, 10, 10, 0.01
TEST_FRACTION = 0.5  # of pictures; `run_program.py` sets it, too


def check_program(
    backend_name: str,
    architecture: Architecture,
    parameters: Parameters | None,
    seed: int,
    path: Path,
    X: np.ndarray,
    pictures: Pictures | None = None,
) -> float:
    """Run a program in a fresh process: shapes, logits, and an epoch of its training loop.

    Args:
        backend_name: the canonical name of its framework.
        architecture: the network.
        parameters: canonical ones, with which the program starts; without any, it starts with those of the plain loop.
        seed: of the initial weights and of the shuffling.
        path: the program.
        X: images (N, C, H, W), float32 in [0, 1].
        pictures: how it reads a folder of pictures; None for one that reads IDX files.

    Returns:
        The largest difference of the logits from the float64 reference, relative to the largest logit or 1.

    Raises:
        UserError: if the program computes something else.
    """
    backend, dialect = load_backend(backend_name), load_dialect(backend_name)
    net = built_network(backend_name, architecture, parameters, seed)
    logits = list(forward(architecture, backend.get_parameters(net), X).values())[-1]
    with TemporaryDirectory() as folder:
        if pictures:
            train_data, test_data = _write_pictures(Path(folder), architecture, pictures)
        else:
            train_data, test_data = _write_idx(Path(folder), architecture)
        expressions = dialect.images, dialect.layers, dialect.array
        found = outputs_of("run_program.py", path, X, folder, LR, BATCH_SIZE, seed, *expressions)
    _require_shapes(architecture, dialect.lines(architecture), backend.LAYOUT, found["shapes"])
    difference = require_equal("logits", found["logits"], logits)
    recorder = Recorder(show=lambda points: None)
    with redirect_stdout(None):
        backend.train(net, train_data, test_data, 1, LR, BATCH_SIZE, seed, recorder)
    require_equal("loss after an epoch", found["loss"], np.array(recorder.points[-1].train_loss))
    trained = list(backend.layer_outputs(net, X).values())[-1]
    require_equal("logits after an epoch", found["trained_logits"], trained)
    return difference


def _require_shapes(architecture: Architecture, lines: list[Line], layout: str, found: np.ndarray) -> None:
    shapes = [tuple(int(size) for size in row if size) for row in found]
    if len(shapes) != len(lines):
        raise UserError(
            f"the program has {len(shapes)} layers, expected {len(lines)}: nothing was written; report this"
        )
    for line, shape in zip(lines, shapes, strict=True):
        own = channels_first_shape(shape, layout)[1:]
        if line.layer and own != architecture.output_shapes[line.layer]:
            raise UserError(
                f"layer {line.layer} of the program has output shape {own}, expected "
                f"{architecture.output_shapes[line.layer]}: nothing was written; report this"
            )


def _write_idx(folder: Path, architecture: Architecture) -> tuple[Split, Split]:
    """Write random examples as IDX files; images of several channels have four dimensions."""
    splits = _random_split(architecture, NUM_TRAIN), _random_split(architecture, NUM_TEST)
    for part, data in zip(("train", "test"), splits, strict=True):
        for what, array in (("images", data.images), ("labels", data.labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / FILE_NAMES[f"{part} {what}"]).write_bytes(header + array.tobytes())
    return splits


def _random_split(architecture: Architecture, num_examples: int) -> Split:
    rng = np.random.default_rng(num_examples)
    images = rng.integers(0, 256, (num_examples, *architecture.input_shape), dtype=np.uint8)
    return Split(images, rng.integers(0, min(architecture.num_classes, MAX_CLASSES), num_examples, dtype=np.uint8))


def _write_pictures(folder: Path, architecture: Architecture, pictures: Pictures) -> tuple[Split, Split]:
    """Write random examples as PNG files in class folders, and read them as a training run reads them."""
    from PIL import Image

    num_classes = architecture.num_classes
    images = _random_split(architecture, max(NUM_TRAIN + NUM_TEST, 2 * num_classes)).images
    for i, image in enumerate(images):
        path = folder / f"{i % num_classes:03}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(path)
    with redirect_stderr(StringIO()):  # that says what it reads
        dataset = load_dataset(str(folder), test_fraction=TEST_FRACTION, split_seed=pictures.split_seed)
    return dataset.train, dataset.test
