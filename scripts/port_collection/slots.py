"""The parameters of a layer of any framework in PyTorch's layout, such as weights (out, in, height, width)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import mxnet
import numpy as np
import torch

from port_collection.frameworks import framework_of

Array = np.ndarray
WEIGHTS = ("weight", "pointwise", "bias")


@dataclass
class Slots:
    """A layer with parameters.

    Attributes:
        layer: the framework's object.
        kind: `conv`, `transposed`, `dense` or `norm`; a separable convolution is a `conv` with one more weight.
        name: the framework's name of it.
        values: slot to array; a slot that the layer does not have is missing.
        setters: slot to a function that takes an array in PyTorch's layout.
    """

    layer: Any
    kind: str
    name: str
    values: dict[str, Array]
    setters: dict[str, Callable[[Array], None]]

    @property
    def num_outputs(self) -> int:
        """Channels or units of a layer; channels of a norm."""
        if self.kind == "norm":
            return max((array.size for array in self.values.values()), default=0)
        return len(self.values["weight"])

    def put(self, slot: str, array: Array) -> None:
        """Set a parameter, here and in the network."""
        array = np.asarray(array, np.float32).reshape(self.values[slot].shape)
        self.setters[slot](array)
        self.values[slot] = array


def torch_slots(module: Any, name: str) -> Slots | None:
    """The slots of a PyTorch module; None for all but convolutions, dense layers and norms."""
    kinds = {
        torch.nn.Conv2d: "conv",
        torch.nn.ConvTranspose2d: "transposed",
        torch.nn.Linear: "dense",
        torch.nn.modules.batchnorm._BatchNorm: "norm",
        torch.nn.modules.instancenorm._InstanceNorm: "norm",
        torch.nn.LayerNorm: "norm",
        torch.nn.GroupNorm: "norm",
    }
    kind = next((kind for base, kind in kinds.items() if isinstance(module, base)), None)
    if kind is None:
        return None
    names = {"weight": "weight", "bias": "bias"}
    if kind == "norm":
        names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
    tensors: dict[str, Any] = {slot: getattr(module, name, None) for slot, name in names.items()}
    found = {slot: tensor for slot, tensor in tensors.items() if tensor is not None}
    values = {slot: tensor.detach().numpy().copy() for slot, tensor in found.items()}
    if kind == "transposed":
        values["weight"], found["weight"] = values["weight"].swapaxes(0, 1), found["weight"].data.swapaxes(0, 1)
    return Slots(module, kind, name, values, {slot: partial(assign_tensor, tensor) for slot, tensor in found.items()})


def channels_first(array: Array) -> Array:
    """Move the last axis to the front."""
    return np.moveaxis(array, -1, 0)


def assign_channels_last(variable: Any, array: Array) -> None:
    """Set a variable whose last axis is the array's first."""
    variable.assign(np.moveaxis(array, 0, -1))


def assign_tensor(tensor: Any, array: Array) -> None:
    """Set a PyTorch parameter."""
    tensor.data.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def keras_slots(layer: Any) -> Slots | None:
    """The slots of a Keras layer; None for all but convolutions, dense layers and norms."""
    layers = keras.layers
    norms = (
        layers.BatchNormalization,
        layers.LayerNormalization,
        layers.GroupNormalization,
    )
    if isinstance(layer, norms):
        names = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
        variables = {slot: getattr(layer, name, None) for slot, name in names.items()}
        variables = {slot: variable for slot, variable in variables.items() if variable is not None}
        # A norm over whole images has parameters of shape (height, width, channels).
        return Slots(
            layer,
            "norm",
            layer.name,
            {slot: channels_first(np.array(variable)) for slot, variable in variables.items()},
            {slot: partial(assign_channels_last, variable) for slot, variable in variables.items()},
        )
    orders: dict[str, tuple[int, ...]]
    if isinstance(layer, layers.Dense):
        kind, variables, orders = "dense", {"weight": layer.kernel}, {"weight": (1, 0)}
    elif isinstance(layer, layers.SeparableConv2D):
        kind, variables = "conv", {"weight": layer.depthwise_kernel, "pointwise": layer.pointwise_kernel}
        orders = {"weight": (2, 3, 0, 1), "pointwise": (3, 2, 0, 1)}
    elif isinstance(layer, layers.DepthwiseConv2D):
        kind, variables, orders = "conv", {"weight": layer.kernel}, {"weight": (2, 3, 0, 1)}
    elif isinstance(layer, layers.Conv2D):
        kind, variables, orders = "conv", {"weight": layer.kernel}, {"weight": (3, 2, 0, 1)}
    elif isinstance(layer, layers.Conv2DTranspose):
        # PyTorch stores the kernel as it slides over the output: both frameworks do, so nothing is flipped.
        kind, variables, orders = "transposed", {"weight": layer.kernel}, {"weight": (2, 3, 0, 1)}
    else:
        return None
    is_depthwise = isinstance(layer, layers.SeparableConv2D | layers.DepthwiseConv2D)
    values: dict[str, Array] = {}
    setters: dict[str, Callable[[Array], None]] = {}
    for slot, variable in variables.items():
        array = np.array(variable).transpose(orders[slot])
        values[slot] = array.reshape(-1, 1, *array.shape[2:]) if is_depthwise and slot == "weight" else array
        inverse = np.argsort(orders[slot])

        def assign(new: Array, variable: Any = variable, shape: Any = array.shape, inverse: Any = inverse) -> None:
            variable.assign(new.reshape(shape).transpose(inverse))

        setters[slot] = assign
    if layer.bias is not None:
        values["bias"], setters["bias"] = np.array(layer.bias), layer.bias.assign
    return Slots(layer, kind, layer.name, values, setters)


