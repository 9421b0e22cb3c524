"""A trained network from a file or a run, and its accuracy on a test set."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.data import DATASETS, BatchSampler, Dataset, load_dataset, require_images_fit
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.options import architecture_from
from lenet_multi.runs.weights import Parameters, load_network
from lenet_multi.system.stderr import say


@dataclass(frozen=True)
class TrainedNetwork:
    """Parameters, the network that they belong to, and the data that it is tested on.

    Args:
        architecture: the network.
        parameters: canonical ones.
        dataset_name: as for `load_dataset`.
        data_dir: likewise.
    """

    architecture: Architecture
    parameters: Parameters
    dataset_name: str
    data_dir: Path | None

    @cached_property
    def dataset(self) -> Dataset:
        """The data, loaded on first use.

        Raises:
            DataError: when the data cannot be loaded, or its images do not fit the network.
        """
        dataset = load_dataset(self.dataset_name, self.data_dir)
        require_images_fit(self.architecture, dataset)
        return dataset


def load_trained_network(args: argparse.Namespace) -> TrainedNetwork:
    """Load the network of `--weights`, with the data of `--dataset`, by default the data that it was trained on.

    Args:
        args: `weights`, `dataset`, `data_dir` and the network options.

    Raises:
        UserError: when the file cannot be used, or the parameters do not fit the network.
    """
    architecture, parameters, metadata = load_network(args.weights, architecture_from(args))
    dataset_name = _trained_on(metadata) if args.dataset is None else args.dataset
    return TrainedNetwork(architecture, parameters, dataset_name, args.data_dir)


def _trained_on(metadata: dict[str, Any]) -> str:
    """The data set that the parameters were trained on, if the file names one that still exists; else `auto`."""
    settings = metadata.get("run", {}).get("settings")
    name = settings.get("dataset") if isinstance(settings, dict) else None
    if not isinstance(name, str):
        return "auto"
    # `Path.is_dir` raises an error for a very long name.
    return name if name in DATASETS or os.path.isdir(name) else "auto"  # noqa: PTH112


def accuracy_on_test_set(trained: TrainedNetwork, backend_name: str, loop: str, device: str, batch_size: int) -> float:
    """The fraction of the test set that the network classifies correctly in this backend.

    Args:
        trained: the network.
        backend_name: canonical, of an installed framework.
        loop: one of `LOOPS`.
        device: `auto`, `cpu`, `gpu` or `gpu:1`.
        batch_size: examples at a time.
    """
    dataset = trained.dataset
    backend = load_backend(backend_name, fast=loop == "fast")
    require_memory(backend, trained.architecture, device, min(batch_size, len(dataset.test)))
    net = backend.LeNet(trained.architecture, device=device)
    backend.set_parameters(net, trained.parameters)
    device = backend.device_of(net)
    say(f"{len(dataset.test)} test images of {dataset.name}, in {backend.FRAMEWORK} {backend.VERSION} on {device}")
    test_iter = backend.batches(dataset.test, BatchSampler(len(dataset.test), batch_size), device)
    return backend.evaluate_accuracy(net, test_iter)
