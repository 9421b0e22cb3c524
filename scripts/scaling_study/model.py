"""A model of a training step with several workers: computing a share, sending bytes, and waiting for messages."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from lenet_multi import PRESETS

SIZES = [prod(shape) for shape in PRESETS["lenet5"].parameter_shapes.values()]
NUM_PARAMETERS = sum(SIZES)
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Link:
    """A link between two hosts.

    Args:
        mbit: bandwidth in each direction, in Mbit/s.
        delay_ms: the time of an empty message in one direction.
    """

    mbit: float
    delay_ms: float


@dataclass(frozen=True)
class Exchange:
    """What adding up the gradients costs on the busiest link.

    Args:
        num_bytes: sent one after the other in each direction; what both directions carry at the same time counts once.
        num_messages: of which each waits for the one before.
    """

    num_bytes: float
    num_messages: int

    def ms(self, link: Link) -> float:
        return self.num_bytes * 8 / (link.mbit * 1000) + self.num_messages * link.delay_ms


def ring(num_workers: int) -> Exchange:
    """An all-reduce in a ring.

    In each of 2 (N - 1) rounds, every worker sends an N-th of the gradients to the next one and receives as much: first
    the parts are added up on their way round, then the sums go round.
    """
    rounds = 2 * (num_workers - 1)
    return Exchange(FLOAT_BYTES * NUM_PARAMETERS * rounds / num_workers, rounds)


def server(num_remote_workers: int) -> Exchange:
    """One server, to which each worker sends its gradients, and which returns the sums.

    The server's link carries the gradients of all workers that are on other hosts. An array's sum returns while the
    next array is sent, so what is not hidden of the way back is the largest array, if each direction is used as early
    as possible.
    """
    return Exchange(FLOAT_BYTES * num_remote_workers * (NUM_PARAMETERS + max(SIZES)), 2)


def exchange(backend_name: str, num_workers: int, shared_host: bool = False) -> Exchange:
    """What a framework's engine exchanges in a step.

    Args:
        backend_name: canonical name.
        num_workers: each on a host of its own.
        shared_host: whether MXNet's server runs beside one of the workers, and not on a host of its own.
    """
    if num_workers == 1:
        return Exchange(0, 0)
    return server(num_workers - shared_host) if backend_name == "mxnet" else ring(num_workers)


def step_ms(compute_ms: float, gradients: Exchange, link: Link, num_batches: float = float("inf")) -> float:
    """The time of a training step.

    Args:
        compute_ms: of a worker's share of the batch.
        gradients: what the engine exchanges in a step.
        link: between the hosts.
        num_batches: of an epoch, at whose end the workers also add up the losses: a few bytes, and as many messages.
    """
    return compute_ms + gradients.ms(link) + gradients.num_messages * link.delay_ms / num_batches
