"""Somebody else's port: where do two networks first compute something else, and what does the difference look like?

`compare_networks` takes networks that were not built here: a `torch.nn.Module`, a Keras model, a Gluon block, or a
function. It runs both on the same inputs, compares them layer by layer, and names the first that diverges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np

from lenet_multi.errors import UserError

SKIPPED = ("flatten", "padding", "dropout", "input")  # kinds that one framework has as a layer and another has not


class PortError(UserError):
    """Networks that cannot be compared."""


@dataclass(frozen=True)
class Traced:
    """What a layer was seen to do.

    Attributes:
        name: the framework's own name for it.
        kind: conv, dense, pool, activation, flatten, padding, dropout, input, or the class's name.
        output: what it gave, channels first: (N, C, H, W), or (N, units).
        input: what it was given, channels first; None where that was not seen.
        weight: convolution (out, in, height, width), dense (out, in); None for other layers.
        bias: (out,), or None.
    """

    name: str
    kind: str
    output: np.ndarray
    input: np.ndarray | None = None
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass(frozen=True)
class LayerReport:
    """How one pair of layers compares; `error` is the largest difference, infinite where the shapes differ."""

    reference: str
    port: str
    reference_shape: tuple[int, ...]
    port_shape: tuple[int, ...]
    error: float
    agrees: bool


@dataclass(frozen=True)
class Report:
    """What a comparison found; print it for a table.

    Attributes:
        layers: a report for each pair of layers, in the reference's order.
        first_divergence: the first of them that does not agree, or None.
        hint: what its difference looks like, or None where it has no known shape.
    """

    layers: tuple[LayerReport, ...]
    first_divergence: LayerReport | None
    hint: str | None

    def __str__(self) -> str:
        rows = [("reference", "port", "output shape", "largest error", "")]
        for layer in self.layers:
            shape = str(layer.reference_shape)
            if layer.port_shape != layer.reference_shape:
                shape += f", not {layer.port_shape}"
            rows.append((layer.reference, layer.port, shape, f"{layer.error:.1e}", "" if layer.agrees else "differs"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        if self.first_divergence is None:
            return "\n".join([*table, "all layers agree"])
        first = self.first_divergence
        told = f"first to differ: {first.reference} (port: {first.port})"
        return "\n".join([*table, f"{told}: {self.hint}" if self.hint else told])


def compare_networks(
    reference: Any, port: Any, X: np.ndarray, mapping: Mapping[str, str] | None = None, tolerance: float = 1e-5
) -> Report:
    """Run two networks on the same inputs and compare them layer by layer.

    Layers are matched in order: convolutions, poolings, dense layers and others, each with the activation that follows
    it; flatten, padding and dropout layers are passed over, since not every framework has them as layers.

    Args:
        reference: what is taken to be right: a `torch.nn.Module`; a Keras model, Sequential or functional; a Gluon
            block; or a function of X that gives an array, or a dict of layer name to array, channels first.
        port: what is held against it, likewise.
        X: inputs, float32, images as (N, C, H, W); a channels-last network is given (N, H, W, C).
        mapping: the reference's layer name to the port's, in place of matching in order; the layers to compare.
        tolerance: the largest difference that counts as agreement, in units of the reference's largest output where
            that is above 1.

    Raises:
        PortError: when a network is of no known kind, or the layers cannot be matched.
    """
    X = np.ascontiguousarray(X, np.float32)
    a, b = trace_network(reference, X), trace_network(port, X)
    pairs = _by_mapping(a, b, mapping) if mapping else _in_order(a, b)
    reports = tuple(_compare(*pair, tolerance) for pair in pairs)
    first = next((number for number, report in enumerate(reports) if not report.agrees), None)
    if first is None:
        return Report(reports, None, None)
    return Report(reports, reports[first], find_hint(*pairs[first], before=pairs[:first], tolerance=tolerance))


def _compare(a: Traced, b: Traced, tolerance: float) -> LayerReport:
    same_shape = a.output.shape == b.output.shape
    error = float(np.abs(a.output - b.output).max()) if same_shape else float("inf")
    return LayerReport(a.name, b.name, a.output.shape, b.output.shape, error, _close(a.output, b.output, tolerance))


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays agree; what is no number agrees with nothing."""
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= tolerance * max(1.0, np.abs(a).max(initial=0)))


# Matching


