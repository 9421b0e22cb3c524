"""What the page can show. `readDescription` in web/network.js limits networks in the same way; a test compares them."""

from __future__ import annotations

from math import prod
from pathlib import Path

from lenet_multi.architecture import Architecture
from lenet_multi.errors import UserError

MOST_LAYERS = 100
MOST_MAPS = 4096
MOST_PARAMETERS = 2**25  # weights
MOST_NUMBERS = 2**22  # in the outputs of all layers, and in the image
MOST_OPERATIONS = 2**29

# Of all networks on a page, without and with those of the kept epochs: 4 bytes each, and a third more as text.
MOST_ON_PAGE = 2**25
MOST_OF_EPOCHS = 2**23


def require_computable(architecture: Architecture, source: Path) -> None:
    """Check that the page can compute a network while its reader draws.

    Args:
        architecture: the network.
        source: its file, for the error.

    Raises:
        UserError: when it cannot.
    """
    image, outputs = architecture.input_shape, architecture.output_shapes.values()
    weights = (prod(shape) for name, shape in architecture.parameter_shapes.items() if name.endswith(".weight"))
    for what, found, most in (
        ("layers", len(architecture.layers), MOST_LAYERS),
        ("numbers in an image", prod(image), MOST_NUMBERS),
        ("pixels along a side of an image", max(image), MOST_NUMBERS - 1),
        ("feature maps", sum(shape[0] for shape in outputs if len(shape) == 3), MOST_MAPS),
        ("weights", sum(weights), MOST_PARAMETERS),
        ("numbers in the outputs of its layers", sum(map(prod, outputs)), MOST_NUMBERS),
        ("operations", architecture.operations, MOST_OPERATIONS),
    ):
        if found > most:
            raise UserError(
                f"'{source}' is too large for a page: it has {found:,} {what}, expected at most {most:,}: choose a "
                "smaller network"
            )
