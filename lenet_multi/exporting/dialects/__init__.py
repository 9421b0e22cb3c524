"""The dialects: a module for each backend with what its programs need besides a template.

These modules import no framework, so that a program can be written for one that is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from lenet_multi.architecture import Architecture


class Line(NamedTuple):
    """A line of a program that adds a layer; `layer` is the layer of the description whose output it gives.

    `layer` is None for a line that only prepares or completes a layer: an activation in PyTorch or Flax, zeros in
    Keras.
    """

    text: str
    layer: str | None


@dataclass(frozen=True)
class Dialect:
    """What the programs of a framework need besides their template.

    Args:
        lines: the lines that add the layers.
        indent: spaces before each of these lines.
        weights: the parameters of a network of the backend, by their names in the file beside the program: the
            position of the layer and the framework's word, as in `0.weight`.
        load_imports: the imports that loading these weights needs.
        load_weights: the statements that load them.
        lr_decay: the statements that lower the learning rate.
        images: an expression for images `X`, float32 (N, C, H, W), as the program's network takes them.
        layers: an expression for the network's layers, one for each of `lines`.
        array: an expression for an output `x` as a NumPy array.
        numpy: the name of NumPy's module.

    All texts are in the names of the program.
    """

    lines: Callable[[Architecture], list[Line]]
    indent: int
    weights: Callable[[Any], dict[str, Any]]
    load_imports: str
    load_weights: str
    lr_decay: str
    images: str
    layers: str
    array: str
    numpy: str = "np"


def activation_argument(activation: str | None) -> str:
    """The argument of a layer that applies its activation itself, after others; empty without an activation."""
    return f', activation="{activation}"' if activation else ""


def load_dialect(name: str) -> Dialect:
    """The dialect of a backend, by its canonical name."""
    dialect: Dialect = import_module(f"{__name__}.{name}").DIALECT
    return dialect
