"""The report of a network comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerReport:
    """The comparison of one pair of layers.

    Attributes:
        reference: the name of the reference's layer.
        port: the name of the port's layer.
        reference_shape: the shape of the reference's output.
        port_shape: the shape of the port's output.
        error: the largest absolute difference; infinite if the shapes differ.
        agrees: whether the outputs agree within the tolerance.
    """

    reference: str
    port: str
    reference_shape: tuple[int, ...]
    port_shape: tuple[int, ...]
    error: float
    agrees: bool


@dataclass(frozen=True)
class Report:
    """The result of a comparison; `print` shows it as a table.

    Attributes:
        layers: a report for each pair of layers, in the reference's order.
        first_divergence: the first of them that differs, or None.
        hint: a likely cause of the first divergence, or None if no known mistake explains it.
        not_compared: the surplus outputs of one network, such as `1 output of the reference`, or None.
    """

    layers: tuple[LayerReport, ...]
    first_divergence: LayerReport | None
    hint: str | None
    not_compared: str | None = None

    def __str__(self) -> str:
        rows = [("reference", "port", "output shape", "largest error", "")]
        for layer in self.layers:
            shape = str(layer.reference_shape)
            if layer.port_shape != layer.reference_shape:
                shape += f", port {layer.port_shape}"
            rows.append((layer.reference, layer.port, shape, f"{layer.error:.1e}", "" if layer.agrees else "differs"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        if self.not_compared:
            table.append(f"not compared: {self.not_compared}")
        if self.first_divergence is None:
            return "\n".join([*table, "all layers agree"])
        first = self.first_divergence
        summary = f"first difference at {first.reference} (port: {first.port})"
        return "\n".join([*table, f"{summary}: {self.hint}" if self.hint else summary])
