"""The data and the network of a run, as its options and its weights file select them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from lenet_multi.architecture import Architecture
from lenet_multi.backends import canonical_name, default_backend
from lenet_multi.data import DATASETS, DataError, Dataset, is_image_folder, load_dataset
from lenet_multi.data.image_folder import has_test_folder
from lenet_multi.runs.checkpoint import load_run
from lenet_multi.runs.options import architecture_from, network_of
from lenet_multi.runs.weights import architecture_of, load_header
from lenet_multi.system.stderr import say
from lenet_multi.training.settings import Settings


def selected_backend(args: argparse.Namespace) -> str:
    """The canonical name of the backend that trains: the one that is given, a resumed run's, or the default."""
    if args.backend is None and args.resume and args.out:
        return load_run(args.out).backend
    return canonical_name(default_backend() if args.backend is None else args.backend)


def dataset_from(
    args: argparse.Namespace, name: str, run: Settings | None = None, shape: tuple[int, int, int] | None = None
) -> Dataset:
    """Load the data that the options select.

    Args:
        args: with the options in `DATA_OPTIONS`.
        name: the data set, if `--dataset` is not given.
        run: the settings of a run; from a folder of images, the same ones are held out again.
        shape: (C, H, W) of the network's input, which the pictures of a folder are converted to.

    Raises:
        DataError: as for `load_dataset`.
    """
    chosen = name if args.dataset is None else args.dataset
    fraction, seed = args.test_fraction, args.split_seed
    # `Path.is_dir` raises an error for a very long name.
    if run and chosen == run.dataset and chosen not in DATASETS and not os.path.isdir(chosen):  # noqa: PTH112
        raise DataError(f"the folder '{chosen[:200]}', which the network was trained on, is missing: pass --dataset")
    if run and run.test_fraction is not None and is_image_folder(chosen) and not has_test_folder(Path(chosen)):
        # The folder may have moved: its images are held out as in the run.
        fraction = run.test_fraction if fraction is None else fraction
        seed = run.split_seed if seed is None else seed
    if shape and is_image_folder(chosen):
        size = args.image_size or shape[1:]
        return load_dataset(chosen, args.data_dir, size, fraction, seed or 0, channels=shape[0])
    return load_dataset(chosen, args.data_dir, args.image_size, fraction, seed or 0)


def network_for(args: argparse.Namespace, dataset: Dataset) -> Architecture:
    """The network that a new run trains: the one in `--weights`, or the one that the options describe, for the data.

    Raises:
        UserError: when the file cannot be used, or the network cannot be built.
    """
    if not args.weights:
        return network_of(args).for_data(dataset.image_shape, dataset.num_classes)
    arrays, metadata = load_header(args.weights)
    given = architecture_from(args) if "architecture" in metadata else network_of(args)
    fitted = given.for_data(dataset.image_shape, dataset.num_classes) if given else None
    return architecture_of(args.weights, arrays, metadata, fitted)


def warn_of_other_classes(dataset: Dataset, class_names: Sequence[str]) -> None:
    """Say so if a network's outputs have other names than the classes of the data; without names nothing is said."""
    if class_names and dataset.class_names != tuple(class_names):
        say(
            f"warning: the classes of '{dataset.name}' are {', '.join(dataset.class_names)}, but the network was "
            f"trained on {', '.join(class_names)}"
        )


def shape_of_weights(path: Path | None) -> tuple[int, int, int] | None:
    """(C, H, W) of the images that the network in a weights file takes, if the file describes it.

    Raises:
        UserError: when the file cannot be read.
    """
    described = load_header(path)[1].get("architecture") if path else None
    return Architecture.from_dict(described).input_shape if described else None
