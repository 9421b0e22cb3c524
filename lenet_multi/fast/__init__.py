"""Backends that train and evaluate the same networks faster: `load_backend(name, fast=True)`, or `--fast` in commands.

The modules here, named as the backends, have the same functions as the plain backends. `train` and `evaluate_accuracy`
are new; all other functions are those of the plain backend. The networks compute the same functions, but numbers are
summed in another order, so results differ by rounding.

They use these techniques on a CPU:

- **Parts** (all except JAX, where XLA divides every operation). Each core computes all layers for its own part of the
  batch. By default a framework divides every operation among the cores and then waits for the slowest core. LeNet's
  operations are small, so waiting takes much of the time, above all if another program is running.
- **Pooled convolutions.** Libraries compute 8 or 16 channels at once, and a convolution from 1 to 6 channels leaves
  most of this width unused. A convolution that is pooled over windows of s x s pixels is computed as *one* convolution
  with stride s and s * s times the channels: one set of channels for each position in the window, with the kernel
  shifted to that position. The pooling is then a mean or a maximum over the sets. In JAX this convolution is a product
  of the kernel with all patches of the images.
- **Maximum first.** The maximum is taken before a non-decreasing activation. The activation then has a quarter of the
  values to compute.

Each module's docstring describes its other techniques. The modules that end in `_layers` contain the layers,
`batch_parts` the threads, and `cuda_graph` PyTorch's training step on an NVIDIA GPU. All modules except JAX's change
settings of the whole process when they are imported, before they import their framework. If a process has already
loaded the plain backend, the fast one runs with the plain one's settings: compare the speeds of two loops in two
processes.
"""

from __future__ import annotations

from functools import cache

from lenet_multi.backends.interface import Backend, Network
from lenet_multi.system.stderr import say


def loop_of(backend: Backend, net: Network) -> str:
    """The loop, `plain` or `fast`, that the backend's `train` runs for this network."""
    return "fast" if getattr(backend, "has_fast_loop", lambda _: False)(net) else "plain"


@cache
def note_no_fast_loop(framework: str, what: str = "loop") -> None:
    """Print a note on standard error, once, that the plain loop or evaluation runs instead of the fast one.

    Args:
        framework: the framework's name.
        what: `loop` or `evaluation`.
    """
    say(f"note: {framework} has no fast {what} for this network on this device: running the plain {what}")
