"""Plants mistakes: builds a right port, checks that it agrees, and then makes it wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from port_collection import small_gluon, small_keras, small_torch
from port_collection.case import Case, Finding, Networks, finding
from port_collection.frameworks import check_agree, framework_of, relative_error, run
from port_collection.moving import copy_by_name, move, pick, randomise
from port_collection.slots import all_slots
from port_collection.small import Spec, walk

BUILDS = {"torch": small_torch.build, "keras": small_keras.build, "gluon": small_gluon.build}
VISIBLE = 3e-5  # the difference that a planted mistake makes at least, relative to the largest output

Edit = Callable[[Any], Any]


def small_images(size: int, batch: int = 3) -> np.ndarray:
    """Images with pixels between 0 and 1, shape (batch, 3, size, size)."""
    return np.random.default_rng(2).random((batch, 3, size, size), np.float32)


def right_port(spec: Spec, frameworks: tuple[str, str], X: np.ndarray, **options: Any) -> tuple[Any, Any]:
    """A small network and a right port of it; `options` of `randomise`, and `source_edit`, before the weights move."""
    source_edit = options.pop("source_edit", None)
    reference, port = (BUILDS[framework](spec, X.shape[-1]) for framework in frameworks)
    source, target = (port, reference) if frameworks[0] == "keras" else (reference, port)
    randomise(source, X, **options)
    if source_edit:
        source_edit(source)
    move(source, target, X)
    exactly = not any(node.get("kind") == "instance" for node in walk(spec))  # MXNet has no such norm in float64
    check_agree(reference, port, X, exactly)
    return reference, port


def planted(
    name: str,
    category: str,
    frameworks: str,
    right: Spec,
    wrong: Spec | None,
    layers: str,
    hint: str,
    edit: Edit | None = None,
    size: int = 16,
    second: tuple[str, str] | None = None,
    **options: Any,
) -> Case:
    """A mistake in a small network.

    Args:
        frameworks: of reference and port, such as `torch keras`.
        right: the reference.
        wrong: what the port is instead; None if only `edit` makes the mistake.
        layers: where the networks may first differ, separated by blanks; empty if they must agree.
        hint: a pattern that a useful hint contains.
        edit: changes the port after it has the right weights.
        second: layers and hint of a second mistake.
        options: of `right_port`.
    """
    first, other = frameworks.split()

    def build() -> Networks:
        X = small_images(size)
        reference, port = right_port(right, (first, other), X, **options)
        if wrong is not None:
            weights, port = port, BUILDS[other](wrong, size)
            copy_by_name(weights, port)
        if edit:
            edit(port)
        check_planted(reference, port, X, must_agree=not layers)
        return reference, port, X

    findings = (finding(layers, hint),) if layers else ()
    return Case(f"{name}: {first} -> {other}", category, build, findings + ((finding(*second),) if second else ()))


def planted_in(name: str, category: str, right: Case, layers: str, hint: str, edit: Callable[[Any, Any], Any]) -> Case:
    """A mistake in the port of a pair: `edit` takes reference and port; it changes the port, or returns another one."""

    def build_wrong() -> Networks:
        reference, port, X = right.build()
        port = edit(reference, port) or port
        check_planted(reference, port, X, must_agree=not layers)
        return reference, port, X

    findings: tuple[Finding, ...] = (finding(layers, hint),) if layers else ()
    return Case(f"{name}, {right.name}", category, build_wrong, findings)


def check_planted(reference: Any, port: Any, X: np.ndarray, must_agree: bool) -> None:
    """Check that the outputs agree, or that the mistake can be seen in them.

    Raises:
        AssertionError: when it is not so.
    """
    error = relative_error(run(reference, X), run(port, X))
    assert (error < VISIBLE) if must_agree else (error > VISIBLE), f"the outputs differ by {error:.1e}"


def twin(reference: Any, port: Any, name: str) -> Any:
    """The port's layer that has the parameters of the reference's layer of this name, in any order of the values."""
    wanted = pick(reference, name)
    slot = "gamma" if wanted.kind == "norm" else "weight"
    values = np.sort(wanted.values[slot], axis=None)
    found = (slots for slots in all_slots(port) if slot in slots.values and slots.values[slot].size == values.size)
    return next(slots for slots in found if np.array_equal(np.sort(slots.values[slot], axis=None), values))


def set_slot(layer: str, slot: str, new: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """An edit that computes one parameter of a layer, in PyTorch's layout, from its right value."""

    def edit(net: Any) -> None:
        slots = pick(net, layer)
        slots.put(slot, np.ascontiguousarray(new(slots.values[slot])))

    return edit


def swap_slots(first: tuple[str, str], second: tuple[str, str]) -> Edit:
    """An edit that exchanges two parameters of the same shape, each given by its layer and slot."""

    def edit(net: Any) -> None:
        (a, slot_a), (b, slot_b) = ((pick(net, layer), slot) for layer, slot in (first, second))
        old = a.values[slot_a].copy()
        a.put(slot_a, b.values[slot_b])
        b.put(slot_b, old)

    return edit


def swap_layers(first: str, second: str) -> Edit:
    """An edit that exchanges all parameters of two layers."""

    def edit(net: Any) -> None:
        for slot in pick(net, first).values:
            swap_slots((first, slot), (second, slot))(net)

    return edit


def in_keras_layout(layer: str, new: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """An edit that computes a Keras kernel from PyTorch's weight, as a wrong conversion does."""

    def edit(net: Any) -> None:
        slots = pick(net, layer)
        slots.layer.kernel.assign(np.ascontiguousarray(new(slots.values["weight"])))

    return edit


def reinitialise(*layers: str) -> Edit:
    """An edit after which some layers, or all, have initial parameters, as if nobody had loaded them."""

    def edit(net: Any) -> None:
        rng = np.random.default_rng(9)
        for slots in all_slots(net):
            if layers and slots.name not in layers:
                continue
            for slot, old in slots.values.items():
                if slot in ("weight", "pointwise"):
                    limit = (3 / np.prod(old.shape[1:])) ** 0.5
                    slots.put(slot, rng.uniform(-limit, limit, old.shape))
                else:
                    slots.put(slot, np.full(old.shape, float(slot in ("gamma", "variance"))))

    return edit


def all_of(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(net: Any) -> None:
        for one in edits:
            one(net)

    return edit


def layer_of(net: Any, name: str) -> Any:
    """A layer of any kind, by its name in the framework."""
    match framework_of(net):
        case "torch":
            return net.get_submodule(name)
        case "keras":
            return next(layer for layer in net._flatten_layers() if layer.name == name)
    return next(block for block in gluon_blocks(net) if block.name == name)


def gluon_blocks(net: Any) -> list[Any]:
    """All blocks of a Gluon network, in the order of definition."""
    found: list[Any] = []
    net.apply(found.append)
    return list(dict.fromkeys(found))
