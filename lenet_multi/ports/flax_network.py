"""Flax NNX modules: their layers' calls, settings and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import as_numpy, find_arrays
from lenet_multi.ports.layer_kinds import kind_of_name
from lenet_multi.ports.layer_settings import Settings, flax_settings
from lenet_multi.ports.layouts import first_to_last
from lenet_multi.ports.recording import CallRecorder, LayerCall, Step, Visitor

NAMES = {"kernel": "weight", "bias": "bias", "negative_slope": "slope"}
NORM_NAMES = {"scale": "gamma", "bias": "beta", "mean": "mean", "var": "variance"}
FUNCTIONS = ("activation", "pool", "flatten")  # the kinds of layers that are functions in Flax


class FlaxNetwork:
    """An adapter for a `flax.nnx.Module`.

    A copy of the module runs, so that the modes, statistics and random states of the module itself stay as they are.
    """

    channels_last = True

    def __init__(self, net: Any) -> None:
        self.net = net

    def recorder(self, visitor: Visitor) -> CallRecorder:
        from flax import nnx

        return CallRecorder(self, nnx, visitor)

    def run(self, inputs: Sequence[np.ndarray], recorder: CallRecorder, training: bool = False) -> Any:
        import jax
        from flax import nnx

        copy = nnx.clone(self.net)
        copy.train() if training else copy.eval()
        modules = {}
        for path, layer, twin in self._twins(copy):
            modules[id(twin)] = ".".join(map(str, path)) or type(layer).__name__, layer
            # An activation or a pooling is a function, which a `Sequential` or another attribute holds.
            for attribute, value in list(vars(twin).items()):
                kind = _kind_of_function(value)
                if kind in FUNCTIONS:
                    name = ".".join(map(str, (*path, attribute)))
                    vars(twin)[attribute] = _recording(value, recorder, value, name, kind=kind)

        def replacement(layer_class: Any, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(twin: Any, *args: Any, **kwargs: Any) -> Any:
                bound = partial(original, twin)
                if type(twin) is not layer_class or id(twin) not in modules:  # `super().__call__`
                    return bound(*args, **kwargs)
                name, layer = modules[id(twin)]
                return _recording(bound, recorder, layer, name, len(_modules(layer)) > 1)(*args, **kwargs)

            return call

        classes = {type(layer) for _, layer in modules.values() if callable(layer)}
        # On GPUs, JAX by default rounds the factors of products to fewer bits than other frameworks do.
        with _replaced_calls(classes, replacement), jax.default_matmul_precision("highest"):
            return copy(*self._arrays(inputs))

    def _twins(self, copy: Any) -> list[tuple[tuple[Any, ...], Any, Any]]:
        """The path of each module in the network, the module, and the one in the copy."""
        pairs = zip(_modules(self.net), _modules(copy), strict=True)
        return [(path, layer, twin) for (path, layer), (_, twin) in pairs]

    @staticmethod
    def _arrays(inputs: Sequence[np.ndarray]) -> list[Any]:
        import jax.numpy as jnp

        return [jnp.asarray(first_to_last(array)) for array in inputs]

    def settings(self, layer: Any, kind: str, size: Sequence[int]) -> Settings:
        return flax_settings(layer, kind, size)

    def parameters(self, layer: Any, kind: str) -> dict[str, np.ndarray]:
        found = {name: getattr(layer, attribute, None) for attribute, name in _names_of(kind).items()}
        parameters = {name: as_numpy(variable[...]) for name, variable in found.items() if variable is not None}
        if "weight" in parameters:
            parameters["weight"] = _to_torch(parameters["weight"], layer, kind)
        return parameters

    def assign(self, layer: Any, kind: str, parameters: Mapping[str, np.ndarray]) -> None:
        import jax.numpy as jnp

        for attribute, name in _names_of(kind).items():
            variable = getattr(layer, attribute, None)
            if variable is not None and name in parameters:
                value = parameters[name]
                value = _from_torch(value, layer, kind) if name == "weight" else value
                # Copy: on a CPU, `jnp.asarray` may share the memory of the other network's parameters.
                # Flax 0.12.0 keeps a NumPy array that was assigned to a variable; that has no sharding.
                device = getattr(variable[...], "sharding", None)
                variable[...] = jnp.array(value, variable.dtype, device=device)

    def training_step(
        self, inputs: Sequence[np.ndarray], factors: np.ndarray, layers: Sequence[LayerCall], seed: int = 0
    ) -> Step:
        import jax
        from flax import nnx

        copy, arrays = nnx.clone(self.net), self._arrays(inputs)
        twins = {id(layer): twin for _, layer, twin in self._twins(copy)}
        copy.train()
        copy.set_attributes(nnx.Dropout, deterministic=True, raise_if_not_found=False)
        nnx.update(copy, jax.tree.map(lambda count: count + seed, nnx.state(copy, nnx.RngCount)))
        watched = {n: array for n, array in enumerate(arrays) if np.issubdtype(array.dtype, np.floating)}

        def loss(net: Any, watched: Mapping[int, Any]) -> Any:
            output = find_arrays(net(*(watched.get(n, array) for n, array in enumerate(arrays))))[0]
            return (output * self.like(factors, output)).sum()

        with jax.default_matmul_precision("highest"):
            gradients, of_inputs = nnx.grad(loss, argnums=(0, 1))(copy, watched)
        nnx.update(copy, gradients)  # now the copy's parameters are the gradients, and its statistics are the new ones
        of_layers = [self.parameters(twins.get(id(call.layer)), call.kind) for call in layers]
        return [as_numpy(array) for array in of_inputs.values()], of_layers

    def like(self, array: np.ndarray, other: Any) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(array, other.dtype)


def _modules(net: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """The path of each module in a module, with the module; its own path is empty."""
    from flax import nnx

    return [(path, value) for path, value in nnx.iter_graph(net) if isinstance(value, nnx.Module)]


@contextmanager
def _replaced_calls(classes: Iterable[Any], replacement: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Replace `__call__` of each class, and restore it: NNX has no hooks."""
    own = {c: vars(c).get("__call__") for c in classes}
    originals = {c: getattr(c.__call__, "fun", c.__call__) for c in classes}  # `fun` is what `nnx.jit` decorates
    try:
        for c, original in originals.items():
            c.__call__ = replacement(c, original)
        yield
    finally:
        for c, call in own.items():
            if call is None:
                del c.__call__
            else:
                c.__call__ = call