def _in_order(a: list[Traced], b: list[Traced]) -> list[tuple[Traced, Traced]]:
    a, b = _comparable(a), _comparable(b)
    kinds = [[layer.kind for layer in layers] for layers in (a, b)]
    if kinds[0] != kinds[1]:
        told = ["; ".join(f"{layer.name} ({layer.kind})" for layer in layers) for layers in (a, b)]
        raise PortError(
            f"the reference has the layers {told[0]}, the port {told[1]}, expected the same kinds in the same order: "
            "give a mapping of layer names"
        )
    return list(zip(a, b, strict=True))


def _by_mapping(a: list[Traced], b: list[Traced], mapping: Mapping[str, str]) -> list[tuple[Traced, Traced]]:
    found = []
    for layers, names, whose in ((a, mapping, "reference"), (b, mapping.values(), "port")):
        by_name = {layer.name: layer for layer in layers} | {layer.name: layer for layer in _comparable(layers)}
        for name in names:
            if name not in by_name:
                raise PortError(f"mapping names '{name}', expected a layer of the {whose}: {', '.join(by_name)}")
        found.append(by_name)
    order = [layer.name for layer in a]
    return [(found[0][name], found[1][mapping[name]]) for name in sorted(mapping, key=order.index)]


def _comparable(layers: list[Traced]) -> list[Traced]:
    """The layers that every framework has, an activation taken together with the layer before it."""
    kept: list[Traced] = []
    for layer in layers:
        if layer.kind == "activation" and kept:
            kept[-1] = replace(kept[-1], output=layer.output)
        elif layer.kind not in SKIPPED:
            kept.append(layer)
    return kept


# Hints


def find_hint(a: Traced, b: Traced, before: list[tuple[Traced, Traced]], tolerance: float = 1e-5) -> str | None:
    """What the difference of two layers looks like, when it has a known shape; `before` are the pairs before them."""
    return next((hint for hint in _hints(a, b, before, tolerance) if hint), None)


def _hints(a: Traced, b: Traced, before: list[tuple[Traced, Traced]], tolerance: float) -> Iterator[str | None]:
    yield _axes_hint(a.output, b.output, tolerance)
    yield _dense_hint(a, b, before, tolerance)
    yield _kernel_hint(a, b, tolerance)
    yield _border_hint(a.output, b.output, tolerance)
    yield _factor_hint(a.output, b.output, tolerance)
    yield _bias_hint(a, b, tolerance)


def _axes_hint(a: np.ndarray, b: np.ndarray, tolerance: float) -> str | None:
    if a.ndim != 4 or b.ndim != 4:
        return None
    names: dict[tuple[int, ...], str] = {
        (0, 2, 3, 1): "NHWC/NCHW",
        (0, 3, 1, 2): "NHWC/NCHW",
        (0, 1, 3, 2): "height/width",
    }
    for axes in permutations((1, 2, 3)):
        order = (0, *axes)
        if order != (0, 1, 2, 3) and _close(a, b.transpose(order), tolerance):
            return f"the outputs agree after a transpose ({names.get(order, 'axes')}): port.transpose{order}"
    return None


def _dense_hint(a: Traced, b: Traced, before: list[tuple[Traced, Traced]], tolerance: float) -> str | None:
    """The weighted sums as they would be with the port's weights put right in some way."""
    if a.kind != "dense" or b.kind != "dense" or a.input is None or b.input is None or b.weight is None:
        return None
    wanted = _weighted_sum(a, a.weight)
    images = next((port.output for _, port in reversed(before) if port.output.ndim == 4), None)
    if images is not None and images[0].size == b.input.shape[1]:
        channels, height, width = images.shape[1:]
        channel_major = np.arange(images[0].size).reshape(channels, height, width)
        for order, told in (
            (channel_major.transpose(1, 2, 0).ravel(), "(C, H, W) to (H, W, C)"),
            (channel_major.reshape(height, width, channels).transpose(2, 0, 1).ravel(), "(H, W, C) to (C, H, W)"),
        ):
            if _close(wanted, _weighted_sum(b, b.weight[:, order]), tolerance):
                return (
                    f"agrees after the flatten permutation: reorder the {len(order)} inputs of the port's dense weight "
                    f"from {told}, with C, H, W = {channels}, {height}, {width}"
                )
    if b.weight.shape[0] == b.weight.shape[1] and _close(wanted, _weighted_sum(b, b.weight.T), tolerance):
        return "agrees after transposing the port's dense weight: inputs and outputs are swapped"
    if _close(wanted, _weighted_sum(b, b.weight), tolerance):
        return "the weighted sums agree: the activation differs"
    return None