def gluon_slots(block: Any) -> Slots | None:
    """The slots of a Gluon block; None for all but convolutions, dense layers and norms."""
    nn = mxnet.gluon.nn
    kinds = {
        nn.Conv2D: "conv",
        nn.Conv2DTranspose: "transposed",
        nn.Dense: "dense",
        nn.BatchNorm: "norm",
        nn.LayerNorm: "norm",
        nn.InstanceNorm: "norm",
        nn.GroupNorm: "norm",
    }
    kind = next((kind for base, kind in kinds.items() if isinstance(block, base)), None)
    if kind is None:
        return None
    names = {"weight": "weight", "bias": "bias"}
    if kind == "norm":
        names = {"gamma": "gamma", "beta": "beta", "mean": "running_mean", "variance": "running_var"}
        if getattr(block, "_kwargs", {}).get("fix_gamma"):
            del names["gamma"]
        if block.beta is not None and block.beta.grad_req == "null":
            del names["beta"]
    parameters: dict[str, Any] = {slot: getattr(block, name, None) for slot, name in names.items()}
    parameters = {slot: parameter for slot, parameter in parameters.items() if parameter is not None}

    def setter(parameter: Any, swapped: bool) -> Callable[[Array], None]:
        make = mxnet.np.array if isinstance(parameter.data(), mxnet.np.ndarray) else mxnet.nd.array
        return lambda array: parameter.set_data(make(array.swapaxes(0, 1) if swapped else array))

    values, setters = {}, {}
    for slot, parameter in parameters.items():
        swapped = kind == "transposed" and slot == "weight"
        array = parameter.data().asnumpy()
        values[slot] = array.swapaxes(0, 1) if swapped else array
        setters[slot] = setter(parameter, swapped)
    return Slots(block, kind, block.name, values, setters)


def all_slots(net: Any) -> list[Slots]:
    """The layers with parameters, in the framework's order of definition."""
    match framework_of(net):
        case "torch":
            found = [torch_slots(module, name) for name, module in net.named_modules()]
        case "keras":
            found = [keras_slots(layer) for layer in net._flatten_layers()]
        case _:
            blocks: list[Any] = []
            net.apply(blocks.append)
            found = [gluon_slots(block) for block in dict.fromkeys(blocks)]
    return [slots for slots in found if slots is not None]


def slots_by_name(net: Any) -> dict[str, Slots]:
    """The layers with parameters by the last part of their names."""
    return {slots.name.split(".")[-1].split("/")[-1]: slots for slots in all_slots(net)}


def other_parameters(net: Any) -> list[tuple[Array, Callable[[Array], None]]]:
    """Values and setters of the parameters outside of `all_slots`, such as the scales of residual branches."""
    if framework_of(net) == "gluon":
        return []
    owners = {id(slots.layer) for slots in all_slots(net)}
    if framework_of(net) == "torch":
        tensors = [
            tensor
            for module in net.modules()
            if id(module) not in owners
            for tensor in module.parameters(recurse=False)
        ]
        return [(tensor.detach().numpy(), partial(assign_tensor, tensor)) for tensor in tensors]
    variables = [
        variable
        for layer in net._flatten_layers()
        if id(layer) not in owners and not isinstance(layer, keras.layers.Normalization)
        for variable in layer._trainable_variables
    ]
    return [(np.array(variable), variable.assign) for variable in variables]


def epsilon(layer: Any) -> float | None:
    """A norm's epsilon."""
    if hasattr(layer, "_kwargs"):
        return layer._kwargs.get("eps")
    names = ("eps", "epsilon", "_epsilon")
    return next((getattr(layer, name) for name in names if isinstance(getattr(layer, name, None), float)), None)


def set_epsilon(layer: Any, value: float) -> None:
    """Change a norm's epsilon."""
    if hasattr(layer, "_kwargs"):
        layer._kwargs["eps"] = value
    for name in ("eps", "epsilon", "_epsilon"):
        if isinstance(getattr(layer, name, None), float):
            setattr(layer, name, value)


def fan_in(weight: Array) -> int:
    """The number of values that enter one output."""
    return math.prod(weight.shape[1:])
