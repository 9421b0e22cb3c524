"""The same networks, trained and evaluated faster: `load_backend(name, fast=True)`, `--fast` on the command line.

Each of `torch`, `tensorflow` and `mxnet` here is a backend like the plain one of its name: the same functions, of which
`train` and `evaluate_accuracy` are its own and all others those of the plain backend. What a network computes is the
same; the order in which numbers are added up is not.

Three things are done in every framework, on a CPU:

- **Parts.** Each core takes a part of the batch through all layers by itself. Left alone, a framework divides each
  operation among the cores and waits after each for the slowest of them. LeNet's operations are small, so the waiting
  costs much, most of all beside another program.
- **Pooled convolutions.** Libraries compute 8 or 16 channels at once, and a convolution with 1 channel in and 6 out
  leaves most of that idle. A convolution whose output is pooled in windows of s x s pixels is computed as *one*
  convolution with stride s and s * s times the channels: one set of channels for each place in the window, with the
  kernel shifted to that place. The pooling then is a mean or a maximum over the sets.
- **Maximum first.** The maximum can be taken before a non-decreasing activation, which then has a quarter of the
  numbers to compute.

The head of each module says what else it does. `torch_layers`, `tensorflow_layers` and `mxnet_layers` have the layers,
`parts` the threads, and `cuda_graph` PyTorch's step on an NVIDIA GPU. Settings for the whole process are made when a
module is imported, before its framework is. A process that has loaded the plain backend first runs the fast one with
other settings: compare the speed of two loops in two processes.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Protocol

from lenet_multi.backends.interface import Backend, Network


class FastBackend(Backend, Protocol):
    """A backend with a faster loop for some networks and devices."""

    def has_faster(self, net: Network) -> bool:
        """Whether `train` runs the fast loop for this network on its device; else it runs the plain one."""
        ...


def loop_of(backend: Backend, net: Network) -> str:
    """The loop that the backend's `train` runs for this network: a fast one may have nothing faster for it."""
    return "fast" if getattr(backend, "has_faster", lambda _: False)(net) else "plain"


@cache
def note_plain(framework: str, what: str = "loop") -> None:
    """Say once on standard error that the plain loop runs, or the plain evaluation."""
    told = f"note: {framework} has no faster {what} for this network on this device: the plain {what} runs"
    print(told, file=sys.stderr)
