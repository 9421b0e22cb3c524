"""PyTorch: the graph that `torch.export` records, for any number of images, with its parameters."""

from __future__ import annotations

from pathlib import Path

from lenet_multi.architecture import Architecture
from lenet_multi.exporting.network import built_network
from lenet_multi.runs.weights import Parameters


def write(architecture: Architecture, parameters: Parameters, path: Path) -> None:
    """Write a network as a `.pt2` file. It takes images (N, C, H, W) in [0, 1] and gives the logits."""
    import torch

    net = built_network("torch", architecture, parameters)
    net.to(memory_format=torch.contiguous_format)  # the layout of most inputs
    net.eval()
    example = torch.zeros(2, *architecture.input_shape)  # with one image, the graph would be for one image only
    program = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim("N")},))
    torch.export.save(program, path)
