"""Runs a network of any framework and records the inputs, outputs and parameters of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from lenet_multi.ports.call_recorder import CallRecorder
from lenet_multi.ports.errors import PortError, error_reason
from lenet_multi.ports.layer_kinds import CONVS, kind_of, layer_parameters
from lenet_multi.ports.traces import Trace, network_outputs


def trace_network(network: Any, X: np.ndarray | tuple[np.ndarray, ...], role: str = "network") -> Trace:
    """Run a network on a copy of X in inference mode, record its layers, and restore its state.

    Args:
        network: a `torch.nn.Module`, a Keras layer or model, a Gluon block, or a function of X.
        X: the input, or a tuple of inputs. Floats are cast to the type of the network's parameters.
        role: the name of the network in an error.

    Raises:
        PortError: when the network is of an unknown kind, has no weights yet, fails on X, or returns no array.
    """
    bases = {(base.__module__.partition(".")[0], base.__name__) for base in type(network).__mro__}
    tracers: dict[tuple[str, str], Callable[..., Trace]] = {
        ("torch", "Module"): _trace_torch,
        ("keras", "Layer"): _trace_keras,
        ("mxnet", "Block"): _trace_gluon,
    }
    tracer = next((tracer for base, tracer in tracers.items() if base in bases), _trace_function)
    type_name = type(network).__name__
    if not callable(network):
        raise PortError(
            f"the {role} is a {type_name}, expected a torch.nn.Module, a Keras model, a Gluon block or a function"
        )
    if tracer is _trace_keras and not network.built:
        raise PortError(
            f"the {role}, a {type_name}, is not built and has no weights: call it once, then set its weights"
        )
    inputs = X if isinstance(X, tuple) else (X,)
    try:
        trace = tracer(network, *(array.copy() for array in inputs))
    except Exception as problem:
        shapes = " and ".join(f"shape {array.shape}, type {array.dtype}" for array in inputs)
        raise PortError(
            f"the {role} failed on X of {shapes} ({error_reason(problem)}): run it on X by itself first; it needs its "
            "parameters, and images are (N, C, H, W)"
        ) from problem
    if not trace.layers and not trace.outputs:
        raise PortError(
            f"the {role} returned no array: wrap it in a function that returns an array, or a dict from layer name to "
            "array"
        )
    return trace


def _trace_function(function: Callable[..., Any], *inputs: np.ndarray) -> Trace:
    value = function(*inputs)
    if not isinstance(value, Mapping):
        return Trace([], network_outputs(value))
    return Trace([layer for name, output in value.items() for layer in network_outputs(output, str(name))], [])


def _trace_torch(net: Any, *inputs: np.ndarray) -> Trace:
    import torch

    # Run the original of a module from `torch.compile`: only the original calls its children with their hooks.
    net = getattr(net, "_orig_mod", net)
    modules = {module: name.replace("_orig_mod.", "") for name, module in net.named_modules()}
    compiled = [module for module in modules if hasattr(module, "_orig_mod")]
    is_compiled = compiled or any(getattr(module, "_compiled_call_impl", None) for module in modules)
    # A TorchScript module accepts no hooks. It is traced like a function.
    names = {
        module: name or type(module).__name__
        for module, name in modules.items()
        if not isinstance(module, torch.jit.ScriptModule) and module not in compiled
    }
    recorder = CallRecorder(
        torch.nn,
        layer_parameters,
        # A norm without parameters may still have running statistics.
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
            return Trace(recorder.layers, network_outputs(net(*tensors)))
    finally:
        for module, training in was_training.items():
            module.training = training
        for hook in hooks:
            hook.remove()


def _trace_keras(net: Any, *inputs: np.ndarray) -> Trace:
    import keras

    # Take the format from a convolution or pooling: a Flatten may keep Keras's default format.
    image_layers = (
        layer for layer in net._flatten_layers() if kind_of(type(layer), True) in (*CONVS, "separable conv", "pool")
    )
    formats = (layer.data_format for layer in image_layers if hasattr(layer, "data_format"))
    channels_last = next(formats, keras.config.image_data_format()) == "channels_last"

    def channels_first(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, -1, 1) if channels_last and array.ndim >= 4 else array

    def parameters_of(layer: Any, kind: str) -> dict[str, np.ndarray]:
        parameters = layer_parameters(layer, kind)
        if "weight" in parameters:  # (height, width, in, out) and (in, out)
            weight = np.moveaxis(parameters["weight"], (-1, -2), (0, 1))
            if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
                # (multiplier, channels, height, width) to (channels * multiplier, 1, height, width).
                weight = weight.swapaxes(0, 1).reshape(-1, 1, *weight.shape[2:])
            parameters["weight"] = weight
        return parameters

    recorder = CallRecorder(keras.layers, parameters_of, lambda layer: bool(layer.weights), channels_first)
    call = keras.layers.Layer.__call__

    def recording_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        recorder.enter(layer, (args, kwargs))
        activation = vars(layer).get("activation")
        has_activation = activation not in (None, keras.activations.linear)

        def recording_activation(pre_activation: Any) -> Any:
            recorder.enter(activation, pre_activation)
            output = activation(pre_activation)
            recorder.leave_activation(output)
            return output

        # Set the attribute in `vars`: Keras tracks attributes that are set with `setattr`.
        if has_activation:
            vars(layer)["activation"] = recording_activation
        try:
            output = call(layer, *args, **kwargs)
        finally:
            if has_activation:
                vars(layer)["activation"] = activation
        recorder.leave(layer, layer.name, output, is_network=layer is net)
        return output

    # Keras has no hooks. Replace the call that all layers inherit while the network runs.
    keras.layers.Layer.__call__ = recording_call
    try:
        arrays = [np.moveaxis(array, 1, -1) if channels_last and array.ndim >= 4 else array for array in inputs]
        output = net(arrays if len(arrays) > 1 else arrays[0], training=False)
    finally:
        keras.layers.Layer.__call__ = call
    return Trace(recorder.layers, network_outputs(output, channels_first=channels_first))


def _trace_gluon(net: Any, *inputs: np.ndarray) -> Trace:
    from mxnet import autograd, cpu, nd, util
    from mxnet import np as mx_np
    from mxnet.gluon import nn

    def value_of(parameter: Any) -> Any:
        return None if parameter is None else parameter.list_data()[0]

    recorder = CallRecorder(
        nn,
        lambda block, kind: layer_parameters(block, kind, value_of),
        lambda block: bool(list(block.collect_params())),
    )

    def leave(block: Any, _: Any, output: Any) -> None:
        recorder.leave(block, block.name, output, is_network=block is net)

    values = [value_of(parameter) for parameter in net.collect_params().values()]
    device = values[0].ctx if values else cpu()
    # A block runs only on arrays of the kind that its parameters have: `mx.np` or the older `mx.nd`.
    is_np = isinstance(values[0], mx_np.ndarray) if values else util.is_np_array()

    def to_mxnet(array: np.ndarray) -> Any:
        dtype = values[0].dtype if values and np.issubdtype(array.dtype, np.floating) else array.dtype
        return (mx_np if is_np else nd).array(array, dtype=dtype, ctx=device)

    blocks: list[Any] = []
    net.apply(blocks.append)
    # A compiled block does not call its children and their hooks. Set `_active`: `hybridize` would reset the options.
    active = {block: block._active for block in blocks if hasattr(block, "_active")}
    hooks = []
    try:
        for block in active:
            block._active = False
        for block in dict.fromkeys(blocks):
            hooks.append(block.register_forward_pre_hook(recorder.enter))
            hooks.append(block.register_forward_hook(leave))
        with util.np_array(is_np), util.np_shape(is_np), autograd.pause(train_mode=False):
            output = net(*map(to_mxnet, inputs))
            return Trace(recorder.layers, network_outputs(output))
    finally:
        for hook in hooks:
            hook.detach()
        for block, was_active in active.items():
            block._active = was_active
