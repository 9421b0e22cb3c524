"""Fills a network with random parameters, and moves them to a port: layers belong together that get the same input."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import keras
import numpy as np
import torch

from port_collection.frameworks import framework_of, run
from port_collection.slots import (
    Slots,
    all_slots,
    epsilon,
    fan_in,
    gluon_slots,
    keras_slots,
    other_parameters,
    set_epsilon,
    slots_by_name,
    torch_slots,
)

Visit = Callable[[Slots, np.ndarray], None]


def visit_layers(net: Any, X: np.ndarray, visit: Visit) -> np.ndarray:
    """Run a network, and call a function with each layer that has parameters and its input, before the layer runs.

    Images come channels first.
    """
    with {"torch": _torch_visits, "keras": _keras_visits, "gluon": _gluon_visits}[framework_of(net)](net, visit):
        return run(net, X)


@contextmanager
def _torch_visits(net: Any, visit: Visit) -> Iterator[None]:
    def hook(slots: Slots) -> Callable[[Any, Any], None]:
        def enter(module: Any, args: Any) -> None:
            inputs = args[0].detach().numpy()
            per_pixel = isinstance(module, torch.nn.Linear) or (
                isinstance(module, torch.nn.LayerNorm)
                and len(module.normalized_shape) == 1
                and "2d" not in type(module).__name__
            )
            visit(slots, np.moveaxis(inputs, -1, 1) if inputs.ndim == 4 and per_pixel else inputs)

        return enter

    named = [(module, torch_slots(module, name)) for name, module in net.named_modules()]
    handles = [module.register_forward_pre_hook(hook(slots)) for module, slots in named if slots]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _keras_visits(net: Any, visit: Visit) -> Iterator[None]:
    call = keras.layers.Layer.__call__
    visits = {id(layer): slots for layer in net._flatten_layers() if (slots := keras_slots(layer))}

    def visiting_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) in visits:
            inputs = np.asarray(args[0])
            visit(visits[id(layer)], np.moveaxis(inputs, -1, 1) if inputs.ndim == 4 else inputs)
        return call(layer, *args, **kwargs)

    keras.layers.Layer.__call__ = visiting_call
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = call


@contextmanager
def _gluon_visits(net: Any, visit: Visit) -> Iterator[None]:
    blocks: list[Any] = []
    net.apply(blocks.append)
    named = [(block, gluon_slots(block)) for block in dict.fromkeys(blocks)]

    def hook(slots: Slots) -> Callable[[Any, Any], None]:
        return lambda _, args: visit(slots, args[0].asnumpy())

    handles = [block.register_forward_pre_hook(hook(slots)) for block, slots in named if slots]
    try:
        yield
    finally:
        for handle in handles:
            handle.detach()


def randomise(net: Any, X: np.ndarray, seed: int = 0, bias: float = 0.1, unit_gamma: bool = False) -> None:
    """Give every layer random parameters under which the activations keep their size from layer to layer.

    A norm gets statistics near those of its input on X, so that no norm statistic has its default value and a network
    of a hundred layers neither vanishes nor explodes.

    Args:
        bias: the standard deviation of biases; 0 where a port has none.
        unit_gamma: whether the norms' gammas are 1, where a port has none.
    """
    rng = np.random.default_rng(seed)
    for value, assign in other_parameters(net):
        assign(rng.uniform(0.2, 0.8, value.shape).astype(np.float32))

    def fill(slots: Slots, inputs: np.ndarray) -> None:
        axes = tuple(axis for axis in range(inputs.ndim) if axis != 1)
        for slot, value in slots.values.items():
            if slot == "weight":
                new = rng.normal(0, (2 / fan_in(value)) ** 0.5, value.shape)
            elif slot == "bias":
                new = rng.normal(0, bias, value.shape)
            elif slot == "gamma":
                new = np.ones(value.shape) if unit_gamma else rng.uniform(0.5, 1.5, value.shape)
            elif slot == "beta":
                new = rng.normal(0, 0.1, value.shape)
            elif slot == "mean":
                new = inputs.mean(axes) + rng.normal(0, 0.1, value.shape) * inputs.std()
            else:
                variance = inputs.var(axes)
                new = (0.5 * variance + 0.5 * variance.mean() + 1e-3) * rng.uniform(0.7, 1.4, value.shape)
            slots.put(slot, new)

    visit_layers(net, X, fill)


@dataclass
class _Recorded:
    slots: Slots
    inputs: np.ndarray  # (N, values), channels first
    used: bool = False


def move(source: Any, target: Any, X: np.ndarray) -> None:
    """Copy the parameters of one network to the layers of another that get the same input, from the input on.

    Norms' epsilons are copied too. Among several layers with the same input and shape the first unused one is taken, or
    the last one if that fails: the branches of a block run in one order or the other.

    Raises:
        AssertionError: when a layer has no counterpart, or lacks a parameter that is not neutral.
    """
    try:
        _move(source, target, X, 0)
    except AssertionError:
        _move(source, target, X, -1)


def _move(source: Any, target: Any, X: np.ndarray, choice: int) -> None:
    _move_other_parameters(source, target)
    recorded: list[_Recorded] = []
    visit_layers(source, X, lambda slots, inputs: recorded.append(_Recorded(slots, _flat(inputs))))
    done: set[int] = set()

    def fill(slots: Slots, inputs: np.ndarray) -> None:
        if id(slots) in done:
            return
        done.add(id(slots))
        inputs = _flat(inputs)
        fits = [entry for entry in recorded if not entry.used and _same_shape(entry, slots, inputs)]
        matches: list[tuple[float, _Recorded, np.ndarray | None]]
        matches = [(_error(entry.inputs, inputs), entry, None) for entry in fits]
        if slots.kind == "dense" and min((error for error, *_ in matches), default=1) > 1e-2:
            orders = [order for entry in fits for order in _flatten_orders(entry.inputs.shape[1], recorded)]
            matches = [(_error(entry.inputs[:, order], inputs), entry, order) for entry in fits for order in orders]
        assert matches, f"{slots.name}: no layer of this shape is left"
        best = min(error for error, *_ in matches)
        assert best < 1e-2, f"{slots.name}: no layer has the same input (nearest: {best:.1e})"
        _, entry, order = [match for match in matches if match[0] <= best + 1e-4][choice]
        entry.used = True
        values = dict(entry.slots.values)
        if order is not None:
            values["weight"] = values["weight"][:, order]
        if "pointwise" in slots.values:
            pointwise = recorded[recorded.index(entry) + 1]
            pointwise.used = True
            values["pointwise"] = pointwise.slots.values["weight"]
        _put_all(slots, values)
        if (value := epsilon(entry.slots.layer)) is not None:
            set_epsilon(slots.layer, value)

    visit_layers(target, X, fill)
    left = [entry.slots.name for entry in recorded if not entry.used]
    assert not left, f"not moved: {', '.join(left)}"


def _flat(inputs: np.ndarray) -> np.ndarray:
    """Inputs of shape (N, values), without a border of zeros: a port may pad in a layer of its own."""
    if inputs.ndim == 4:
        rows, columns = (np.flatnonzero(np.any(inputs, axes)) for axes in ((0, 1, 3), (0, 1, 2)))
        if len(rows):
            inputs = inputs[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return inputs.reshape(len(inputs), -1)


def _move_other_parameters(source: Any, target: Any) -> None:
    values = [value for value, _ in other_parameters(source)]
    places = other_parameters(target)
    assert len(values) == len(places), f"{len(values)} other parameters, and {len(places)} in the port"
    for value, (old, assign) in zip(values, places, strict=True):
        assign(value.reshape(old.shape))


def _same_shape(entry: _Recorded, slots: Slots, inputs: np.ndarray) -> bool:
    if (entry.slots.kind == "norm") != (slots.kind == "norm") or entry.inputs.shape != inputs.shape:
        return False
    if slots.kind == "norm":
        return entry.slots.num_outputs == slots.num_outputs
    weights = entry.slots.values["weight"], slots.values["weight"]
    return weights[0].shape == weights[1].shape or (
        "dense" in (entry.slots.kind, slots.kind)
        and weights[0].size == weights[1].size
        and len(weights[0]) == len(weights[1])
    )


def _error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(x - y).max() / (np.abs(x).max() + 1e-12))


def _flatten_orders(size: int, recorded: list[_Recorded]) -> Iterator[np.ndarray]:
    """The orders of values channels last, as positions channels first, for every number of channels that fits."""
    for channels in sorted({entry.slots.num_outputs for entry in recorded}):
        side = isqrt(size // channels)
        if channels * side * side == size and side > 1:
            yield np.arange(size).reshape(channels, side, side).transpose(1, 2, 0).ravel()


def _put_all(slots: Slots, values: dict[str, np.ndarray]) -> None:
    neutral = {"bias": 0.0, "gamma": 1.0, "beta": 0.0}
    for slot in values.keys() - slots.values.keys():
        assert np.all(values[slot] == neutral.get(slot)), f"{slots.name} has no {slot}"
    for slot, old in slots.values.items():
        slots.put(slot, values[slot] if slot in values else np.full(old.shape, neutral[slot]))


def copy_by_name(source: Any, target: Any) -> None:
    """Copy parameters between two networks of one framework, where names and shapes are the same."""
    values = slots_by_name(source)
    for name, slots in slots_by_name(target).items():
        for slot, old in slots.values.items():
            if name in values and slot in values[name].values and values[name].values[slot].shape == old.shape:
                slots.put(slot, values[name].values[slot])


def pick(net: Any, name: str) -> Slots:
    """The layer with parameters that has this name, or whose path ends with it."""
    return next(slots for slots in all_slots(net) if slots.name == name or slots.name.endswith(f".{name}"))
