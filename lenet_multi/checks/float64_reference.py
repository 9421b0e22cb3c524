"""The float64 reference: the forward pass, gradients and SGD step of a network, in NumPy alone.

The code is slow and simple, so that a reader can check it. It imports no framework. The tests check its gradients
against finite differences. Images are (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Layer, Pool

Arrays = dict[str, np.ndarray]


def xavier_uniform(architecture: Architecture, seed: int = 0) -> Arrays:
    """Return initial parameters, float32: weights uniform within `xavier_bound`, as in every backend; biases zero."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.uniform(-1, 1, shape).astype(np.float32) * np.float32(xavier_bound(shape))
        if name.endswith(".weight")
        else np.zeros(shape, np.float32)
        for name, shape in architecture.parameter_shapes.items()
    }


def xavier_bound(shape: tuple[int, ...]) -> float:
    """Return sqrt(6 / (fan_in + fan_out)) for a canonical weight shape (out, in) or (out, in, height, width).

    A fan is the number of channels or units times the area of the kernel.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_out, fan_in = (size * int(np.prod(shape[2:])) for size in shape[:2])
    return float(np.sqrt(6 / (fan_in + fan_out)))


def forward(architecture: Architecture, parameters: Mapping[str, np.ndarray], X: np.ndarray) -> Arrays:
    """Return the output of every layer, after its activation.

    Args:
        architecture: the description of the network.
        parameters: by canonical name (`Architecture.parameter_shapes`), of any float type.
        X: inputs (N, C, H, W), scaled to [0, 1].

    Returns:
        Layer name to float64 array: (N, C, H, W) before flatten, (N, units) from flatten on.
    """
    outputs: Arrays = {}
    x = X.astype(np.float64)
    for name, layer in architecture.named_layers.items():
        x = outputs[name] = layer_forward(name, layer, parameters, x)
    return outputs


def layer_forward(name: str, layer: Layer, parameters: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return the output of one layer for the input x, after its activation."""
    match layer:
        case Conv(activation=activation):
            weight, bias = weight_and_bias(name, parameters)
            # out[n, h, w, o] = sum over c, i, j of windows[n, c, h, w, i, j] weight[o, c, i, j], plus the bias
            out = np.tensordot(conv_windows(x, layer), weight, axes=((1, 4, 5), (1, 2, 3))) + bias
            return activate(activation, out.transpose(0, 3, 1, 2))
        case Pool(kind="avg"):
            return pool_windows(x, layer).mean(axis=(4, 5))
        case Pool(kind="max"):
            return pool_windows(x, layer).max(axis=(4, 5))
        case Flatten():
            return x.reshape(len(x), -1)
        case Dense(activation=activation):
            weight, bias = weight_and_bias(name, parameters)
            return activate(activation, x @ weight.T + bias)
    raise AssertionError(layer)


def has_kinks(architecture: Architecture) -> bool:
    """Whether the network has kinks: relus or max poolings, whose gradients are discontinuous."""
    return any(
        layer.kind == "max" if isinstance(layer, Pool) else getattr(layer, "activation", None) == "relu"
        for layer in architecture.layers
    )


