"""A network in its framework, with the parameters that are exported."""

from __future__ import annotations

from typing import Any

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.runs.memory import require_memory
from lenet_multi.runs.weights import Parameters

EXAMPLES = 2  # images in the batch that checks a file


def built_network(backend_name: str, architecture: Architecture, parameters: Parameters | None, seed: int = 0) -> Any:
    """Build a network on the CPU, with these parameters or, without any, the initial ones.

    Raises:
        UserError: if the framework is not installed, or there is not enough memory.
    """
    backend = load_backend(backend_name)
    require_memory(backend, architecture, "cpu", EXAMPLES, training=True)
    net = backend.LeNet(architecture, seed, "cpu")
    if parameters is not None:
        backend.set_parameters(net, parameters)
    return net
