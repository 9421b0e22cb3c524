"""A network in Keras that trains faster on a CPU. `lenet_multi.fast` says why convolution and pooling are one.

Blocks of pixels become channels, for TensorFlow's strided convolutions are slow backward. And two gradients are written
out that cost more than need be when left to TensorFlow: a bias's, and that of a mean over channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from lenet_multi.fast.parts import NUM_PARTS

MAX_CHANNELS = 16  # convolutions of more fill the processor's registers by themselves

Step = Callable[[tf.Tensor], tf.Tensor]
Pool: TypeAlias = layers.AveragePooling2D | layers.MaxPooling2D


class FasterNet(keras.Model):
    """The same function as a network, of the same variables, with each part of a batch on a core of its own.

    Args:
        net: a network; one that is not sequential keeps its layers as they are.
        images: uint8 (N, C, H, W), kept on the network's device. Given, this takes the indices of examples in place of
            images, and gathers and scales them there.
        batch_size: examples in a batch; `train_on_batch` and `test_on_batch` go through all that they are given.
    """

    def __init__(self, net: keras.Model, images: np.ndarray | None = None, batch_size: int = 256) -> None:
        super().__init__()
        self.net = net
        self.batch_size = batch_size
        device = net.weights[0].value.device
        on_cpu = "CPU" in device
        # TensorFlow crashes on parts without an example.
        smallest = NUM_PARTS if images is None else len(images) % batch_size or min(batch_size, len(images))
        self.num_parts = NUM_PARTS if on_cpu and smallest >= NUM_PARTS else 1
        self.steps = pool_convolutions(net.layers) if on_cpu and isinstance(net, keras.Sequential) else [net]
        self.images = None
        if images is not None:
            with tf.device(device):
                # A GPU cannot gather bytes; as float16, 0 to 255 are themselves.
                self.images = tf.constant(images.transpose(0, 2, 3, 1), tf.uint8 if on_cpu else tf.float16)
                if isinstance(self.steps[0], PooledConvolution):
                    self.images = self.steps[0].blocks(self.images)
        # TensorFlow warns of a function that is traced often. Each network is another one: a partial tells it so.
        self.in_graph = tf.function(partial(self.call), reduce_retracing=True)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Train on several batches, one after the other; the metrics are means over all of them."""
        return self.batch_by_batch(super().train_step, data)

    def test_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Evaluate on several batches; the metrics are means over all of them."""
        return self.batch_by_batch(super().test_step, data)

    def batch_by_batch(self, step: Callable, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Take a step of Keras's with each batch, and give the metrics.

        As a loop of the graph: Keras's own way to several steps at once reads them from tf.data, whose threads and the
        parts' take the cores from each other.
        """
        X, y = data[:2]
        num_examples = tf.shape(X)[0]

        def with_batch(start: tf.Tensor) -> tuple[tf.Tensor]:
            stop = start + self.batch_size
            step((X[start:stop], y[start:stop]))
            return (stop,)

        tf.while_loop(lambda start: start < num_examples, with_batch, (0,), parallel_iterations=1)
        return self.get_metrics_result()

    def infer(self, X: tf.Tensor) -> tf.Tensor:
        """The network's output for a batch of any size."""
        return self.in_graph(X) if len(X) >= self.num_parts else self.net(X, training=False)

    def call(self, X: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        steps: list[Step] = []
        for step in self.steps:
            in_blocks = self.images is not None and not steps  # the first step's input
            steps.append(step.for_now(in_blocks) if isinstance(step, PooledConvolution) else step)
        size = tf.shape(X)[0]
        outputs = []
        for part in range(self.num_parts):
            x = X[part * size // self.num_parts : (part + 1) * size // self.num_parts]
            if self.images is not None:
                x = tf.cast(tf.gather(self.images, x), tf.float32) / 255
            for step in steps:
                x = step(x)
            outputs.append(x)
        return tf.concat(outputs, axis=0)


def pool_convolutions(net_layers: list[layers.Layer]) -> list[Step | PooledConvolution]:
    """The layers, with each convolution of few channels and the pooling after it taken together."""
    steps: list[Step | PooledConvolution] = []
    rest = net_layers
    while rest:
        match rest:
            case [
                layers.ZeroPadding2D() as zeros,
                layers.Conv2D(padding="valid") as conv,
                layers.AveragePooling2D() | layers.MaxPooling2D() as pool,
                *after,
            ] if len({*zeros.padding[0], *zeros.padding[1]}) == 1:
                padding = zeros.padding[0][0]
            case [layers.Conv2D() as conv, layers.AveragePooling2D() | layers.MaxPooling2D() as pool, *after]:
                padding = conv.kernel_size[0] // 2 if conv.padding == "same" else 0
            case [layer, *rest]:
                steps.append(layer)
                continue
        if is_plain(conv, pool) and max(conv.kernel.shape[2:]) <= MAX_CHANNELS:
            steps.append(PooledConvolution(conv, pool, padding, steps[-1] if steps else None))
            rest = after
        else:
            layer, *rest = rest
            steps.append(layer)
    return steps


def is_plain(conv: layers.Conv2D, pool: Pool) -> bool:
    """Whether the two are as the description's layers are: a square window, and pooling over 2 x 2 pixels."""
    settings = (conv.strides, conv.dilation_rate, conv.groups, conv.use_bias)
    square = len(set(conv.kernel_size)) == 1 and (conv.padding == "valid" or conv.kernel_size[0] % 2 == 1)
    pooling = pool.pool_size == pool.strides == (2, 2) and pool.padding == "valid"
    return settings == ((1, 1), (1, 1), 1, True) and square and pooling


class PooledConvolution:
    """A convolution, its activation and the pooling over 2 x 2 pixels after it.

    An image (N, H, W, C) in blocks of s x s pixels is (N, H / s, W / s, s * s * C). The convolution takes it so, and
    gives all pixels of a block at once: first those that come first in their 2 x 2 pixels, and so on. What the pooling
    leaves has blocks of s / 2: of 1 pixel, or of 2 for another such convolution that takes them.
    """

    def __init__(self, conv: layers.Conv2D, pool: Pool, padding: int, before: Step | PooledConvolution | None) -> None:
        self.conv = conv
        self.is_max = isinstance(pool, layers.MaxPooling2D)
        self.padding = padding
        self.size = 2
        self.takes_blocks = False
        even = all(side % 2 == 0 for side in (padding, *conv.input.shape[1:3]))
        if even and isinstance(before, PooledConvolution) and not before.takes_blocks:
            before.size, self.takes_blocks = 4, True

    @property
    def taps(self) -> int:
        """How many blocks along each side the outputs in one block depend on."""
        return -(-(self.conv.kernel_size[0] + self.size - 1) // self.size)

    def blocks(self, images: tf.Tensor) -> tf.Tensor:
        """Images in blocks, with the zeros around them that the convolution needs."""
        padded = []
        for side in images.shape[1:3]:
            outputs = (side + 2 * self.padding - self.conv.kernel_size[0] + 1) // 2
            length = (-(-outputs * 2 // self.size) + self.taps - 1) * self.size
            padded.append((self.padding, length - self.padding - side))
        return tf.nn.space_to_depth(pad(images, *padded), self.size)

    def for_now(self, in_blocks: bool) -> Step:
        """The step with the parameters as they are now; for an input that is in blocks already, or is not yet."""
        conv = self.conv
        kernel = kernel_for_blocks(conv.kernel, self.size, self.taps)
        bias = tf.tile(conv.bias, [self.size**2])

        def step(x: tf.Tensor) -> tf.Tensor:
            if self.takes_blocks:
                x = pad(x, *[(self.padding // 2, self.padding // 2)] * 2)
            elif not in_blocks:
                x = self.blocks(x)
            x = convolution(x, kernel, bias)
            if self.is_max:
                return conv.activation(largest_of_four(x))  # an activation never falls: it can wait
            return mean_of_four(conv.activation(x))

        return step


def pad(x: tf.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> tf.Tensor:
    """Add zeros around images, or take away what is below 0."""
    if min(rows + columns) < 0:
        x = x[:, : x.shape[1] + min(rows[1], 0), : x.shape[2] + min(columns[1], 0)]
    if max(rows + columns) > 0:
        x = tf.pad(x, [(0, 0), (rows[0], max(rows[1], 0)), (columns[0], max(columns[1], 0)), (0, 0)])
    return x


def kernel_for_blocks(kernel: tf.Tensor, size: int, taps: int) -> tf.Tensor:
    """From a kernel (k, k, in, out) to the one for blocks, (taps, taps, size * size * in, size * size * out).

    For each output pixel of a block it holds a copy that is shifted to the pixel's place.
    """
    side, _, in_channels, out_channels = kernel.shape
    half = range(size // 2)
    places = [(2 * a + i, 2 * b + j) for i in range(2) for j in range(2) for a in half for b in half]
    spread = np.zeros((taps * size, taps * size, len(places), side, side), np.float32)
    for number, (row, column) in enumerate(places):
        for i, j in np.ndindex(side, side):
            spread[row + i, column + j, number, i, j] = 1
    spread = spread.reshape(taps, size, taps, size, -1, side * side).transpose(0, 2, 1, 3, 4, 5)
    blocks = tf.constant(spread.reshape(-1, side * side)) @ tf.reshape(kernel, [side * side, -1])
    blocks = tf.reshape(blocks, [taps * taps * size * size, size * size, in_channels, out_channels])
    blocks = tf.transpose(blocks, [0, 2, 1, 3])
    return tf.reshape(blocks, [taps, taps, size * size * in_channels, size * size * out_channels])


@tf.custom_gradient
def convolution(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor):
    """A convolution with a bias, whose gradient is a product with ones."""

    def gradients(dy):
        like = {"out_backprop": dy, "strides": [1, 1, 1, 1], "padding": "VALID"}
        dx = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, **like)
        dkernel = tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **like)
        pixels = tf.reshape(dy, [-1, bias.shape[0]])
        return dx, dkernel, tf.reshape(tf.ones([1, tf.shape(pixels)[0]]) @ pixels, [-1])

    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=1, padding="VALID"), bias), gradients


@tf.custom_gradient
def mean_of_four(x: tf.Tensor):
    """The mean over four sets of channels: (N, H, W, 4 * C) to (N, H, W, C)."""

    def gradient(dy):
        return tf.tile(dy / 4, [1, 1, 1, 4])

    height, width, channels = x.shape[1:]
    return tf.reduce_mean(tf.reshape(x, [-1, height, width, 4, channels // 4]), axis=3), gradient


def largest_of_four(x: tf.Tensor) -> tf.Tensor:
    """The maximum over four sets of channels: shapes as `mean_of_four`.

    The first of equal numbers has the gradient. In blocks, numbers that would be equal may differ by a rounding error:
    then another one has it.
    """
    first, second, third, fourth = tf.split(x, 4, axis=3)
    return tf.maximum(tf.maximum(tf.maximum(first, second), third), fourth)