def near_a_kink(
    architecture: Architecture, parameters: Mapping[str, np.ndarray], X: np.ndarray, margin: float
) -> np.ndarray:
    """Return which examples are closer to a kink than `margin`: bool, (N,). Rounding can change their gradients.

    A relu has its kink at 0, a maximum where the two largest numbers of a window are equal. A distance of exactly
    0 does not count, because it involves no rounding.
    """
    near = np.zeros(len(X), bool)
    x = X.astype(np.float64)
    for name, layer in architecture.named_layers.items():
        distance = None
        if isinstance(layer, Conv | Dense) and layer.activation == "relu":
            distance = np.abs(layer_forward(name, replace(layer, activation=None), parameters, x))
        elif isinstance(layer, Pool) and layer.kind == "max" and layer.kernel_size > 1:
            largest_two = np.sort(pool_windows(x, layer).reshape(len(x), -1, layer.kernel_size**2), axis=-1)[..., -2:]
            distance = largest_two[..., 1] - largest_two[..., 0]
        if distance is not None:
            near |= ((distance > 0) & (distance < margin)).reshape(len(x), -1).any(axis=1)
        x = layer_forward(name, layer, parameters, x)
    return near


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of -log softmax(logits)[y] over the batch; logits (N, classes), y (N,)."""
    return float(-log_softmax(logits)[np.arange(len(y)), y].mean())


def loss_and_gradients(
    architecture: Architecture, parameters: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> tuple[float, Arrays]:
    """Return the mean cross-entropy of a batch and its gradients, float64, by canonical parameter name."""
    outputs = forward(architecture, parameters, X)
    names = list(outputs)
    logits = outputs[names[-1]]
    gradients: Arrays = {}
    # The gradient of the mean cross-entropy with respect to the logits: softmax minus one-hot, over the batch size.
    gradient = np.exp(log_softmax(logits))
    gradient[np.arange(len(y)), y] -= 1
    gradient /= len(y)
    for position in reversed(range(len(names))):
        name, layer = names[position], architecture.layers[position]
        x = outputs[names[position - 1]] if position else X.astype(np.float64)
        if isinstance(layer, Conv | Dense):
            gradient = gradient * activation_slope(layer.activation, outputs[name])
            gradients |= parameter_gradients(name, layer, x, gradient)
        if position > 0:  # the gradient with respect to the pixels is not needed
            gradient = input_gradient(name, layer, parameters, x, gradient)
    return cross_entropy(logits, y), {name: gradients[name] for name in architecture.parameter_shapes}


def parameter_gradients(name: str, layer: Conv | Dense, x: np.ndarray, gradient: np.ndarray) -> Arrays:
    """Return the gradients of a layer's weight and bias.

    Args:
        name: the name of the layer.
        layer: the layer.
        x: its input.
        gradient: of the loss with respect to its output before the activation.
    """
    if isinstance(layer, Dense):
        return {f"{name}.weight": gradient.T @ x, f"{name}.bias": gradient.sum(axis=0)}
    weight_gradient = np.tensordot(gradient, conv_windows(x, layer), axes=((0, 2, 3), (0, 2, 3)))
    return {f"{name}.weight": weight_gradient, f"{name}.bias": gradient.sum(axis=(0, 2, 3))}


def input_gradient(
    name: str, layer: Layer, parameters: Mapping[str, np.ndarray], x: np.ndarray, gradient: np.ndarray
) -> np.ndarray:
    """Return the gradient with respect to a layer's input.

    Args:
        name: the name of the layer.
        layer: the layer.
        parameters: of the network, by canonical name.
        x: the input of the layer.
        gradient: of the loss with respect to its output before the activation.
    """
    match layer:
        case Conv(padding=padding, kernel_size=size):
            weight, _ = weight_and_bias(name, parameters)
            height, width = gradient.shape[2:]
            padded = np.zeros((*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding))
            for i, j in np.ndindex(size, size):
                # The output pixel (h, w) uses the input pixel (h + i, w + j) with weight[:, :, i, j].
                share = np.tensordot(gradient, weight[:, :, i, j], axes=(1, 0)).transpose(0, 3, 1, 2)
                padded[:, :, i : i + height, j : j + width] += share
            return padded[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]]
        case Pool(kind=kind, kernel_size=size, stride=stride):
            height, width = gradient.shape[2:]
            if kind == "max":
                patches = pool_windows(x, layer)
                # The first of several equal maxima, row by row, receives the gradient.
                winner = patches.reshape(*patches.shape[:4], -1).argmax(axis=-1)
            input_grad = np.zeros(x.shape)
            for i, j in np.ndindex(size, size):
                share = gradient / size**2 if kind == "avg" else gradient * (winner == i * size + j)
                input_grad[:, :, i : i + stride * height : stride, j : j + stride * width : stride] += share
            return input_grad
        case Flatten():
            return gradient.reshape(x.shape)
        case Dense():
            return gradient @ weight_and_bias(name, parameters)[0]
    raise AssertionError(layer)


def sgd_step(parameters: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], lr: float) -> Arrays:
    """Return the parameters after one SGD step, float64: parameter minus `lr` times its gradient."""
    return {name: value.astype(np.float64) - lr * gradients[name] for name, value in parameters.items()}


def weight_and_bias(name: str, parameters: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return parameters[f"{name}.weight"].astype(np.float64), parameters[f"{name}.bias"].astype(np.float64)


def windows(x: np.ndarray, size: int) -> np.ndarray:
    """Return a view of all square windows: (N, C, H, W) to (N, C, H - size + 1, W - size + 1, size, size)."""
    axes: Any = (2, 3)  # the type hints of NumPy 1 lack a tuple of axes
    return sliding_window_view(x, (size, size), axes)


def conv_windows(x: np.ndarray, layer: Conv) -> np.ndarray:
    """Return the patch under the kernel for each output pixel: (N, C, H, W, kernel, kernel)."""
    sides = (layer.padding, layer.padding)
    return windows(np.pad(x, ((0, 0), (0, 0), sides, sides)), layer.kernel_size)


def pool_windows(x: np.ndarray, layer: Pool) -> np.ndarray:
    """Return the window of each output pixel: (N, C, H, W, kernel, kernel)."""
    return windows(x, layer.kernel_size)[:, :, :: layer.stride, :: layer.stride]


def activate(activation: str | None, x: np.ndarray) -> np.ndarray:
    match activation:
        case "sigmoid":
            return 0.5 * (1 + np.tanh(0.5 * x))  # 1 / (1 + exp(-x)) without overflow
        case "tanh":
            return np.tanh(x)
        case "relu":
            return np.maximum(x, 0)
    return x


def activation_slope(activation: str | None, out: np.ndarray) -> np.ndarray | float:
    """Return the derivative of an activation, computed from its output."""
    match activation:
        case "sigmoid":
            return out * (1 - out)
        case "tanh":
            return 1 - out**2
        case "relu":
            return out > 0
    return 1.0


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
