"""Small networks that are described once and built in each framework as one writes them there.

A description is a list of nodes. A port with a mistake is built from a changed description; `planting` gives it the
weights of the right port.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Node:
    """A layer or an operation.

    Attributes:
        kind: `conv`, `dense`, `pool`, ...
        name: of the layer in each framework.
        options: those of `kind`; see the functions below.
        branches: the descriptions that a `residual` adds and a `concat` joins; an empty one passes its input on.
    """

    kind: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    branches: tuple[tuple["Node", ...], ...] = ()

    def get(self, option: str, default: Any = None) -> Any:
        return self.options.get(option, default)


Spec = tuple[Node, ...]


def conv(name: str, channels: int, kernel_size: int = 3, **options: Any) -> Node:
    """A convolution.

    Options: stride, pad (a number; `same` for Keras's own padding; `both` for it behind a ZeroPadding2D), dilation,
    groups (as many as `channels`: depthwise; `multiplier` outputs for each), bias, padding_mode, and act, which Keras
    and Gluon apply within the layer.
    """
    return Node("conv", name, {"channels": channels, "kernel_size": kernel_size, **options})


def transposed(name: str, channels: int, **options: Any) -> Node:
    """A transposed convolution that doubles height and width: kernel 3, stride 2, padding 1. Options: pad (`same`)."""
    return Node("transposed", name, {"channels": channels, **options})


def dense(name: str, units: int, **options: Any) -> Node:
    """A dense layer. Options: bias, act."""
    return Node("dense", name, {"units": units, **options})


def norm(name: str, kind: str = "batch", **options: Any) -> Node:
    """A norm.

    kind: `batch`, `group`, `instance`, `layer`. Options: eps, momentum, groups, shape (of one image, for PyTorch's
    group, instance and layer norms), training (batch statistics in inference too).
    """
    return Node("norm", name, {"kind": kind, **options})


def act(name: str, function: str = "relu", **options: Any) -> Node:
    """An activation. Options: slope, and call, for an activation that is not a layer but a call in `forward`."""
    return Node("act", name, {"function": function, **options})


def pool(name: str, kind: str = "max", **options: Any) -> Node:
    """A pooling. Options: size, stride, pad (a number or `same`), ceil, include (the padding in an average)."""
    return Node("pool", name, {"kind": kind, "size": 2, **options})


def global_pool(name: str = "gap", kind: str = "avg") -> Node:
    return Node("global pool", name, {"kind": kind})


def flatten(name: str = "flat") -> Node:
    return Node("flatten", name)


def dropout(name: str, **options: Any) -> Node:
    """Dropout of half of the values. Options: training (in inference too)."""
    return Node("dropout", name, options)


def upsample(name: str, mode: str = "nearest", **options: Any) -> Node:
    """Doubles height and width. Options: align_corners."""
    return Node("upsample", name, {"mode": mode, **options})


def shuffle(name: str, groups: int) -> Node:
    """A channel shuffle in `forward`."""
    return Node("shuffle", name, {"groups": groups})


def scale(name: str, factor: float = 1.0, offset: float = 0.0, reverse: bool = False) -> Node:
    """A preprocessing in `forward`: x * factor + offset, or the channels in the other order."""
    return Node("scale", name, {"factor": factor, "offset": offset, "reverse": reverse})


def residual(name: str, body: Spec, shortcut: Spec = ()) -> Node:
    """The sum of a body and a shortcut, added in `forward`."""
    return Node("residual", name, branches=(body, shortcut))


def concat(name: str, *branches: Spec) -> Node:
    """Branches, joined along the channels in `forward`."""
    return Node("concat", name, branches=branches)


def walk(spec: Spec) -> Iterator[Node]:
    """All nodes, those in branches before their branch."""
    for node in spec:
        for branch in node.branches:
            yield from walk(branch)
        yield node


def change(spec: Spec, name: str, **options: Any) -> Spec:
    """The description with other options in one node."""
    return edit(spec, name, lambda node: (replace(node, options={**node.options, **options}),))


def drop(spec: Spec, name: str) -> Spec:
    """The description without a node."""
    return edit(spec, name, lambda node: ())


def put(spec: Spec, name: str, *nodes: Node) -> Spec:
    """The description with other nodes in place of one."""
    return edit(spec, name, lambda node: nodes)


def after(spec: Spec, name: str, *nodes: Node) -> Spec:
    """The description with nodes after one."""
    return edit(spec, name, lambda node: (node, *nodes))


def before(spec: Spec, name: str, *nodes: Node) -> Spec:
    """The description with nodes before one."""
    return edit(spec, name, lambda node: (*nodes, node))


def exchange(spec: Spec, first: str, second: str) -> Spec:
    """The description with two nodes in each other's places."""
    found = {node.name: node for node in walk(spec)}
    places = {first: found[second], second: found[first]}
    return _mapped(spec, lambda node: (places.get(node.name, node),))


def edit(spec: Spec, name: str, new: Any) -> Spec:
    """The description with `new(node)` in place of the node of this name."""
    assert any(node.name == name for node in walk(spec)), name
    return _mapped(spec, lambda node: new(node) if node.name == name else (node,))


def _mapped(spec: Spec, new: Any) -> Spec:
    found: list[Node] = []
    for node in spec:
        inner = replace(node, branches=tuple(_mapped(branch, new) for branch in node.branches))
        found += new(inner)
    return tuple(found)