def _weighted_sum(layer: Traced, weight: Any) -> np.ndarray:
    assert layer.input is not None
    inputs = layer.input.reshape(len(layer.input), -1)
    return inputs @ weight.T.astype(np.float64) + (0 if layer.bias is None else layer.bias)


def _kernel_hint(a: Traced, b: Traced, tolerance: float) -> str | None:
    if a.kind != "conv" or b.kind != "conv" or a.weight is None or b.weight is None:
        return None
    if _close(a.weight, b.weight, tolerance):
        return None
    for changed, told in (
        (b.weight[:, :, ::-1, ::-1], "a kernel flip: one convolves, the other correlates"),
        (b.weight.transpose(0, 1, 3, 2), "transposing the port's kernels: height and width are swapped"),
        (b.weight.transpose(1, 0, 2, 3), "transposing the port's kernels: inputs and outputs are swapped"),
    ):
        if _close(a.weight, changed, tolerance):
            return f"the weights agree after {told}"
    return None


def _border_hint(a: np.ndarray, b: np.ndarray, tolerance: float) -> str | None:
    """Agreement in the middle of the images alone, of one size or of two that differ by a border."""
    if a.ndim != 4 or b.ndim != 4 or a.shape[:2] != b.shape[:2]:
        return None
    if a.shape != b.shape:
        sizes = [min(pair) for pair in zip(a.shape[2:], b.shape[2:], strict=True)]
        if any(difference % 2 for difference in np.subtract(a.shape[2:], b.shape[2:])):
            return None
        if _close(_middle(a, sizes), _middle(b, sizes), tolerance):
            return f"the outputs agree but for a border that one of them has not: padding ({a.shape} and {b.shape})"
    height, width = (min(pair) for pair in zip(a.shape[2:], b.shape[2:], strict=True))
    for border in range(1, (min(height, width) + 1) // 2):
        sizes = [height - 2 * border, width - 2 * border]
        if _close(_middle(a, sizes), _middle(b, sizes), tolerance):
            return f"differs at the border only, {border} deep: padding"
    return None


def _middle(images: np.ndarray, sizes: list[int]) -> np.ndarray:
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], sizes, strict=True))
    return images[:, :, top : top + sizes[0], left : left + sizes[1]]


def _factor_hint(a: np.ndarray, b: np.ndarray, tolerance: float) -> str | None:
    if a.shape != b.shape or not (b * b).sum() > 0:
        return None
    factor = float((a * b).sum() / (b * b).sum())
    if factor != 0 and _close(a, factor * b, tolerance):
        return f"differs by a constant factor: the reference is {factor:.6g} times the port"
    return None


def _bias_hint(a: Traced, b: Traced, tolerance: float) -> str | None:
    if a.weight is None or b.weight is None or not _close(a.weight, b.weight, tolerance):
        return None
    if (a.bias is None) != (b.bias is None):
        return f"the weights agree, but the {'port' if b.bias is None else 'reference'} has no bias"
    if a.bias is not None and b.bias is not None and not _close(a.bias, b.bias, tolerance):
        return "the weights agree, the biases differ"
    return None


# Tracing: what each layer of a network gives


def trace_network(network: Any, X: np.ndarray) -> list[Traced]:
    """Run a network on X and give what each layer did, in the order of execution.

    Raises:
        PortError: when the network is of no known kind.
    """
    packages = {base.__module__.partition(".")[0] for base in type(network).__mro__}
    if "torch" in packages:
        return _trace_torch(network, X)
    if "keras" in packages:
        return _trace_keras(network, X)
    if "mxnet" in packages:
        return _trace_gluon(network, X)
    if callable(network):
        return _trace_function(network, X)
    raise PortError(
        f"a {type(network).__name__}, expected a torch.nn.Module, a Keras model, a Gluon block or a function"
    )


def _kind(layer: Any, weight: np.ndarray | None) -> str:
    """A layer's kind, told from its weight or from what its class is called."""
    if weight is not None and weight.ndim in (2, 4):
        return "conv" if weight.ndim == 4 else "dense"
    called = type(layer).__name__.lower()
    if "activation" in type(layer).__module__ or called == "activation":
        return "activation"
    for words, kind in (
        (("pool",), "pool"),
        (("flatten", "reshape", "permute"), "flatten"),
        (("pad",), "padding"),
        (("dropout", "identity"), "dropout"),
        (("inputlayer",), "input"),
    ):
        if any(word in called for word in words):
            return kind
    return called


