"""LeNet-5 in PyTorch, Keras, Gluon and Flax behind one interface.

>>> from lenet_multi import PRESETS, load_backend, load_dataset
>>> backend = load_backend("torch")
>>> dataset = load_dataset("fashion-mnist")
>>> net = backend.LeNet(PRESETS["lenet5"])
>>> recorder = backend.train(net, dataset.train, dataset.test)

Importing this package imports neither a framework nor NumPy. `load_backend` imports one framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lenet_multi.architecture import PRESETS, Architecture, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import installed_backends, load_backend
from lenet_multi.errors import UserError

if TYPE_CHECKING:
    from lenet_multi.data import load_dataset
    from lenet_multi.ports import compare_networks, transfer_weights
    from lenet_multi.runs.weights import load_weights, save_weights

__all__ = [
    "PRESETS",
    "Architecture",
    "Conv",
    "Dense",
    "Flatten",
    "Pool",
    "UserError",
    "compare_networks",
    "installed_backends",
    "lenet",
    "load_backend",
    "load_dataset",
    "load_weights",
    "save_weights",
    "transfer_weights",
]

_NEEDS_NUMPY = {
    "compare_networks": "ports",
    "load_dataset": "data",
    "load_weights": "runs.weights",
    "save_weights": "runs.weights",
    "transfer_weights": "ports",
}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_NUMPY:
        return getattr(import_module(f"lenet_multi.{_NEEDS_NUMPY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
