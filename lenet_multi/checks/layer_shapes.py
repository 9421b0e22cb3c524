"""The output shape of every layer, as described and as each framework computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.backends import choose_backends, load_backend
from lenet_multi.backends.layouts import channels_first_shape
from lenet_multi.runs.memory import require_memory

Shape = tuple[int, ...]


def measured_shapes(backend_name: str, architecture: Architecture) -> tuple[str, dict[str, Shape]]:
    """The framework's layout, and each layer's output shape for one example, in that layout, batch dimension first."""
    backend = load_backend(backend_name)
    require_memory(backend, architecture, "cpu", examples=1)
    net = backend.LeNet(architecture, device="cpu")
    outputs = backend.layer_outputs(net, np.zeros((1, *architecture.input_shape), np.float32))
    return backend.LAYOUT, {name: output.shape for name, output in outputs.items()}


@dataclass(frozen=True)
class LayerShapes:
    """Output shapes for one example, batch dimension first.

    Args:
        architecture: the network.
        measured: backend name to its layout and the shapes that it computes, in that layout.
        left_out: names of the backends that are not installed, if all were to be measured.
    """

    architecture: Architecture
    measured: dict[str, tuple[str, dict[str, Shape]]]
    left_out: Sequence[str] = ()

    @property
    def expected(self) -> dict[str, Shape]:
        """The description's shapes, channels first."""
        return {name: (1, *shape) for name, shape in self.architecture.output_shapes.items()}

    def agrees(self, backend: str, layer: str) -> bool:
        layout, found = self.measured[backend]
        return channels_first_shape(found.get(layer, ()), layout) == self.expected[layer]

    @property
    def differences(self) -> list[str]:
        """`conv1 in torch` for each shape that is not the description's."""
        return [
            f"{layer} in {backend}"
            for backend in self.measured
            for layer in self.expected
            if not self.agrees(backend, layer)
        ]

    def table(self) -> str:
        """The shapes as text, with a column for each backend."""
        expected = self.expected
        columns = [["layer", *expected], ["description (NCHW)", *map(str, expected.values())]]
        for name, (layout, shapes) in self.measured.items():
            columns.append([f"{name} ({layout})", *(str(shapes.get(layer, "missing")) for layer in expected)])
        columns += [[name, *["not installed"] * len(expected)] for name in self.left_out]
        widths = [max(map(len, column)) for column in columns]
        rows = zip(*columns, strict=True)
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def measure_layer_shapes(architecture: Architecture, backends: Sequence[str]) -> LayerShapes:
    """Build the network in each of these backends and measure its layers."""
    return LayerShapes(architecture, {name: measured_shapes(name, architecture) for name in backends})


def layer_shapes_of(architecture: Architecture, backends: str) -> LayerShapes:
    """Measure the network's layers in these backends.

    Args:
        architecture: the network.
        backends: names separated by commas, or `all` for every backend whose framework is installed.

    Raises:
        UserError: as `choose_backends`.
    """
    names, left_out = choose_backends(backends)
    return LayerShapes(architecture, measure_layer_shapes(architecture, names).measured, left_out)
