"""Run somebody else's network, in any framework, and see what its layers do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lenet_multi.errors import UserError

# What each framework's own classes are called for no more than holding other layers.
CONTAINERS = {
    *("Module", "Sequential", "ModuleList", "ModuleDict", "DataParallel"),
    *("Layer", "Model"),
    *("Block", "HybridBlock", "HybridSequential", "SymbolBlock"),
}
# A layer's kind, told from what its class is called; the first that fits.
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
WITH_ACTIVATION = (*CONVS, "dense")  # may apply one to their sums themselves
# The frameworks' names for parameters, and the one used here.
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
NORM_NAMES = {"weight": "gamma", "bias": "beta"}  # PyTorch calls them as in any other layer


class PortError(UserError):
    """Networks that cannot be compared."""


@dataclass(frozen=True)
class Traced:
    """What a layer was seen to do.

    Attributes:
        name: the framework's own name for it; from its second call on with a number, `act:2`.
        kind: one of `KINDS`, or the class's name; for an array that a function names, or a network gives, `output`.
        output: what it gave, float64, channels first: (N, C, H, W), or (N, units).
        sums: what it gave before its activation; without one, `output`.
        activated: whether an activation was seen after the sums.
        input: the first array that it was given, likewise; None where that was not seen.
        weighted: whether it has weights of its own, and so a counterpart in every framework.
        parameters: convolution `weight` (out, in, height, width), for a transposed one (in, out, height, width);
            dense `weight` (out, in); `bias` (out,); norm `gamma`, `beta`, `mean`, `variance`. Those that it has.
        epsilon: what a norm adds to the variance.
        dtype: the type of what it gave, by its NumPy name, `float32`; None where that was not seen.
    """

    name: str
    kind: str
    output: np.ndarray
    sums: np.ndarray
    activated: bool = False
    input: np.ndarray | None = None
    weighted: bool = True
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    epsilon: float | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Trace:
    """What a network was seen to do: its layers in the order of execution, and what it gave in the end."""

    layers: list[Traced]
    outputs: list[Traced]


def trace_network(network: Any, X: np.ndarray | tuple[np.ndarray, ...], whose: str = "network") -> Trace:
    """Run a network on a copy of X, as for prediction, and leave it as it was.

    Args:
        network: a `torch.nn.Module`, a Keras layer or model, a Gluon block, or a function of X.
        X: inputs, of a tuple each by itself; floats are cast to the type of the network's parameters.
        whose: what to call the network in an error.

    Raises:
        PortError: when the network is of no known kind, has no weights yet, fails on X, or gives no array.
    """
    bases = {(base.__module__.partition(".")[0], base.__name__) for base in type(network).__mro__}
    tracers: dict[tuple[str, str], Callable[..., Trace]] = {
        ("torch", "Module"): _trace_torch,
        ("keras", "Layer"): _trace_keras,
        ("mxnet", "Block"): _trace_gluon,
    }
    trace = next((tracer for base, tracer in tracers.items() if base in bases), _trace_function)
    if not callable(network):
        raise PortError(
            f"a {type(network).__name__} as the {whose}, expected a torch.nn.Module, a Keras model, a Gluon block or "
            "a function"
        )
    if trace is _trace_keras and not network.built:
        raise PortError(
            f"a {type(network).__name__} that is not built as the {whose}, expected one that has its weights: call it "
            "once first, and set them"
        )
    inputs = X if isinstance(X, tuple) else (X,)
    try:
        traced = trace(network, *(array.copy() for array in inputs))
    except Exception as problem:
        told = " and ".join(f"shape {array.shape}, type {array.dtype}" for array in inputs)
        raise PortError(
            f"the {whose} failed on X of {told}: {reason_of(problem)}; expected a network "
            "with parameters and an X that it takes, images as (N, C, H, W): run it by itself on X first"
        ) from problem
    if not traced.layers and not traced.outputs:
        raise PortError(
            f"the {whose} gave no array, expected one, or a dict of layer name to array: wrap it in a function that "
            "gives one"
        )
    return traced


def arrays(value: Any) -> list[np.ndarray]:
    """Copies of the arrays in a value, float64: an array of any framework, or tuples, lists and dicts of them."""
    return [np.array(as_numpy(array), np.float64) for array in _found(value)]


def as_numpy(array: Any) -> np.ndarray:
    """An array of any framework as one of NumPy's, if need be in a type with more digits."""
    if hasattr(array, "asnumpy"):  # MXNet
        return array.asnumpy()
    if hasattr(array, "detach"):  # PyTorch; NumPy has no bfloat16
        array = array.detach().cpu()
        return (array.double() if array.is_floating_point() else array).numpy()
    return np.asarray(array)