def _recording(
    call: Callable[..., Any],
    recorder: CallRecorder,
    layer: Any,
    name: str,
    has_sublayers: bool = False,
    kind: str | None = None,
) -> Callable[..., Any]:
    """A function that records the calls of a layer."""
    import jax

    def recording_call(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(array, jax.core.Tracer) for array in find_arrays((args, kwargs))):
            return call(*args, **kwargs)  # within `jax.jit`, `nnx.remat` and so on there are no numbers
        args, kwargs = recorder.enter(layer, name, (args, kwargs), has_sublayers, kind)
        return recorder.leave(call(*args, **kwargs))

    return recording_call


def _names_of(kind: str) -> Mapping[str, str]:
    return NORM_NAMES if kind == "norm" else NAMES


def _kind_of_function(value: Any) -> str | None:
    """The kind of a function, or of a `partial` of one; None for anything else."""
    import jax
    from flax import nnx

    function = getattr(value, "func", value)
    name = getattr(function, "__name__", None)
    if name is None or isinstance(value, nnx.Module | type):
        return None
    return "activation" if getattr(jax.nn, name, None) is function else kind_of_name(name)


def _to_torch(kernel: np.ndarray, layer: Any, kind: str) -> np.ndarray:
    """A kernel (height, width, in, out) or (in, out) in PyTorch's layout."""
    if kind == "transposed conv" and not layer.transpose_kernel:  # PyTorch's is (in, out, ...), and turned around
        return np.moveaxis(np.flip(kernel, tuple(range(kernel.ndim - 2))), (-2, -1), (0, 1))
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _from_torch(weight: np.ndarray, layer: Any, kind: str) -> np.ndarray:
    """The inverse of `_to_torch`."""
    if kind == "transposed conv" and not layer.transpose_kernel:
        kernel = np.moveaxis(weight, (0, 1), (-2, -1))
        return np.flip(kernel, tuple(range(kernel.ndim - 2)))
    return np.moveaxis(weight, (0, 1), (-1, -2))