def _trace_function(function: Callable[[np.ndarray], Any], X: np.ndarray) -> list[Traced]:
    given = function(X)
    outputs = given if isinstance(given, Mapping) else {"output": given}
    return [Traced(name, "output", np.asarray(output)) for name, output in outputs.items()]


def _trace_torch(net: Any, X: np.ndarray) -> list[Traced]:
    import torch

    traced: list[Traced] = []
    names = {module: name or type(module).__name__ for name, module in net.named_modules()}

    def see(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        weight = getattr(module, "weight", None)
        bias = getattr(module, "bias", None)
        arrays = [None if value is None else value.detach().cpu().numpy() for value in (inputs[0], weight, bias)]
        output = output.detach().cpu().numpy()
        traced.append(Traced(names[module], _kind(module, arrays[1]), output, *arrays))

    leaves = [module for module in net.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(see) for module in leaves]
    was_training = net.training
    parameter = next(net.parameters(), None)
    try:
        net.eval()
        with torch.no_grad():
            net(torch.from_numpy(X).to("cpu" if parameter is None else parameter.device))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return traced


def _trace_keras(net: Any, X: np.ndarray) -> list[Traced]:
    import keras

    found = [layer for layer in net.layers if type(layer).__name__ != "InputLayer"]
    formats = {getattr(layer, "data_format", None) for layer in found} - {None}
    last = formats != {"channels_first"} and X.ndim == 4
    try:
        outputs = [layer.output for layer in found]
        inputs = [layer.input for layer in found]
        (entrance,) = net.inputs
        seen = keras.Model(entrance, [*inputs, *outputs])
    except (AttributeError, ValueError) as problem:
        raise PortError(
            "a Keras model whose layers have no outputs of their own, expected a Sequential or functional one "
            "with one input that was built: give a function of the inputs instead"
        ) from problem
    arrays = [np.asarray(array) for array in seen(X.transpose(0, 2, 3, 1) if last else X, training=False)]
    arrays = [array.transpose(0, 3, 1, 2) if last and array.ndim == 4 else array for array in arrays]
    traced = []
    for layer, given, output in zip(found, arrays[: len(found)], arrays[len(found) :], strict=True):
        kernel = getattr(layer, "kernel", None)
        weight = None if kernel is None else np.asarray(kernel)
        if weight is not None:  # (height, width, in, out) and (in, out)
            weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
        bias = getattr(layer, "bias", None)
        bias = None if bias is None else np.asarray(bias)
        traced.append(Traced(layer.name, _kind(layer, weight), output, given, weight, bias))
    return traced


def _trace_gluon(net: Any, X: np.ndarray) -> list[Traced]:
    from mxnet import nd, npx, util
    from mxnet import np as mx_np

    traced: list[Traced] = []

    def array_of(parameter: Any) -> np.ndarray | None:
        return None if parameter is None else parameter.data().asnumpy()

    def see(block: Any, inputs: tuple[Any, ...], output: Any) -> None:
        weight, bias = array_of(getattr(block, "weight", None)), array_of(getattr(block, "bias", None))
        traced.append(Traced(block.name, _kind(block, weight), output.asnumpy(), inputs[0].asnumpy(), weight, bias))

    def leaves(block: Any) -> Iterator[Any]:
        # A convolution or dense layer keeps its activation as a child: it is one layer all the same.
        if block._reg_params or not block._children:
            yield block
        else:
            for child in block._children.values():
                yield from leaves(child)

    # A compiled block does not call its children, and so not their hooks.
    active, flags = getattr(net, "_active", False), dict(getattr(net, "_flags", []))
    if active:
        net.hybridize(active=False)
    hooks = [block.register_forward_hook(see) for block in leaves(net)]
    parameters = list(net.collect_params().values())
    device = parameters[0].list_ctx()[0] if parameters else npx.cpu()
    try:
        net(mx_np.array(X, ctx=device) if util.is_np_array() else nd.array(X, ctx=device))
    finally:
        for hook in hooks:
            hook.detach()
        if active:
            net.hybridize(active=True, **flags)
    return traced
