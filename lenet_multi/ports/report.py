"""The report of a network comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerReport:
    """The comparison of one pair of layers.

    Attributes:
        reference: the name of the reference's layer.
        port: the name of the port's layer.
        reference_shape: the shape of the reference's output.
        port_shape: the shape of the port's output.
        error: the largest absolute difference of the outputs, with the errors of all earlier layers; infinite if the
            shapes differ.
        added: the same for the reference's input in both layers, so without the errors of earlier layers; None if the
            port's layer cannot receive it.
        agrees: whether neither this layer nor the operations before it add an error. An error that comes from
            earlier layers does not count.
        settings: the settings of the two layers that differ, such as `stride: 2 | 1` for reference and port.
        hint: a likely cause of a difference, or None if no known mistake explains it.
        inherits: whether the layer has an error that earlier layers cause.

    The rows of `backward=True` have names such as `conv1: weight gradient`, the shape of the gradient, and no `added`.
    """

    reference: str
    port: str
    reference_shape: tuple[int, ...]
    port_shape: tuple[int, ...]
    error: float
    added: float | None
    agrees: bool
    settings: str = ""
    hint: str | None = None
    inherits: bool = False

    @property
    def verdict(self) -> str:
        """`differs`, `inherited`, or nothing."""
        return "differs" if not self.agrees else "inherited" if self.inherits else ""


@dataclass(frozen=True)
class Report:
    """The result of a comparison; `print` shows it as a table.

    Attributes:
        layers: a report for each pair of layers, in the reference's order.
        unmatched: names of layers with weights that have no counterpart, by `reference` and `port`.
        mapping: the pairs as a mapping to edit and pass to `compare_networks`.
        not_compared: what the comparison leaves out, in a few words, or None.
        note: a warning about the comparison itself, or None.
    """

    layers: tuple[LayerReport, ...]
    unmatched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    not_compared: str | None = None
    note: str | None = None

    @property
    def first_divergence(self) -> LayerReport | None:
        """The first layer that differs, or None."""
        return next((layer for layer in self.layers if not layer.agrees), None)

    @property
    def hint(self) -> str | None:
        """A likely cause of the first difference, or None if no known mistake explains it."""
        return None if self.first_divergence is None else self.first_divergence.hint

    def as_json(self) -> dict[str, Any]:
        """Everything in the report, for `json.dumps`; an infinite error is null."""

        def number(value: float | None) -> float | None:
            return value if value is not None and value < float("inf") else None

        layers = [vars(layer) | {"error": number(layer.error), "added": number(layer.added)} for layer in self.layers]
        return {
            "agrees": self.first_divergence is None,
            "layers": layers,
            "unmatched": {role: list(names) for role, names in self.unmatched.items()},
            "mapping": dict(self.mapping),
            "not_compared": self.not_compared,
            "note": self.note,
        }

    def __str__(self) -> str:
        rows = [("reference", "port", "output shape", "error", "added", "")]
        for layer in self.layers:
            shape = str(layer.reference_shape)
            if layer.port_shape != layer.reference_shape:
                shape += f", port {layer.port_shape}"
            added = "" if layer.added is None else f"{layer.added:.1e}"
            rows.append((layer.reference, layer.port, shape, f"{layer.error:.1e}", added, layer.verdict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        for role, names in self.unmatched.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"unmatched in the {role}: {', '.join(names[:SHOWN])}{more}")
        lines += ["to pair other layers, edit report.mapping and pass it as mapping"] if self.unmatched else []
        lines += [f"not compared: {self.not_compared}"] if self.not_compared else []
        lines += [f"note: {self.note}"] if self.note else []
        differing = [layer for layer in self.layers if not layer.agrees]
        for layer in differing[:SHOWN]:
            facts = "; ".join(part for part in (layer.hint, layer.settings) if part)
            lines.append(f"differs at {layer.reference} (port: {layer.port}){f': {facts}' if facts else ''}")
        if len(differing) > SHOWN:
            lines.append(f"{len(differing) - SHOWN} more layers differ")
        return "\n".join(lines if differing else [*lines, "all layers agree"])


SHOWN = 8  # layers that a line or list of the report names
