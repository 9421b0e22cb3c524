"""The kinds of layers that the frameworks share."""

from __future__ import annotations

# The frameworks' classes that only hold other layers.
CONTAINERS = {
    *("Module", "Sequential", "ModuleList", "ModuleDict", "DataParallel"),
    *("Layer", "Model", "Functional", "Wrapper", "TimeDistributed"),
    *("Block", "HybridBlock", "HybridSequential", "SymbolBlock"),
}
# A layer's kind, and parts of the class names that have it; the first match counts.
KINDS = {
    "attention": ("attention", "transformer"),
    "recurrent": ("lstm", "gru", "rnn"),
    "local response norm": ("localresponsenorm", "crossmaplrn"),
    "norm": ("norm",),
    "activation": ("activation", "relu", "softmax", "sigmoid", "gelu", "elu", "swish", "hardtanh"),
    "embedding": ("embedding",),
    "upsampling": ("upsampl",),
    "pool": ("pool",),
    "dropout": ("dropout", "droppath", "stochasticdepth", "dropblock", "identity", "activityregularization"),
    "flatten": ("flatten", "reshape", "permute"),
    "padding": ("pad",),
    "input": ("inputlayer",),
    "separable conv": ("separable",),
    "transposed conv": ("transpose",),
    "conv": ("conv",),
    "dense": ("linear", "dense"),
}
CONVS = ("conv", "transposed conv")
WITH_WEIGHTS = (*CONVS, "separable conv", "dense", "norm")  # the kinds that every framework has as layers
SKIPPED = ("flatten", "padding", "dropout", "input")  # layers in one framework, functions or options in another
OUTSIDE = ("attention", "recurrent", "embedding")  # kinds that are not of convolutional image classifiers


def kind_of(layer_class: type, is_framework_class: bool) -> str:
    """One of `KINDS`, or the lower-case name of a class that matches none."""
    name = layer_class.__name__.lower()
    # The frameworks keep their activations, such as ReLU, in modules named after activations.
    if is_framework_class and ".activation" in layer_class.__module__ and "attention" not in name:
        return "activation"
    return kind_of_name(name)


def kind_of_name(name: str) -> str:
    """One of `KINDS`, or the name itself if it matches none."""
    name = {"embed": "embedding"}.get(name.lower(), name.lower())  # Flax's class
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), name)
