"""Keras: its own file format, with the layers' names of the description."""

from __future__ import annotations

from pathlib import Path

from lenet_multi.architecture import Architecture
from lenet_multi.exporting.network import built_network
from lenet_multi.runs.weights import Parameters


def write(architecture: Architecture, parameters: Parameters, path: Path) -> None:
    """Write a network as a `.keras` file. It takes images (N, H, W, C) in [0, 1] and gives the logits."""
    built_network("tensorflow", architecture, parameters).save(path)
