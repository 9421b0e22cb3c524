"""Records the calls of a network's layers while the network runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import dtype_name, float64_copies
from lenet_multi.ports.layer_kinds import CONTAINERS, WITH_ACTIVATION, kind_of, norm_epsilon
from lenet_multi.ports.traces import TracedLayer


@dataclass(frozen=True)
class _Call:
    """A call of a layer that has not returned yet."""

    framework_class: type | None  # the framework's class that the layer is an instance of
    kind: str
    input: np.ndarray | None
    num_before: int  # number of layers recorded before the call


class CallRecorder:
    """Collects the layers of a network in the order in which their calls return.

    A layer of the framework is recorded as one layer, whatever it consists of. An instance of any other class is
    recorded only if no layer is recorded inside it. The network itself is recorded only if it is a layer of the
    framework.

    Args:
        package: the module that holds the framework's layers.
        parameters_of: returns the parameters of a layer of a given kind, by their names in a `TracedLayer`.
        has_weights: whether a layer has parameters.
        channels_first: converts an input or output array to channels first.
    """

    def __init__(
        self,
        package: Any,
        parameters_of: Callable[[Any, str], dict[str, np.ndarray]],
        has_weights: Callable[[Any], bool],
        channels_first: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    ) -> None:
        self.layers: list[TracedLayer] = []
        self._calls: list[_Call] = []
        self._package, self._parameters_of, self._has_weights = package, parameters_of, has_weights
        self._channels_first = channels_first

    def enter(self, layer: Any, inputs: Any) -> None:
        """Record that a layer is called. This copies the input, because the layer may change it in place."""
        framework_class = next((base for base in type(layer).__mro__ if self._is_framework_class(base)), None)
        kind = kind_of(framework_class or type(layer), framework_class is not None)
        self._calls.append(_Call(framework_class, kind, self._first_array(inputs), len(self.layers)))

    def leave(self, layer: Any, name: str, output: Any, is_network: bool = False) -> None:
        """Record that the layer entered last returned its output."""
        call = self._calls[-1]
        inner = self.layers[call.num_before :]
        if call.framework_class is None and (inner or is_network):
            self._calls.pop()
            return
        # PyTorch's parametrized weights run modules. Read them before the inner layers are dropped.
        parameters = self._parameters_of(layer, call.kind)
        self._calls.pop()
        del self.layers[call.num_before :]
        array = self._first_array(output)
        if array is None:
            return
        fused = inner[-1] if call.kind in WITH_ACTIVATION and inner and inner[-1].kind == "activation" else None
        has_activation = fused is not None or call.kind == "activation"
        pre_activation = fused.input if fused else call.input if has_activation else array
        self._add(
            TracedLayer(
                name=name,
                kind=call.kind,
                output=array,
                pre_activation=array if pre_activation is None else pre_activation,
                has_activation=has_activation,
                input=call.input,
                has_weights=call.kind != "activation" and self._has_weights(layer),
                parameters=parameters,
                epsilon=norm_epsilon(layer) if call.kind == "norm" else None,
                dtype=dtype_name(output),
            )
        )

    def leave_activation(self, output: Any) -> None:
        """Record that a layer's activation function, entered as if it were a layer, returned its output."""
        call = self._calls.pop()
        array = self._first_array(output)
        if array is None:
            return
        self._add(
            TracedLayer(
                name="activation",
                kind="activation",
                output=array,
                pre_activation=array,
                has_activation=True,
                input=call.input,
                dtype=dtype_name(output),
            )
        )

    def _first_array(self, value: Any) -> np.ndarray | None:
        return next((self._channels_first(array) for array in float64_copies(value)), None)

    def _add(self, layer: TracedLayer) -> None:
        names, name, count = {earlier.name for earlier in self.layers}, layer.name, 1
        while name in names:
            count += 1
            name = f"{layer.name}:{count}"
        self.layers.append(replace(layer, name=name))

    def _is_framework_class(self, base: type) -> bool:
        return getattr(self._package, base.__name__, None) is base and base.__name__ not in CONTAINERS
