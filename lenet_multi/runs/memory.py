"""The memory that a network needs, estimated and compared with what is available before a framework allocates it.

A framework that lacks memory may end the process: TensorFlow's convolutions do. The estimate therefore leans to the
high side. It follows what the frameworks were seen to allocate; JAX allocates less:

- the output of every layer, where padding and an activation count as layers: Keras keeps all outputs of a batch;
- the pixels under the kernel at every position (im2col): PyTorch and TensorFlow hold those of an example for each core,
  MXNet those of as many examples as fit into 1 GiB.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from lenet_multi.architecture import Architecture, Conv, Flatten
from lenet_multi.backends import num_threads
from lenet_multi.backends.devices import choose_device
from lenet_multi.system.machine import available_cores
from lenet_multi.system.memory import address_space_left, require_bytes

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend

FLOAT = 4  # bytes of a float32
WORKSPACE = 2**30 // FLOAT  # numbers; MXNet's limit for the pixels under the kernel
# A thread reserves address space, for its stack and for malloc. Where a limit (`ulimit -v`) leaves too little of it, a
# framework ends the process.
THREAD_SPACE = 80 * 10**6  # bytes


def evaluation_memory(architecture: Architecture, examples: int) -> int:
    """Bytes of the forward pass of a batch: the parameters and a copy of them, all outputs, and the workspace."""
    outputs = examples * sum(_outputs(architecture).values())
    return FLOAT * (2 * architecture.num_parameters + outputs + _workspace(architecture, examples))


def training_memory(architecture: Architecture, examples: int, saved: bool = False) -> int:
    """Bytes of a training step: in addition, the gradients of the parameters, and those of a layer's input and output.

    The backward pass has a workspace of its own. A checkpoint is written from one more copy of the parameters.
    """
    gradients = 2 * examples * max(_outputs(architecture).values()) + _workspace(architecture, examples)
    copies = (2 if saved else 1) * architecture.num_parameters
    return evaluation_memory(architecture, examples) + FLOAT * (gradients + copies)


def _outputs(architecture: Architecture) -> dict[str, int]:
    """By layer, the numbers that it outputs for one example, with those of its padding and its activation.

    Flatten has none: its output is the memory of its input.
    """
    outputs = {"input": prod(architecture.input_shape)}
    for name, layer in architecture.named_layers.items():
        if isinstance(layer, Flatten):
            continue
        channels, *sides = architecture.input_shapes[name]
        padding = layer.padding if isinstance(layer, Conv) else 0
        padded = channels * prod(side + 2 * padding for side in sides) if padding else 0
        copies = 2 if getattr(layer, "activation", None) else 1
        outputs[name] = padded + copies * prod(architecture.output_shapes[name])
    return outputs


def _workspace(architecture: Architecture, examples: int) -> int:
    """The numbers under the kernels of the convolution that has most, for the examples that are computed at once."""
    largest = max(
        (
            layer.kernel_size**2 * architecture.input_shapes[name][0] * prod(architecture.output_shapes[name][1:])
            for name, layer in architecture.named_layers.items()
            if isinstance(layer, Conv)
        ),
        default=0,
    )
    return largest and largest * min(examples, max(available_cores(), WORKSPACE // largest))


def require_memory(
    backend: Backend,
    architecture: Architecture,
    device: str,
    examples: int,
    *,
    training: bool = False,
    saved: bool = False,
) -> None:
    """Check that the network can be computed here.

    Args:
        backend: from `load_backend`: what is available is measured after the framework has taken its own memory.
        architecture: the network.
        device: where the backend computes. On a GPU, this machine needs the memory of the parameters only.
        examples: examples per batch.
        training: whether the network is trained.
        saved: whether the training writes checkpoints.

    Raises:
        UserError: if this process cannot get the memory, or the device is not available.
    """
    if choose_device(device, backend.available_devices(), backend.FRAMEWORK) != "cpu":
        size = FLOAT * architecture.num_parameters
    elif training:
        size = training_memory(architecture, examples, saved)
    else:
        size = evaluation_memory(architecture, examples)
    if address_space_left() is not None:
        size += THREAD_SPACE * num_threads(backend)
    what = f"the network in batches of {examples}"
    require_bytes(size, what, "choose smaller images, fewer channels or units, or smaller batches")
