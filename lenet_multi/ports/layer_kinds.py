"""The kinds of layers that the frameworks share, and the names of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import float64_copies

# The frameworks' classes that only hold other layers.
CONTAINERS = {
    *("Module", "Sequential", "ModuleList", "ModuleDict", "DataParallel"),
    *("Layer", "Model"),
    *("Block", "HybridBlock", "HybridSequential", "SymbolBlock"),
}
# A layer's kind, and parts of the class names that have it; the first match counts.
KINDS = {
    "attention": ("attention",),
    "activation": ("activation",),
    "recurrent": ("lstm", "gru", "rnn"),
    "norm": ("norm",),
    "embedding": ("embedding",),
    "upsampling": ("upsampl",),
    "pool": ("pool",),
    "dropout": ("dropout", "identity"),
    "flatten": ("flatten", "reshape", "permute"),
    "padding": ("pad",),
    "input": ("inputlayer",),
    "separable conv": ("separable",),
    "transposed conv": ("transpose",),
    "conv": ("conv",),
    "dense": ("linear", "dense"),
}
CONVS = ("conv", "transposed conv")
WITH_ACTIVATION = (*CONVS, "dense")  # kinds of layers that may apply an activation themselves
# The frameworks' names of parameters, and the names in a `TracedLayer`.
PARAMETERS = {
    "weight": "weight",
    "kernel": "weight",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "mean",
    "moving_mean": "mean",
    "running_var": "variance",
    "moving_variance": "variance",
}
NORM_NAMES = {"weight": "gamma", "bias": "beta"}  # PyTorch's norms have a weight and a bias


def kind_of(layer_class: type, is_framework_class: bool) -> str:
    """Return one of `KINDS`, or the lower-case name of a class that matches none."""
    name = layer_class.__name__.lower()
    # The frameworks keep their activations, such as ReLU, in modules named after activations.
    if is_framework_class and ".activation" in layer_class.__module__ and "attention" not in name:
        return "activation"
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), name)


def layer_parameters(
    layer: Any, kind: str, value_of: Callable[[Any], Any] = lambda parameter: parameter
) -> dict[str, np.ndarray]:
    """Return the parameters of a convolution, dense layer or norm as float64 arrays in the framework's layout.

    Args:
        layer: the framework's layer.
        kind: its kind.
        value_of: returns the array of a framework's parameter.
    """
    parameters = {}
    if kind in (*WITH_ACTIVATION, "norm"):
        for attribute, name in PARAMETERS.items():
            for array in float64_copies(value_of(getattr(layer, attribute, None))):
                parameters[NORM_NAMES.get(name, name) if kind == "norm" else name] = array
    return parameters


def norm_epsilon(layer: Any) -> float | None:
    """Return a norm's epsilon: `eps` in PyTorch, `epsilon` in Keras, an operator's argument `eps` in Gluon."""
    return getattr(layer, "eps", getattr(layer, "epsilon", getattr(layer, "_kwargs", {}).get("eps")))
