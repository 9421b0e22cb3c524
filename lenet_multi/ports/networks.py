"""Networks of any framework, and functions, behind one interface; running them with errors of one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import as_numpy, dtype_name, find_arrays
from lenet_multi.ports.errors import PortError, error_reason
from lenet_multi.ports.flax_network import FlaxNetwork
from lenet_multi.ports.gluon_network import GluonNetwork
from lenet_multi.ports.keras_network import KerasNetwork
from lenet_multi.ports.layouts import last_to_first
from lenet_multi.ports.recording import LayerCall, Visitor, facts_of
from lenet_multi.ports.torch_network import TorchNetwork


class FunctionNetwork:
    """A function of the inputs: it has no layers, but may return a dict of named arrays."""

    channels_last = False

    def __init__(self, net: Callable[..., Any]) -> None:
        self.net = net
        self.gives_dict = False

    def recorder(self, visitor: Visitor) -> None:
        return None

    def run(self, inputs: Sequence[np.ndarray], recorder: None, training: bool = False) -> Any:
        value = self.net(*(array.copy() for array in inputs))
        self.gives_dict = isinstance(value, Mapping)
        return value


Network = TorchNetwork | KerasNetwork | GluonNetwork | FlaxNetwork | FunctionNetwork
# The networks that are not functions.
WITH_LAYERS = ("a torch.nn.Module", "a Keras 3 model", "a Gluon block", "a Flax NNX module")


def one_of(*choices: str) -> str:
    """Choices in words: `a, b or c`."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]])


def network_of(network: Any, role: str) -> Network:
    """The network behind the interface.

    Args:
        network: a `torch.nn.Module`, a Keras layer or model, a Gluon block, a Flax NNX module, or a function.
        role: the name of the network in an error.

    Raises:
        PortError: when it is of an unknown kind, or has no weights yet.
    """
    bases = {(base.__module__.partition(".")[0], base.__name__) for base in type(network).__mro__}
    type_name = type(network).__name__
    if ("torch", "Module") in bases and ("keras", "Layer") not in bases:
        return TorchNetwork(network)
    if ("mxnet", "Block") in bases:
        return GluonNetwork(network)
    if ("flax", "Module") in bases:
        if any(base.__module__.startswith("flax.linen") for base in type(network).__mro__):
            raise PortError(
                f"the {role}, a {type_name}, is a Flax Linen module, which has no variables in it: pass a function "
                "such as lambda x: module.apply(variables, x.transpose(0, 2, 3, 1))"
            )
        return FlaxNetwork(network)
    if ("keras", "Layer") in bases:
        import keras

        if keras.config.backend() != "tensorflow":
            raise PortError(f"the {role} runs on Keras's {keras.config.backend()} backend: use Keras on TensorFlow")
        if not network.built:
            raise PortError(
                f"the {role}, a {type_name}, is not built and has no weights: call it once, then set its weights"
            )
        return KerasNetwork(network)
    if ("tf_keras", "Layer") in bases or not callable(network):
        version = "tf_keras " if ("tf_keras", "Layer") in bases else ""
        raise PortError(f"the {role} is a {version}{type_name}, expected {one_of(*WITH_LAYERS, 'a function')}")
    return FunctionNetwork(network)


def run_network(
    network: Network, inputs: Sequence[np.ndarray], visitor: Visitor, role: str, training: bool = False
) -> list[LayerCall]:
    """Run a network on inputs that are channels first; return its outputs, channels first.

    Raises:
        PortError: when it fails, or returns no array.
    """
    try:
        value = network.run(inputs, network.recorder(visitor), training)  # type: ignore[arg-type]
        outputs = _outputs(value, network)
    except Exception as problem:
        shapes = " and ".join(f"shape {array.shape}, type {array.dtype}" for array in inputs)
        turned = ", with its images as (N, H, W, C)" if network.channels_last else ""
        raise PortError(
            f"the {role} failed on X of {shapes} ({error_reason(problem)}): run it on X by itself first{turned}; it "
            "needs its parameters, and X has images (N, C, H, W)"
        ) from problem
    if not outputs:
        raise PortError(
            f"the {role} returned no array: wrap it in a function that returns an array, or a dict from layer name to "
            "array"
        )
    return outputs


def _outputs(value: Any, network: Network) -> list[LayerCall]:
    """The arrays in a network's return value, named `output`, `output:2`, or as in the dict of a function."""
    named = value.items() if getattr(network, "gives_dict", False) else [("output", value)]
    outputs = []
    for name, item in named:
        for number, found in enumerate(find_arrays(item), 1):
            array = channels_first(as_numpy(found), network).copy()
            numbered = str(name) if number == 1 else f"{name}:{number}"
            call = LayerCall(-1, numbered, "output", dtype=dtype_name(found), output=array)
            call.output_facts = facts_of(array)
            outputs.append(call)
    return outputs


def channels_first(array: np.ndarray, network: Network) -> np.ndarray:
    """An array of a network, channels first."""
    return last_to_first(array) if network.channels_last else array
