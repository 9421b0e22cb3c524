"""Compares the gradients of two networks with paired layers, and what a step of training does to their norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lenet_multi.ports.agreement import largest_error, scale_of
from lenet_multi.ports.layer_kinds import WITH_WEIGHTS
from lenet_multi.ports.networks import FunctionNetwork, Network, channels_first
from lenet_multi.ports.paired_networks import PairedNetworks
from lenet_multi.ports.recording import LayerCall, Step
from lenet_multi.ports.report import LayerReport

LOOSER = 100  # times the tolerance: a gradient has passed through all layers twice
NOISE_FACTOR = 10  # times the change of the reference's own gradient when its input changes in the last place
STATISTICS = {"mean": "running mean", "variance": "running variance"}


def compare_gradients(pairs: PairedNetworks) -> list[LayerReport]:
    """A row for the gradient of each input and parameter, and for each running statistic after the step.

    The loss is the sum of the first output, each number times a random factor. Norms use the statistics of the batch;
    dropout is off.
    """
    a, b = pairs.a, pairs.b
    if isinstance(a, FunctionNetwork) or isinstance(b, FunctionNetwork):
        return []
    judged = [one for one in pairs.judged if one.reference.kind in WITH_WEIGHTS and one.port.kind in WITH_WEIGHTS]
    calls, port_calls = [one.reference for one in judged], [one.port for one in judged]
    rng = np.random.default_rng(0)
    perturbed = [
        (x * (1 + rng.choice((-1, 1), x.shape) * 2.0**-23)).astype(x.dtype) if x.dtype.kind == "f" else x
        for x in pairs.inputs
    ]
    inputs, layers = _step(a, pairs, pairs.inputs, calls)
    noisy_inputs, noisy_layers = _step(a, pairs, perturbed, calls)
    port_inputs, port_layers = _step(b, pairs, pairs.inputs, port_calls)
    rows = [
        _row("X", "X", "gradient", channels_first(x, a), channels_first(z, a), channels_first(y, b), pairs)
        for x, z, y in zip(inputs, noisy_inputs, port_inputs, strict=False)
    ]
    for one, found, noisy, port_found in zip(judged, layers, noisy_layers, port_layers, strict=True):
        order = one.flatten_order(pairs.images, pairs.tolerance) if one.port.kind == "dense" else None
        for name in sorted(found.keys() & port_found.keys()):
            x, z, y = found[name], noisy[name], port_found[name]
            if name == "weight" and order is not None and x.ndim == 2:
                x, z = x[:, order], z[:, order]
            if x.size == y.size:
                x, z = x.reshape(y.shape), z.reshape(y.shape)
            allowed = 0.0
            if name == "variance" and one.reference.inputs:
                # PyTorch divides the batch's variance by one less than the others do.
                allowed = 2 * x.size / max(one.reference.inputs[0].size - x.size, 1)
            what = STATISTICS.get(name, f"{name} gradient")
            row = _row(one.reference.name, one.port.name, what, x, z, y, pairs, allowed)
            shares = [call.settings.get("momentum") for call in (one.reference, one.port)]
            if not row.agrees and name in STATISTICS and shares[0] != shares[1]:
                row = replace(row, settings=f"momentum, the share of the new batch: {shares[0]} | {shares[1]}")
            rows.append(row)
    return rows


def _step(network: Network, pairs: PairedNetworks, inputs: Sequence[np.ndarray], calls: list[LayerCall]) -> Step:
    assert not isinstance(network, FunctionNetwork)
    output = pairs.outputs[0].output
    assert output is not None
    factors = np.random.default_rng(0).standard_normal(output.shape, np.float32)
    factors = np.moveaxis(factors, 1, -1) if network.channels_last and factors.ndim >= 4 else factors
    return network.training_step(inputs, factors, calls)


def _row(
    reference: str,
    port: str,
    what: str,
    x: np.ndarray,
    noisy: np.ndarray,
    y: np.ndarray,
    pairs: PairedNetworks,
    allowed: float = 0.0,
) -> LayerReport:
    error = largest_error(x, y)
    bound = (LOOSER * pairs.tolerance + allowed) * scale_of(x) + NOISE_FACTOR * largest_error(x, noisy)
    return LayerReport(f"{reference}: {what}", f"{port}: {what}", x.shape, y.shape, error, None, error <= bound)
