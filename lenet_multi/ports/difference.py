"""The first pair of layers that differs, with the facts that the hints use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lenet_multi.ports.agreement import Agree
from lenet_multi.ports.traces import TracedLayer


@dataclass(frozen=True)
class Difference:
    """The first pair of layers that differs.

    Attributes:
        reference: the reference's layer.
        port: the port's layer.
        x: the compared array of the reference's layer.
        y: the compared array of the port's layer.
        last_agreeing: the reference's name of the pair compared before this one; None if this is the first pair.
        image_shapes: shapes (C, H, W) of images that the port's dense layer may have received flattened, the most
            likely first.
        other_layers: the port's other layers of the same kind: the name, and the two arrays to compare.
        agree: whether two arrays agree within the tolerance.
        nearly_agrees: whether `x` and `y` agree within ten times the tolerance.
        outputs_agree: whether the outputs of the two networks agree.
        has_mapping: whether a mapping matched the layers.
    """

    reference: TracedLayer
    port: TracedLayer
    x: np.ndarray
    y: np.ndarray
    last_agreeing: str | None
    image_shapes: Sequence[tuple[int, ...]]
    other_layers: Sequence[tuple[str, np.ndarray, np.ndarray]]
    agree: Agree
    nearly_agrees: bool
    outputs_agree: bool
    has_mapping: bool