def _found(value: Any) -> list[Any]:
    """The arrays in a value, as they are."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [array for item in value for array in _found(item)]
    return [value] if hasattr(value, "asnumpy") or hasattr(value, "__array__") else []


def _dtype(value: Any) -> str | None:
    """The type of the first array in a value: PyTorch's `torch.float32`, a class in MXNet, and NumPy's `float32`."""
    dtypes = (array.dtype for array in _found(value))
    dtype = next(dtypes, None)
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).removeprefix("torch.")
    return None if dtype is None else name


def _outputs(
    value: Any, name: str = "output", channels_first: Callable[[np.ndarray], np.ndarray] = lambda array: array
) -> list[Traced]:
    """The arrays in what a network gave, named `output`, `output:2`, and so on."""
    found = []
    for number, given in enumerate(_found(value), 1):
        (array,) = map(channels_first, arrays(given))
        numbered = name if number == 1 else f"{name}:{number}"
        found.append(Traced(numbered, "output", array, array, dtype=_dtype(given)))
    return found


def reason_of(problem: Exception) -> str:
    """The first line that says something; Keras and MXNet put others before it."""
    lines = [re.sub(r"\x1b\[\d+m", "", line).strip() for line in str(problem).splitlines()]
    telling = (line for line in lines if line and not line.startswith(("Traceback", "File ", "Exception encountered")))
    return next(telling, type(problem).__name__)


@dataclass(frozen=True)
class _Call:
    """A layer that was called and has not yet given its output."""

    own: type | None  # the framework's class that it is of
    kind: str
    input: np.ndarray | None
    num_before: int  # how many layers had been seen


class _Recorder:
    """Collects layers as they are called.

    What is taken for one layer is a layer of the framework's own, whatever it is made of; and of other classes what no
    layer is seen inside of. The network itself is none, unless it is the framework's own.

    Args:
        package: where the framework's own layers are.
        parameters_of: gives a layer's parameters by this module's names, its kind being known.
        is_weighted: whether a layer has weights.
        channels_first: turns an array that a layer takes or gives into one with the channels first.
    """

    def __init__(
        self,
        package: Any,
        parameters_of: Callable[[Any, str], dict[str, np.ndarray]],
        is_weighted: Callable[[Any], bool],
        channels_first: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    ) -> None:
        self.layers: list[Traced] = []
        self._calls: list[_Call] = []
        self._package, self._parameters_of, self._is_weighted = package, parameters_of, is_weighted
        self._channels_first = channels_first

    def arrays(self, value: Any) -> list[np.ndarray]:
        return [self._channels_first(array) for array in arrays(value)]

    def enter(self, layer: Any, given: Any) -> None:
        """A layer is called. Its input is copied now, for it may be changed in place."""
        own = next((base for base in type(layer).__mro__ if self._is_own(base)), None)
        given = next(iter(self.arrays(given)), None)
        self._calls.append(_Call(own, _kind(own or type(layer), own is not None), given, len(self.layers)))

    def leave(self, layer: Any, name: str, output: Any, is_network: bool = False) -> None:
        """The layer that was entered last has given its output."""
        call = self._calls[-1]
        inner = self.layers[call.num_before :]
        if call.own is None and (inner or is_network):
            self._calls.pop()
            return
        # PyTorch computes a parametrised weight by modules: they are seen, and dropped with the layer's other parts.
        parameters = self._parameters_of(layer, call.kind)
        self._calls.pop()
        del self.layers[call.num_before :]
        for array in self.arrays(output)[:1]:
            fused = inner[-1] if call.kind in WITH_ACTIVATION and inner and inner[-1].kind == "activation" else None
            activated = fused is not None or call.kind == "activation"
            sums = fused.input if fused else call.input if activated else array
            self._add(
                Traced(
                    name=name,
                    kind=call.kind,
                    output=array,
                    sums=array if sums is None else sums,
                    activated=activated,
                    input=call.input,
                    weighted=call.kind != "activation" and self._is_weighted(layer),
                    parameters=parameters,
                    epsilon=_epsilon(layer) if call.kind == "norm" else None,
                    dtype=_dtype(output),
                )
            )

    def leave_activation(self, output: Any) -> None:
        """A function that a layer applies to its sums, entered as if it were a layer, has given its output."""
        call = self._calls.pop()
        for array in self.arrays(output)[:1]:
            self._add(
                Traced("activation", "activation", array, array, activated=True, input=call.input, dtype=_dtype(output))
            )

    def _add(self, layer: Traced) -> None:
        names, name, count = {earlier.name for earlier in self.layers}, layer.name, 1
        while name in names:
            count += 1
            name = f"{layer.name}:{count}"
        self.layers.append(replace(layer, name=name))

    def _is_own(self, base: type) -> bool:
        return getattr(self._package, base.__name__, None) is base and base.__name__ not in CONTAINERS


def _kind(called: type, is_own: bool) -> str:
    name = called.__name__.lower()
    kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), name)
    # The frameworks keep their activations, by whatever name, in modules of that name.
    return "activation" if is_own and ".activation" in called.__module__ and kind != "attention" else kind


def _parameters(layer: Any, kind: str, value_of: Callable[[Any], Any] = lambda value: value) -> dict[str, np.ndarray]:
    found = {}
    if kind in (*WITH_ACTIVATION, "norm"):
        for attribute, name in PARAMETERS.items():
            for array in arrays(value_of(getattr(layer, attribute, None))):
                found[NORM_NAMES.get(name, name) if kind == "norm" else name] = array
    return found


def _epsilon(layer: Any) -> float | None:
    """A norm's epsilon: PyTorch calls it `eps`, Keras `epsilon`, Gluon keeps it among an operator's arguments."""
    return getattr(layer, "eps", getattr(layer, "epsilon", getattr(layer, "_kwargs", {}).get("eps")))


def _trace_function(function: Callable[..., Any], *inputs: np.ndarray) -> Trace:
    given = function(*inputs)
    if not isinstance(given, Mapping):
        return Trace([], _outputs(given))
    return Trace([traced for name, output in given.items() for traced in _outputs(output, str(name))], [])


def _trace_torch(net: Any, *inputs: np.ndarray) -> Trace:
    import torch

    # What `torch.compile` makes holds the original, which alone calls its children, and so their hooks.
    net = getattr(net, "_orig_mod", net)
    modules = {module: name.replace("_orig_mod.", "") for name, module in net.named_modules()}
    compiled = [module for module in modules if hasattr(module, "_orig_mod")]
    is_compiled = compiled or any(getattr(module, "_compiled_call_impl", None) for module in modules)
    # One made by TorchScript takes no hooks: it is seen as a function is.
    names = {
        module: name or type(module).__name__
        for module, name in modules.items()
        if not isinstance(module, torch.jit.ScriptModule) and module not in compiled
    }
    recorder = _Recorder(
        torch.nn,
        _parameters,
        # A norm without parameters may still have what it learned of means and variances.
        lambda module: any(True for _ in module.parameters()) or getattr(module, "running_mean", None) is not None,
    )

    def enter(module: Any, args: Any, kwargs: Any) -> None:
        recorder.enter(module, (args, kwargs))

    def leave(module: Any, _: Any, output: Any) -> None:
        recorder.leave(module, names[module], output, is_network=module is net)

    parameters = list(net.parameters())
    tensors = [torch.from_numpy(array) for array in inputs]
    if parameters:
        tensors = [tensor.to(parameters[0].device) for tensor in tensors]
    dtype = next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), None)
    if dtype:
        tensors = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]
    was_training = {module: module.training for module in modules}
    hooks = []
    try:
        for module in names:
            hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(leave))
        net.eval()
        with torch.no_grad(), torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
            return Trace(recorder.layers, _outputs(net(*tensors)))
    finally:
        for module, training in was_training.items():
            module.training = training
        for hook in hooks:
            hook.remove()


def _trace_keras(net: Any, *inputs: np.ndarray) -> Trace:
    import keras

    # Of the layers that have a format those that work on images count: a Flatten may be left at Keras's own choice.
    images = (
        layer for layer in net._flatten_layers() if _kind(type(layer), True) in (*CONVS, "separable conv", "pool")
    )
    formats = (layer.data_format for layer in images if hasattr(layer, "data_format"))
    channels_last = next(formats, keras.config.image_data_format()) == "channels_last"

    def channels_first(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, -1, 1) if channels_last and array.ndim >= 4 else array

    def parameters_of(layer: Any, kind: str) -> dict[str, np.ndarray]:
        parameters = _parameters(layer, kind)
        if "weight" in parameters:  # (height, width, in, out) and (in, out)
            weight = np.moveaxis(parameters["weight"], (-1, -2), (0, 1))
            if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
                # Here `out` was per input channel; what it has of each comes next to one another.
                weight = weight.swapaxes(0, 1).reshape(-1, 1, *weight.shape[2:])
            parameters["weight"] = weight
        return parameters

    recorder = _Recorder(keras.layers, parameters_of, lambda layer: bool(layer.weights), channels_first)
    call = keras.layers.Layer.__call__

    def call_and_see(layer: Any, *args: Any, **kwargs: Any) -> Any:
        recorder.enter(layer, (args, kwargs))
        activation = vars(layer).get("activation")
        has_activation = activation not in (None, keras.activations.linear)

        def activate_and_see(sums: Any) -> Any:
            recorder.enter(activation, sums)
            activated = activation(sums)
            recorder.leave_activation(activated)
            return activated

        # The object's own attribute: Keras would track what is set the usual way.
        if has_activation:
            vars(layer)["activation"] = activate_and_see
        try:
            output = call(layer, *args, **kwargs)
        finally:
            if has_activation:
                vars(layer)["activation"] = activation
        recorder.leave(layer, layer.name, output, is_network=layer is net)
        return output

    # Keras has no hooks: while the network runs, the call that all layers inherit is another one.
    keras.layers.Layer.__call__ = call_and_see
    try:
        given = [np.moveaxis(array, 1, -1) if channels_last and array.ndim >= 4 else array for array in inputs]
        output = net(given if len(given) > 1 else given[0], training=False)
    finally:
        keras.layers.Layer.__call__ = call
    return Trace(recorder.layers, _outputs(output, channels_first=channels_first))


def _trace_gluon(net: Any, *inputs: np.ndarray) -> Trace:
    from mxnet import autograd, cpu, nd, util
    from mxnet import np as mx_np
    from mxnet.gluon import nn

    def value_of(parameter: Any) -> Any:
        return None if parameter is None else parameter.list_data()[0]

    recorder = _Recorder(
        nn, lambda block, kind: _parameters(block, kind, value_of), lambda block: bool(list(block.collect_params()))
    )

    def leave(block: Any, _: Any, output: Any) -> None:
        recorder.leave(block, block.name, output, is_network=block is net)

    values = [value_of(parameter) for parameter in net.collect_params().values()]
    device = values[0].ctx if values else cpu()
    # A block runs only on the kind of array that its parameters are: MXNet's first one, or the one that is like NumPy.
    like_numpy = isinstance(values[0], mx_np.ndarray) if values else util.is_np_array()

    def given(array: np.ndarray) -> Any:
        dtype = values[0].dtype if values and np.issubdtype(array.dtype, np.floating) else array.dtype
        return (mx_np if like_numpy else nd).array(array, dtype=dtype, ctx=device)

    blocks: list[Any] = []
    net.apply(blocks.append)
    # A compiled block does not call its children, and so not their hooks. Not `hybridize`, which would set the options.
    active = {block: block._active for block in blocks if hasattr(block, "_active")}
    hooks = []
    try:
        for block in active:
            block._active = False
        for block in dict.fromkeys(blocks):
            hooks.append(block.register_forward_pre_hook(recorder.enter))
            hooks.append(block.register_forward_hook(leave))
        with util.np_array(like_numpy), util.np_shape(like_numpy), autograd.pause(train_mode=False):
            output = net(*map(given, inputs))
            return Trace(recorder.layers, _outputs(output))
    finally:
        for hook in hooks:
            hook.detach()
        for block, was_active in active.items():
            block._active = was_active
