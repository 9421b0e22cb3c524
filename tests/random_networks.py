"""Random descriptions of networks, and random parameters for them."""

import numpy as np
from hypothesis import strategies as st

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool


def random_parameters(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in architecture.parameter_shapes.items()}


@st.composite
def architectures(draw, classes: int = 10) -> Architecture:
    """Any valid description of a small network."""
    _, height, width = shape = draw(st.tuples(st.integers(1, 3), st.integers(4, 14), st.integers(4, 14)))
    activation = st.sampled_from([None, "sigmoid", "tanh", "relu"])
    layers: list = []
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            padding = draw(st.integers(0, 3))
            kernel_size = draw(st.integers(1, min(5, height + 2 * padding, width + 2 * padding)))
            layers.append(Conv(draw(st.integers(1, 4)), kernel_size, padding, draw(activation)))
            height, width = height + 2 * padding - kernel_size + 1, width + 2 * padding - kernel_size + 1
        else:
            kernel_size, stride = draw(st.integers(1, min(3, height, width))), draw(st.integers(1, 3))
            layers.append(Pool(draw(st.sampled_from(["avg", "max"])), kernel_size, stride))
            height, width = (height - kernel_size) // stride + 1, (width - kernel_size) // stride + 1
    hidden = [Dense(draw(st.integers(1, 6)), draw(activation)) for _ in range(draw(st.integers(0, 2)))]
    return Architecture(shape, (*layers, Flatten(), *hidden, Dense(classes)))
