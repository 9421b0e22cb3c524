"""The memory that a network needs at least, compared with what is available, before a framework allocates it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from lenet_multi.architecture import Architecture
from lenet_multi.backends.devices import choose_device
from lenet_multi.fast.batch_parts import MAX_PARTS
from lenet_multi.system.memory import require_bytes

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend

FLOAT = 4  # bytes of a float32


def evaluation_memory(architecture: Architecture, examples: int) -> int:
    """Bytes that the forward pass of a batch needs in every framework: the parameters, and a layer's input and output.

    The layer is the one with the largest sum. Flatten is left out: its output can share the memory of its input.
    """
    inputs, outputs = architecture.input_shapes, architecture.output_shapes
    largest = max(prod(inputs[name]) + prod(outputs[name]) for name in outputs if not name.startswith("flatten"))
    return FLOAT * (architecture.num_parameters + examples * largest)


def training_memory(architecture: Architecture, examples: int, saved: bool = False) -> int:
    """Bytes that training needs in every framework, at the moment that needs most.

    The backward pass needs the output of every layer with an activation. The gradients are as large as the parameters,
    but some frameworks free the outputs before they compute the last gradients. A checkpoint is written from a copy of
    the parameters, and a second copy in the format of the file.
    """
    kept = sum(
        prod(architecture.output_shapes[name])
        for name, layer in architecture.named_layers.items()
        if getattr(layer, "activation", None)
    )
    with_outputs = architecture.num_parameters + examples * (prod(architecture.input_shape) + kept)
    with_copies = (3 if saved else 2) * architecture.num_parameters
    return max(evaluation_memory(architecture, examples), FLOAT * with_outputs, FLOAT * with_copies)


def require_memory(
    backend: Backend,
    architecture: Architecture,
    device: str,
    examples: int,
    *,
    loop: str = "plain",
    training: bool = False,
    saved: bool = False,
) -> None:
    """Check that the network can be computed here. The check refuses only what cannot work in any framework.

    Args:
        backend: from `load_backend`: what is available is measured after the framework has taken its own memory.
        architecture: the network.
        device: where the backend computes. On a GPU, this machine needs the memory of the parameters only.
        examples: examples per batch.
        loop: the fast loop may compute one part of a batch after another.
        training: whether the network is trained.
        saved: whether the training writes checkpoints.

    Raises:
        UserError: if this process cannot get the memory, or the device is not available.
    """
    if choose_device(device, backend.available_devices(), backend.FRAMEWORK) != "cpu":
        size = FLOAT * architecture.num_parameters
    else:
        at_once = -(-examples // MAX_PARTS) if loop == "fast" else examples
        size = training_memory(architecture, at_once, saved) if training else evaluation_memory(architecture, at_once)
    what = f"the network in batches of {examples}"
    require_bytes(size, what, "choose fewer channels or units, or smaller batches")
