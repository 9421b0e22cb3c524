"""Evaluate trained parameters on the test set, in any of the frameworks.

    python -m lenet_multi.evaluate --backend mxnet --weights runs/torch/model.safetensors
    python -m lenet_multi.evaluate --backend torch --weights runs/torch --fast

Standard output is one line: `test acc 0.807`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenet_multi.backends import load_backend, require_installed
from lenet_multi.backends.devices import parse_device
from lenet_multi.cli import (
    Parser,
    add_data_options,
    add_device_option,
    add_loop_options,
    add_network_options,
    architecture_from,
    positive_int,
    run_command,
    say,
)
from lenet_multi.data import DATASETS, BatchIndices, load_dataset, require_images_fit
from lenet_multi.run import weights_path
from lenet_multi.weights import architecture_of, load_weights


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lenet_multi.evaluate", description="Evaluate trained parameters on the test set.")
    parser.add_argument("--backend", default="torch", metavar="NAME", help="torch, tensorflow or mxnet (torch)")
    add_loop_options(parser)
    parser.add_argument(
        "--weights",
        type=weights_path,
        required=True,
        metavar="FILE",
        help="the parameters (.safetensors), or the folder of a run",
    )
    add_data_options(parser, default=None)
    parser.add_argument("--batch-size", type=positive_int, default=256, metavar="N", help="examples at a time (256)")
    add_device_option(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    parse_device(args.device)
    backend_name = require_installed(args.backend)
    parameters, metadata = load_weights(args.weights)
    architecture = architecture_of(args.weights, parameters, metadata, architecture_from(args))
    dataset = load_dataset(trained_on(metadata) if args.dataset is None else args.dataset, args.data_dir)
    require_images_fit(architecture, dataset)
    backend = load_backend(backend_name, fast=args.loop == "fast")
    net = backend.LeNet(architecture, device=args.device)
    backend.set_parameters(net, parameters)
    device = backend.device_of(net)
    say(f"{len(dataset.test)} test images of {dataset.name}, in {backend.FRAMEWORK} {backend.VERSION} on {device}")
    test_iter = backend.batches(dataset.test, BatchIndices(len(dataset.test), args.batch_size), device)
    print(f"test acc {backend.evaluate_accuracy(net, test_iter):.3f}")


def trained_on(metadata: dict[str, Any]) -> str:
    """The data set that the parameters were trained on, where the file says so and it is still there; else `auto`."""
    settings = metadata.get("run", {}).get("settings")
    name = settings.get("dataset") if isinstance(settings, dict) else None
    if not isinstance(name, str) or not (name in DATASETS or Path(name).is_dir()):
        return "auto"
    return name


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
