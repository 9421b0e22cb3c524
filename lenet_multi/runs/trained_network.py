"""A trained network from a file or a run, and its accuracy on a test set."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.data import BatchSampler, Dataset, require_fit
from lenet_multi.runs.checkpoint import Run, data_of, run_of
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.options import architecture_from
from lenet_multi.runs.selection import dataset_from, warn_of_other_classes
from lenet_multi.runs.weights import Parameters, load_network
from lenet_multi.system.stderr import say


@dataclass(frozen=True)
class TrainedNetwork:
    """Parameters, the network that they belong to, and the data that it is tested on.

    Args:
        architecture: the network.
        parameters: canonical ones.
        class_names: the names of the network's outputs; empty if the file has none.
        dataset_name: the data set that the network was trained on; `auto` if the file does not say.
        load: loads the data.
        digest: the digest of this data when the network was trained on it; None if it was trained on other data.
        run: how it was trained; None if the file does not say.
    """

    architecture: Architecture
    parameters: Parameters
    class_names: tuple[str, ...]
    dataset_name: str
    load: Callable[[], Dataset]
    digest: str | None = None
    run: Run | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """The data, loaded on first use, with a warning if it is not what the network was trained on.

        Raises:
            DataError: when the data cannot be loaded, or does not fit the network.
        """
        dataset = self.load()
        require_fit(self.architecture, dataset)
        if self.digest and dataset.digest != self.digest:
            say(
                f"warning: the data of '{dataset.name}' is not what the network was trained and tested on: the files, "
                "--test-fraction or --split-seed differ, so training images may be among the test images"
            )
        warn_of_other_classes(dataset, self.class_names)
        return dataset


def load_trained_network(args: argparse.Namespace) -> TrainedNetwork:
    """Load the network of `--weights`, with the data of `--dataset`, by default the data that it was trained on.

    Args:
        args: `weights`, the options of the network, and those of the data if it is to be loaded.

    Raises:
        UserError: when the file cannot be used, or the parameters do not fit the network.
    """
    architecture, parameters, metadata = load_network(args.weights, architecture_from(args))
    settings, class_names = data_of(metadata, architecture)
    name = settings.dataset if settings else "auto"
    load = partial(dataset_from, args, name, settings, architecture.input_shape)
    given = getattr(args, "dataset", None)
    own = settings is not None and (given is None or os.path.realpath(given) == settings.dataset)
    digest = settings.data_sha256 if settings and own else None
    return TrainedNetwork(architecture, parameters, class_names, name, load, digest, run_of(metadata))


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
