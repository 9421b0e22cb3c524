"""Keras layers and models: their layers' calls, settings and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import as_numpy, find_arrays
from lenet_multi.ports.layer_kinds import CONVS, WITH_WEIGHTS, kind_of
from lenet_multi.ports.layer_settings import Settings, activation_name, keras_settings
from lenet_multi.ports.layouts import first_to_last
from lenet_multi.ports.recording import STATISTICS, CallRecorder, LayerCall, Step, Visitor

NAMES = {
    **{"kernel": "weight", "bias": "bias", "depthwise_kernel": "depthwise", "pointwise_kernel": "weight"},
    **{"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_variance": "variance"},
}


class KerasNetwork:
    """An adapter for a Keras layer or model."""

    def __init__(self, net: Any) -> None:
        import keras

        self.net = net
        # From a convolution or pooling: a Flatten may keep Keras's default format.
        image_layers = (
            layer
            for layer in net._flatten_layers()
            if kind_of(type(layer), True) in (*CONVS, "separable conv", "pool") and hasattr(layer, "data_format")
        )
        formats = (layer.data_format for layer in image_layers)
        self.channels_last = next(formats, keras.config.image_data_format()) == "channels_last"
        self._names = {layer: name for name, layer in reversed(list(_attributes(net, "", {net})))}

    def recorder(self, visitor: Visitor) -> CallRecorder:
        import keras

        return CallRecorder(self, keras.layers, visitor)

    def run(self, inputs: Sequence[np.ndarray], recorder: CallRecorder, training: bool = False) -> Any:
        import keras

        call = keras.layers.Layer.__call__
        linear = keras.activations.linear

        def recording_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            has_sublayers = len(list(layer._flatten_layers())) > 1
            name = self._names.get(layer, layer.name)
            args, kwargs = recorder.enter(layer, name, (args, kwargs), has_sublayers)
            activation = vars(layer).get("activation")
            is_option = activation not in (None, linear) and recorder.kind_of(layer, has_sublayers) in WITH_WEIGHTS

            def recording_activation(value: Any) -> Any:
                (value,) = recorder.enter(None, activation_name(activation), (value,), kind="activation")
                return recorder.leave(activation(value))

            # Set the attribute in `vars`: Keras tracks attributes that are set with `setattr`.
            if is_option:
                vars(layer)["activation"] = recording_activation
            try:
                output = call(layer, *args, **kwargs)
            finally:
                if is_option:
                    vars(layer)["activation"] = activation
            return recorder.leave(output)

        arrays = [first_to_last(array) if self.channels_last else array for array in inputs]
        # Keras has no hooks. Replace the call that all layers inherit while the network runs.
        keras.layers.Layer.__call__ = recording_call
        try:
            return self.net(arrays if len(arrays) > 1 else arrays[0], training=training)
        finally:
            keras.layers.Layer.__call__ = call

    def settings(self, layer: Any, kind: str, size: Sequence[int]) -> Settings:
        return keras_settings(layer, kind, size)

    def parameters(
        self, layer: Any, kind: str, value_of: Callable[[str, Any], Any] = lambda name, variable: variable.value
    ) -> dict[str, np.ndarray]:
        variables = [(name, getattr(layer, attribute, None)) for attribute, name in NAMES.items()]
        values = [(name, value_of(name, variable)) for name, variable in variables if variable is not None]
        parameters = {name: as_numpy(value) for name, value in values if value is not None}
        for name in {"weight", "depthwise"} & parameters.keys():  # (height, width, in, out) and (in, out)
            weight = np.moveaxis(parameters[name], (-1, -2), (0, 1))
            # Depthwise: (multiplier, channels, height, width).
            if name == "depthwise" or (kind == "conv" and hasattr(layer, "depth_multiplier")):
                weight = weight.swapaxes(0, 1).reshape(-1, 1, *weight.shape[2:])
            parameters[name] = weight
        return parameters

    def assign(self, layer: Any, kind: str, parameters: Mapping[str, np.ndarray]) -> None:
        for attribute, name in NAMES.items():
            variable = getattr(layer, attribute, None)
            if variable is None or name not in parameters:
                continue
            value = parameters[name]
            if name in ("weight", "depthwise"):
                if name == "depthwise" or (kind == "conv" and hasattr(layer, "depth_multiplier")):
                    channels = variable.shape[-2]
                    value = value.reshape(channels, -1, *value.shape[2:]).swapaxes(0, 1)
                value = np.moveaxis(value, (0, 1), (-1, -2))
            variable.assign(value)

    def training_step(
        self, inputs: Sequence[np.ndarray], factors: np.ndarray, layers: Sequence[LayerCall], seed: int = 0
    ) -> Step:
        import tensorflow as tf

        net, trainable = self.net, self.net.trainable_variables
        before = [(variable, as_numpy(variable.value).copy()) for variable in net.non_trainable_variables]
        rates = {layer: layer.rate for layer in net._flatten_layers() if hasattr(layer, "rate")}
        arrays = [first_to_last(array) if self.channels_last else array for array in inputs]
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        try:
            for layer in rates:
                layer.rate = 0

            def step(*tensors: Any) -> Any:
                with tf.GradientTape() as tape:
                    for tensor in tensors:
                        tape.watch(tensor)
                    output = find_arrays(net(list(tensors) if len(tensors) > 1 else tensors[0], training=True))[0]
                    loss = tf.reduce_sum(output * tf.cast(factors, output.dtype))
                return tape.gradient(loss, [*tensors, *(variable.value for variable in trainable)])

            found = (tf.function(step, jit_compile=True) if self._needs_xla() else step)(*tensors)
            gradients = dict(zip(map(id, trainable), found[len(tensors) :], strict=True))

            def value_of(name: str, variable: Any) -> Any:
                return as_numpy(variable.value).copy() if name in STATISTICS else gradients.get(id(variable))

            of_layers = [self.parameters(call.layer, call.kind, value_of) for call in layers]
            return [None if one is None else as_numpy(one) for one in found[: len(tensors)]], of_layers
        finally:
            for layer, rate in rates.items():
                layer.rate = rate
            for variable, value in before:
                variable.assign(value)

    def _needs_xla(self) -> bool:
        """Whether a convolution has a stride larger than its kernel.

        On CPUs, TensorFlow 2.21 with oneDNN may write outside its memory in the gradient of such a convolution. XLA
        computes it without oneDNN.
        """
        convs = [layer for layer in self.net._flatten_layers() if kind_of(type(layer), True) == "conv"]
        return any(s > k for layer in convs for s, k in zip(layer.strides, layer.kernel_size, strict=True))

    def like(self, array: np.ndarray, other: Any) -> Any:
        import keras

        return keras.ops.convert_to_tensor(array, dtype=other.dtype)


def _attributes(layer: Any, prefix: str, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """The names of the layers in a subclassed layer or model, by the attributes that hold them: `block.conv`."""
    import keras

    if isinstance(layer, keras.Sequential) or type(layer).__name__ == "Functional":
        return
    for attribute, value in vars(layer).items():
        if attribute.startswith("_"):
            continue
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in [(attribute, value), *((f"{attribute}.{key}", item) for key, item in items)]:
            if isinstance(inner, keras.layers.Layer) and inner not in seen:
                seen.add(inner)
                yield f"{prefix}{name}", inner
                yield from _attributes(inner, f"{prefix}{name}.", seen)
