"""Gluon blocks: their layers' calls, settings and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import as_numpy, find_arrays
from lenet_multi.ports.layer_settings import Settings, gluon_settings
from lenet_multi.ports.recording import STATISTICS, CallRecorder, LayerCall, Step, Visitor

NAMES = {
    **{"weight": "weight", "bias": "bias", "gamma": "gamma", "beta": "beta"},
    **{"running_mean": "mean", "running_var": "variance"},
}


class GluonNetwork:
    """An adapter for a Gluon block."""

    channels_last = False

    def __init__(self, net: Any) -> None:
        self.net = net

    def recorder(self, visitor: Visitor) -> CallRecorder:
        from mxnet.gluon import nn

        return CallRecorder(self, nn, visitor)

    def run(self, inputs: Sequence[np.ndarray], recorder: CallRecorder, training: bool = False) -> Any:
        from mxnet import autograd, util

        arrays, is_np = self._arrays(inputs)
        blocks = self._blocks()

        def recording(block: Any, forward: Any) -> Any:
            def recording_forward(*args: Any) -> Any:
                args = recorder.enter(block, block.name, args, bool(block._children))
                return recorder.leave(forward(*args))

            return recording_forward

        # A compiled block does not call its children. Set `_active`: `hybridize` would reset the options.
        active = {block: block._active for block in blocks if hasattr(block, "_active")}
        try:
            for block in active:
                block._active = False
            for block in blocks:  # the hooks of MXNet cannot replace an array
                vars(block)["forward"] = recording(block, block.forward)
            with util.np_array(is_np), util.np_shape(is_np), autograd.pause(train_mode=training):
                return self.net(*arrays)
        finally:
            for block in blocks:
                vars(block).pop("forward", None)
            for block, was_active in active.items():
                block._active = was_active

    def _blocks(self) -> list[Any]:
        blocks: list[Any] = []
        self.net.apply(blocks.append)
        return list(dict.fromkeys(blocks))

    def _arrays(self, inputs: Sequence[np.ndarray]) -> tuple[list[Any], bool]:
        """The inputs as MXNet's arrays, and whether these are those of `mx.np`."""
        from mxnet import cpu, nd, util
        from mxnet import np as mx_np

        values = [parameter.list_data()[0] for parameter in self.net.collect_params().values()]
        device = values[0].ctx if values else cpu()
        # A block runs only on arrays of the kind that its parameters have: `mx.np` or the older `mx.nd`.
        is_np = isinstance(values[0], mx_np.ndarray) if values else util.is_np_array()

        def to_mxnet(array: np.ndarray) -> Any:
            dtype = values[0].dtype if values and np.issubdtype(array.dtype, np.floating) else array.dtype
            return (mx_np if is_np else nd).array(array, dtype=dtype, ctx=device)

        return [to_mxnet(array) for array in inputs], is_np

    def training_step(
        self, inputs: Sequence[np.ndarray], factors: np.ndarray, layers: Sequence[LayerCall], seed: int = 0
    ) -> Step:
        from mxnet import autograd, util

        arrays, is_np = self._arrays(inputs)
        parameters = self.net.collect_params().values()
        before = [
            (p, p.list_data()[0].copy(), p.list_grad()[0].copy() if p.grad_req != "null" else None) for p in parameters
        ]
        rates = {block: block._rate for block in self._blocks() if hasattr(block, "_rate")}
        active = {block: block._active for block in self._blocks() if hasattr(block, "_active")}
        watched = [array for array in arrays if np.issubdtype(np.dtype(array.dtype), np.floating)]
        try:
            for block in active:  # a compiled block would keep its dropout, or keep it off afterwards
                block._active = False
            for block in rates:
                block._rate = 0
            for parameter, _, gradient in before:
                if gradient is not None:
                    parameter.list_grad()[0][:] = 0
            for array in watched:
                array.attach_grad()
            with util.np_array(is_np), util.np_shape(is_np), autograd.record(train_mode=True):
                output = find_arrays(self.net(*arrays))[0]
                loss = (output * self.like(factors, output)).sum()
            loss.backward()

            def value_of(name: str, parameter: Any) -> Any:
                if name in STATISTICS:
                    return parameter.list_data()[0].copy()
                return None if parameter.grad_req == "null" else parameter.list_grad()[0].copy()

            of_layers = [self.parameters(call.layer, call.kind, value_of) for call in layers]
            return [as_numpy(array.grad) for array in watched], of_layers
        finally:
            for block, was_active in active.items():
                block._active = was_active
            for block, rate in rates.items():
                block._rate = rate
            for parameter, value, gradient in before:
                parameter.set_data(value)
                if gradient is not None:
                    parameter.list_grad()[0][:] = gradient

    def settings(self, layer: Any, kind: str, size: Sequence[int]) -> Settings:
        return gluon_settings(layer, kind, size)

    def parameters(
        self,
        layer: Any,
        kind: str,
        value_of: Callable[[str, Any], Any] = lambda name, parameter: parameter.list_data()[0],
    ) -> dict[str, np.ndarray]:
        found = [(name, getattr(layer, attribute, None)) for attribute, name in NAMES.items()]
        values = [(name, value_of(name, parameter)) for name, parameter in found if parameter is not None]
        parameters = {name: as_numpy(value) for name, value in values if value is not None}
        if getattr(layer, "_kwargs", {}).get("fix_gamma"):  # the block has a gamma, and does not use it
            parameters.pop("gamma", None)
        return parameters

    def assign(self, layer: Any, kind: str, parameters: Mapping[str, np.ndarray]) -> None:
        from mxnet import nd
        from mxnet import np as mx_np

        for attribute, name in NAMES.items():
            if name in parameters and getattr(layer, attribute, None) is not None:
                parameter = getattr(layer, attribute)
                is_np = isinstance(parameter.list_data()[0], mx_np.ndarray)
                parameter.set_data((mx_np if is_np else nd).array(parameters[name], dtype=parameter.dtype))

    def like(self, array: np.ndarray, other: Any) -> Any:
        from mxnet import nd
        from mxnet import np as mx_np

        make = mx_np.array if isinstance(other, mx_np.ndarray) else nd.array
        return make(array, dtype=other.dtype, ctx=other.ctx)
