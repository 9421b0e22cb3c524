"""Gluon: the symbol as JSON and, in a second file, the parameters, as `SymbolBlock.imports` reads them."""

from __future__ import annotations

from pathlib import Path

from lenet_multi.architecture import Architecture
from lenet_multi.exporting.network import built_network
from lenet_multi.runs.weights import Parameters

ENDING = "-symbol.json"


def parameters_name(name: str) -> str:
    """The name of the file of parameters: `lenet-0000.params` for `lenet-symbol.json`."""
    return name.removesuffix(ENDING) + "-0000.params"


def write(architecture: Architecture, parameters: Parameters, path: Path) -> None:
    """Write a network as two files. It takes images (N, C, H, W) in [0, 1] and gives the logits."""
    net = built_network("mxnet", architecture, parameters)
    from mxnet import np  # the backend has prepared NumPy for MXNet

    net(np.zeros((1, *architecture.input_shape)))  # records the graph
    net.export(str(path).removesuffix(ENDING))
