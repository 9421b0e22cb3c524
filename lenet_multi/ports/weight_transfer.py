"""Moves the parameters of a network into a port of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenet_multi.ports.errors import PortError
from lenet_multi.ports.hints import report_of
from lenet_multi.ports.judgement import Judged
from lenet_multi.ports.layer_kinds import WITH_WEIGHTS
from lenet_multi.ports.network_comparison import as_inputs
from lenet_multi.ports.networks import WITH_LAYERS, FunctionNetwork, network_of, one_of
from lenet_multi.ports.paired_networks import PairedNetworks
from lenet_multi.ports.recording import LayerCall
from lenet_multi.ports.report import Report

TOLERANCE = 1e-5  # as the default of `compare_networks`
DEFAULTS = {"bias": 0.0, "gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}


@dataclass(frozen=True)
class Transfer:
    """What `transfer_weights` has moved, or would move; `print` shows it.

    Attributes:
        moved: a line for each parameter.
        not_moved: a line for each layer or parameter that has no counterpart.
        report: the comparison of the networks afterwards; None for a dry run.
    """

    moved: tuple[str, ...]
    not_moved: tuple[str, ...]
    report: Report | None = None

    def __str__(self) -> str:
        lines = [*self.moved, *(f"not moved: {line}" for line in self.not_moved)]
        return "\n".join(lines if self.report is None else [*lines, "", str(self.report)])


def transfer_weights(
    reference: Any, port: Any, X: Any, mapping: Mapping[str, str] | None = None, dry_run: bool = False
) -> Transfer:
    """Move the parameters of a network into its port: weights, biases, and the statistics of norms.

    The layers are paired as by `compare_networks`. Weights change their layout as the port's framework needs, also
    where it flattens images in another order.

    Args:
        reference: a `torch.nn.Module`, a Keras layer or model, a Gluon block, or a Flax NNX module.
        port: a network of the same layers, in any of these forms; its parameters are replaced.
        X: inputs that both networks accept; see `compare_networks`. Random images find the flatten order.
        mapping: the layers to move, in place of pairing them: the reference's layer names to the port's.
        dry_run: only say what would be moved.

    Returns:
        What was moved and what was not, and a comparison of the two networks. Parameters are cast to the port's types.
        The port is changed even if the networks then differ.

    Raises:
        PortError: as `compare_networks`.
    """
    inputs = as_inputs(X)
    a, b = network_of(reference, "reference"), network_of(port, "port")
    if isinstance(a, FunctionNetwork) or isinstance(b, FunctionNetwork):
        raise PortError(f"a function has no parameters to move: pass {one_of(*WITH_LAYERS)}")
    pairs = PairedNetworks(a, b, inputs, mapping)
    pairs.judge(TOLERANCE)
    moved: list[str] = []
    not_moved = [f"{name}, which only the {role} has" for role, names in pairs.unmatched.items() for name in names]
    not_moved += [pairs.not_compared] if pairs.not_compared else []
    for role, network, calls in (("reference", a, pairs.calls), ("port", b, pairs.port_calls)):
        others = {call.name: network.parameters(call.layer, call.kind) for call in calls if _is_other(call)}
        not_moved += [f"{name} {' and '.join(found)} of the {role}" for name, found in others.items() if found]
    for judged in pairs.judged:
        call, partner = judged.reference, judged.port
        if call.kind in WITH_WEIGHTS and partner.kind in WITH_WEIGHTS:
            given = dict(a.parameters(call.layer, call.kind))
            wanted = b.parameters(partner.layer, partner.kind)
            if "weight" in given:
                given["weight"] = judged.in_port_order(given["weight"], pairs.images, TOLERANCE)
            values = _fitting(judged, given, wanted, not_moved)
            for name in values:
                source = f"{call.name} {name} {given[name].shape}" if name in given else f"the default of a {name}"
                moved.append(f"{source} -> {partner.name}")
            if not dry_run:
                b.assign(partner.layer, partner.kind, values)
    if not moved:
        raise PortError("no layer of the reference has a counterpart in the port: there is nothing to move")
    if dry_run:
        return Transfer(tuple(moved), tuple(not_moved))
    after = PairedNetworks(a, b, inputs, mapping)
    after.judge(TOLERANCE)
    return Transfer(tuple(moved), tuple(not_moved), report_of(after))


def _is_other(call: LayerCall) -> bool:
    """Whether a layer may have parameters, although it is none of the layers that all frameworks have."""
    return call.layer is not None and call.kind not in WITH_WEIGHTS


def _fitting(
    judged: Judged, given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], not_moved: list[str]
) -> dict[str, np.ndarray]:
    """The values of the port's parameters; what does not fit is noted in `not_moved`."""
    values, name = {}, judged.reference.name
    for parameter, old in wanted.items():
        if parameter not in given and parameter in DEFAULTS:
            values[parameter] = np.full(old.shape, DEFAULTS[parameter], np.float32)
        elif parameter not in given or not _fits(given[parameter], old):
            shape = given[parameter].shape if parameter in given else "(none)"
            not_moved.append(f"{name} {parameter} {shape}, since {judged.port.name} needs {old.shape}")
        else:
            values[parameter] = given[parameter].reshape(old.shape)
    for parameter in given.keys() - wanted.keys():
        if not np.all(given[parameter] == DEFAULTS.get(parameter, np.nan)):
            not_moved.append(f"{name} {parameter}, since {judged.port.name} has none")
    return values


def _fits(value: np.ndarray, old: np.ndarray) -> bool:
    """Whether shapes are equal, or one is that of a dense layer and the other of a convolution of one pixel."""
    short, long = sorted((value.shape, old.shape), key=len)
    return long[: len(short)] == short and set(long[len(short) :]) <= {1}
