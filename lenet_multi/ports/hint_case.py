"""A layer that differs, with what the hints need to explain it. All images are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenet_multi.ports.agreement import agree_within, is_informative, largest_error
from lenet_multi.ports.layer_math import Parameters, compute
from lenet_multi.ports.layer_settings import Settings, differing_settings
from lenet_multi.ports.recording import LayerCall, coarseness


@dataclass
class Case:
    """What is known of a difference.

    Attributes:
        reference: the reference's call.
        port: the port's call.
        x: the reference's array: the layer's output, or its input if the inputs differ.
        y: the port's array.
        at_input: whether the inputs differ, so that the cause lies in the operations before the layer.
        tolerance: see `compare_networks`.
        layer_input: what the port's layer received, without the zeros around it that belong to the padding.
        settings: the port's settings, with these zeros in the padding.
        reference_settings: the reference's settings, likewise.
        reference_parameters: the parameters of the reference's layer.
        port_parameters: the parameters of the port's layer.
        images: shapes (C, H, W) of images that may have been flattened.
        before: the reference's earlier outputs by name, the latest first; functions may have used them.
        computed: what `layer_math` computes for the port's layer, once `is_known` has found that it is right.
        other_weights: the reference's other layers that have a weight of the same shape: the name and the weight.
    """

    reference: LayerCall
    port: LayerCall
    x: np.ndarray
    y: np.ndarray
    at_input: bool
    tolerance: float
    layer_input: np.ndarray | None = None
    settings: Settings = field(default_factory=dict)
    reference_settings: Settings = field(default_factory=dict)
    reference_parameters: Parameters = field(default_factory=dict)
    port_parameters: Parameters = field(default_factory=dict)
    images: Sequence[tuple[int, ...]] = ()
    before: Sequence[tuple[str, np.ndarray]] = ()
    computed: np.ndarray | None = None
    other_weights: Callable[[], Sequence[tuple[str, np.ndarray]]] = lambda: ()

    def agree(self, x: np.ndarray, y: np.ndarray | None) -> bool:
        """Whether arrays agree, and not by accident; those that differ only in axes of length 1 have the same shape."""
        return is_informative(x) and self.agree_even_if_few(x, y)

    def agree_even_if_few(self, x: np.ndarray, y: np.ndarray | None) -> bool:
        if y is None or x.size != y.size:
            return False
        return self._same_but_ones(x, y) and agree_within(x, y.reshape(x.shape), self.tolerance)

    @property
    def differing(self) -> dict[str, tuple[Any, Any]]:
        """The settings that differ and matter in inference, as (reference, port)."""
        differing = differing_settings(self.reference_settings, self.settings)
        return {name: values for name, values in differing.items() if name != "momentum"}

    @property
    def coarseness(self) -> float:
        """See `coarseness`."""
        return coarseness(self.reference, self.port)

    @staticmethod
    def _same_but_ones(x: np.ndarray, y: np.ndarray) -> bool:
        return [n for n in x.shape if n != 1] == [n for n in y.shape if n != 1]

    def is_known(self) -> bool:
        """Whether `layer_math` computes what the port's layer does: without that, a repair shows nothing."""
        if self.at_input or self.layer_input is None:
            return False
        if self.computed is not None:
            return True
        for axis in (None, 1):  # PyTorch's and Keras's layer norms may have another axis than the last
            settings = self.settings if axis is None else self.settings | {"axis": axis}
            y = compute(self.port.kind, settings, self.port_parameters, self.layer_input)
            bound = max(1e-4, self.coarseness)
            if y is not None and self.y.size == y.size and agree_within(self.y, y.reshape(self.y.shape), bound):
                self.settings, self.computed = settings, y
                return True
        return False

    def is_repaired(self, settings: Settings | None = None, parameters: Mapping[str, np.ndarray] | None = None) -> bool:
        """Whether the port's layer gives the reference's output with other settings or parameters."""
        assert self.layer_input is not None
        changed = self.settings | (settings or {})
        given = {**self.port_parameters, **(parameters or {})}
        y, before = compute(self.port.kind, changed, given, self.layer_input), self.computed
        if y is None or before is None or y.size != self.x.size:
            return False
        y = y.reshape(self.x.shape) if self._same_but_ones(self.x, y) else y
        if not agree_within(self.x, y, max(self.tolerance, self.coarseness)):
            return False
        # A change without an effect repairs nothing.
        return before.size != y.size or largest_error(y, before.reshape(y.shape)) > 0.5 * largest_error(self.x, y)
