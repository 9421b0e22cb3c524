"""Compares the gradients of two networks with paired layers, and what a step of training does to their norms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lenet_multi.ports.agreement import largest_error, scale_of
from lenet_multi.ports.errors import PortError, error_reason
from lenet_multi.ports.judgement import Judged
from lenet_multi.ports.layer_kinds import WITH_WEIGHTS
from lenet_multi.ports.layouts import first_to_last
from lenet_multi.ports.networks import FunctionNetwork, Network, channels_first
from lenet_multi.ports.paired_networks import PairedNetworks
from lenet_multi.ports.recording import STATISTICS, LayerCall, Step
from lenet_multi.ports.report import LayerReport

LOOSER = 100  # times the tolerance: a gradient has passed through all layers twice
NOISE_FACTOR = 10  # times the change of the reference's own gradient when its input changes in the last place
MOST_NOISE = 0.02  # of the scale
# A norm removes the bias of the layer before it: the gradient of that bias is zero, up to rounding. In relation to the
# gradient of the weight, the rounding is at most this large.
ROUNDED_ZERO = 0.01


def compare_gradients(pairs: PairedNetworks) -> list[LayerReport]:
    """A row for the gradient of each input and parameter, and for each running statistic after the step.

    The loss is the sum of the first output, each number times a random factor. Norms use the statistics of the batch;
    dropout layers are off.

    Raises:
        PortError: when a network is a function, fails in training mode, or is random in it.
    """
    a, b = pairs.a, pairs.b
    if isinstance(a, FunctionNetwork) or isinstance(b, FunctionNetwork):
        raise PortError("the gradients of a function cannot be compared: omit backward")
    judged = [one for one in pairs.judged if one.reference.kind in WITH_WEIGHTS and one.port.kind in WITH_WEIGHTS]
    calls = [one.reference for one in judged]
    rng = np.random.default_rng(0)
    perturbed = [
        (x * (1 + rng.choice((-1, 1), x.shape) * 2.0**-23)).astype(x.dtype) if x.dtype.kind == "f" else x
        for x in pairs.inputs
    ]
    inputs, layers = _repeatable_step(a, "reference", pairs, calls)
    noisy_inputs, noisy_layers = _step(a, "reference", pairs, perturbed, calls)
    port_inputs, port_layers = _repeatable_step(b, "port", pairs, [one.port for one in judged])
    rows: list[LayerReport | None] = []
    for number, (x, z, y) in enumerate(zip(inputs, noisy_inputs, port_inputs, strict=False), 1):
        name = "X" if number == 1 else f"X:{number}"
        first = [None if one is None else channels_first(one, net) for one, net in ((x, a), (z, a), (y, b))]
        rows.append(_row(name, name, "gradient", first, pairs.tolerance))
    before_norm = {call.number for call, following in pairwise(pairs.calls) if following.kind == "norm"}
    for one, found, noisy, port_found in zip(judged, layers, noisy_layers, port_layers, strict=True):
        call, partner = one.reference, one.port
        shared = a.parameters(call.layer, call.kind).keys() & b.parameters(partner.layer, partner.kind).keys()
        for name in sorted(shared):
            arrays = _laid_out(one, name, [found.get(name), noisy.get(name), port_found.get(name)], pairs)
            what = STATISTICS.get(name, f"{name} gradient")
            extra, negligible, settings = 0.0, 0.0, ""
            if name == "bias" and call.number in before_norm and found.get("weight") is not None:
                negligible = ROUNDED_ZERO * scale_of(found["weight"])
            if name == "variance" and one.reference.inputs:
                # PyTorch divides the batch's variance by one less than the others do.
                extra = 2 * len(found[name]) / max(one.reference.inputs[0].size - len(found[name]), 1)
            momenta = [call.settings.get("momentum") for call in (one.reference, one.port)]
            if name in STATISTICS and momenta[0] != momenta[1]:
                settings = f"momentum, the weight of the new batch: {momenta[0]} | {momenta[1]}"
            rows.append(
                _row(one.reference.name, one.port.name, what, arrays, pairs.tolerance, extra, negligible, settings)
            )
    return [row for row in rows if row is not None]


def _repeatable_step(network: Network, role: str, pairs: PairedNetworks, calls: list[LayerCall]) -> Step:
    """A step of training, after a check that another one gives the same."""
    inputs, layers = _step(network, role, pairs, pairs.inputs, calls)
    again, _ = _step(network, role, pairs, pairs.inputs, calls, seed=1)
    for x, y in zip(inputs, again, strict=True):
        if x is not None and y is not None and largest_error(x, y) > 1e-3 * scale_of(x):
            raise PortError(f"the {role} is random in training mode: gradients cannot be compared; omit backward")
    return inputs, layers


def _step(
    network: Network,
    role: str,
    pairs: PairedNetworks,
    inputs: Sequence[np.ndarray],
    calls: list[LayerCall],
    seed: int = 0,
) -> Step:
    """A step of training of one of the networks."""
    output = pairs.outputs[0].output
    assert output is not None
    assert not isinstance(network, FunctionNetwork)
    factors = np.random.default_rng(0).standard_normal(output.shape, np.float32)
    factors = first_to_last(factors) if network.channels_last else factors
    try:
        return network.training_step(inputs, factors, calls, seed)
    except Exception as problem:
        raise PortError(
            f"the {role} failed in training mode ({error_reason(problem)}): omit backward, or pass more examples"
        ) from problem


def _laid_out(
    one: Judged, name: str, arrays: list[np.ndarray | None], pairs: PairedNetworks
) -> list[np.ndarray | None]:
    """The reference's gradients in the layout of the port's: its flatten order, its shape."""
    *changed, y = arrays
    for number, array in enumerate(changed):
        if array is not None and name == "weight":
            array = one.in_port_order(array, pairs.images, pairs.tolerance)
        if array is not None and y is not None and array.size == y.size:
            array = array.reshape(y.shape)
        changed[number] = array
    return [*changed, y]


def _row(
    reference: str,
    port: str,
    what: str,
    arrays: list[np.ndarray | None],
    tolerance: float,
    extra: float = 0.0,
    negligible: float = 0.0,
    settings: str = "",
) -> LayerReport | None:
    """The row of one gradient; None if neither network has it."""
    x, noisy, y = arrays
    names = f"{reference}: {what}", f"{port}: {what}"
    if x is None or y is None:
        if x is None and y is None:
            return None
        shape = x.shape if x is not None else y.shape if y is not None else ()
        hint = f"the {'reference' if x is None else 'port'} has no such gradient"
        return LayerReport(*names, shape, shape, float("inf"), None, False, hint=hint)
    noise = 0.0 if noisy is None else min(NOISE_FACTOR * largest_error(x, noisy), MOST_NOISE * scale_of(x))
    error = largest_error(x, y)
    agrees = error <= (LOOSER * tolerance + extra) * scale_of(x) + noise or max(scale_of(x), scale_of(y)) <= negligible
    return LayerReport(*names, x.shape, y.shape, error, None, agrees, "" if agrees else settings)
