"""A network in Keras that trains faster on a CPU. `lenet_multi.fast` explains why convolution and pooling are combined.

Instead of strides, which are slow in TensorFlow's backward pass, blocks of pixels become channels. Two gradients are
written out because TensorFlow computes them slowly: the gradient of a bias and the gradient of a mean over channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from lenet_multi.data import Split
from lenet_multi.fast.batch_parts import NUM_PARTS

MAX_CHANNELS = 16  # convolutions with more channels already fill the processor's registers

Step = Callable[[tf.Tensor], tf.Tensor]
Pool: TypeAlias = layers.AveragePooling2D | layers.MaxPooling2D


class FasterNet(keras.Model):
    """Computes the same function as a network, with the same variables, and each part of a batch on its own core.

    Args:
        net: a network. If it is not sequential, its layers run unchanged.
        data: if given, its images are stored on the network's device. The input is then example indices instead of
            images, and the images are gathered and scaled on that device.
        batch_size: `train_on_batch` and `test_on_batch` divide their examples into batches of this size.
    """

    def __init__(self, net: keras.Model, data: Split | None = None, batch_size: int = 256) -> None:
        super().__init__()
        self.net = net
        self.batch_size = batch_size
        device = net.weights[0].value.device
        on_cpu = "CPU" in device
        # TensorFlow crashes on parts without examples.
        smallest = NUM_PARTS if data is None else len(data) % batch_size or min(batch_size, len(data))
        self.num_parts = NUM_PARTS if on_cpu and smallest >= NUM_PARTS else 1
        self.steps = pool_convolutions(net.layers) if on_cpu and isinstance(net, keras.Sequential) else [net]
        self.images = None
        if data is not None:
            self.max_pixel = data.max_pixel
            # A GPU cannot gather bytes. float16 represents 0 to 255 exactly.
            dtype = tf.float16 if data.images.dtype == np.uint8 and not on_cpu else data.images.dtype
            with tf.device(device):
                self.images = tf.constant(data.images.transpose(0, 2, 3, 1), dtype)
                if isinstance(self.steps[0], PooledConvolution):
                    self.images = self.steps[0].blocks(self.images)
        # TensorFlow warns when it traces one function often. A partial makes a new function for each network.
        self.in_graph = tf.function(partial(self.call), reduce_retracing=True)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Train on several batches, one after another; the metrics are means over all of them."""
        return self.batch_by_batch(super().train_step, data)

    def test_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Evaluate on several batches; the metrics are means over all of them."""
        return self.batch_by_batch(super().test_step, data)

    def batch_by_batch(self, step: Callable, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Run a Keras step on each batch and return the metrics.

        The loop is part of the graph. Keras can also run several steps per call, but then it reads the batches from
        tf.data, whose threads compete with those of the parts for the cores.
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
            in_blocks = self.images is not None and not steps  # the stored images, which are the first step's input
            steps.append(step.with_current_parameters(in_blocks) if isinstance(step, PooledConvolution) else step)
        size = tf.shape(X)[0]
        outputs = []
        for part in range(self.num_parts):
            x = X[part * size // self.num_parts : (part + 1) * size // self.num_parts]
            if self.images is not None:
                x = tf.cast(tf.gather(self.images, x), tf.float32) / self.max_pixel
            for step in steps:
                x = step(x)
            outputs.append(x)
        return tf.concat(outputs, axis=0)


def pool_convolutions(net_layers: list[layers.Layer]) -> list[Step | PooledConvolution]:
    """The layers, with each convolution of few channels and the pooling after it combined."""
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
    """Whether the kernel is square, the pooling is over 2 x 2 pixels, and all other settings are defaults."""
    settings = (conv.strides, conv.dilation_rate, conv.groups, conv.use_bias)
    square = len(set(conv.kernel_size)) == 1 and (conv.padding == "valid" or conv.kernel_size[0] % 2 == 1)
    pooling = pool.pool_size == pool.strides == (2, 2) and pool.padding == "valid"
    return settings == ((1, 1), (1, 1), 1, True) and square and pooling


class PooledConvolution:
    """A convolution, its activation and the pooling over 2 x 2 pixels after it.

    Images (N, H, W, C) in blocks of s x s pixels have the shape (N, H / s, W / s, s * s * C). The convolution takes
    them in this shape and computes all output pixels of a block at once, as channels: first the pixels at the first
    position of each 2 x 2 window, then those at the second, and so on. After pooling, blocks have s / 2 x s / 2 pixels:
    one pixel, or 2 x 2 pixels if the next layer is another `PooledConvolution` and takes blocks.
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
        """The number of input blocks along each side that one block of outputs depends on."""
        return -(-(self.conv.kernel_size[0] + self.size - 1) // self.size)

    def blocks(self, images: tf.Tensor) -> tf.Tensor:
        """Pad the images with the zeros that the convolution needs, and arrange them in blocks."""
        padded = []
        for side in images.shape[1:3]:
            outputs = (side + 2 * self.padding - self.conv.kernel_size[0] + 1) // 2
            length = (-(-outputs * 2 // self.size) + self.taps - 1) * self.size
            padded.append((self.padding, length - self.padding - side))
        return tf.nn.space_to_depth(pad(images, *padded), self.size)

    def with_current_parameters(self, in_blocks: bool) -> Step:
        """The step with the current parameters. `in_blocks`: whether the input is already in blocks."""
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
                return conv.activation(largest_of_four(x))  # valid because no activation decreases
            return mean_of_four(conv.activation(x))

        return step


def pad(x: tf.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> tf.Tensor:
    """Add zeros around the images; a negative number of rows or columns crops them at the end."""
    if min(rows + columns) < 0:
        x = x[:, : x.shape[1] + min(rows[1], 0), : x.shape[2] + min(columns[1], 0)]
    if max(rows + columns) > 0:
        x = tf.pad(x, [(0, 0), (rows[0], max(rows[1], 0)), (columns[0], max(columns[1], 0)), (0, 0)])
    return x


def kernel_for_blocks(kernel: tf.Tensor, size: int, taps: int) -> tf.Tensor:
    """Convert a kernel (k, k, in, out) to the kernel for blocks, (taps, taps, size * size * in, size * size * out).

    It contains one copy of the kernel per output pixel of a block, shifted to the position of the pixel.
    """
    side, _, in_channels, out_channels = kernel.shape
    half = range(size // 2)
    positions = [(2 * a + i, 2 * b + j) for i in range(2) for j in range(2) for a in half for b in half]
    spread = np.zeros((taps * size, taps * size, len(positions), side, side), np.float32)
    for number, (row, column) in enumerate(positions):
        for i, j in np.ndindex(side, side):
            spread[row + i, column + j, number, i, j] = 1
    spread = spread.reshape(taps, size, taps, size, -1, side * side).transpose(0, 2, 1, 3, 4, 5)
    blocks = tf.constant(spread.reshape(-1, side * side)) @ tf.reshape(kernel, [side * side, -1])
    blocks = tf.reshape(blocks, [taps * taps * size * size, size * size, in_channels, out_channels])
    blocks = tf.transpose(blocks, [0, 2, 1, 3])
    return tf.reshape(blocks, [taps, taps, size * size * in_channels, size * size * out_channels])


@tf.custom_gradient
def convolution(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor):
    """A convolution with a bias; the gradient of the bias is computed as a product with ones."""

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
    """The maximum over four sets of channels: (N, H, W, 4 * C) to (N, H, W, C).

    Among equal values, the first one gets the gradient. Values that are equal without blocks may differ by a rounding
    error with blocks; the gradient then goes to the largest.
    """
    first, second, third, fourth = tf.split(x, 4, axis=3)
    return tf.maximum(tf.maximum(tf.maximum(first, second), third), fourth)
