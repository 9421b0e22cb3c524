"""LeNet in Keras on TensorFlow. The words mean what `lenet_multi.backends.interface` says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.backends.devices import choose_device
from lenet_multi.backends.quiet import quiet_stderr
from lenet_multi.data import BatchIndices, Split, epoch_order
from lenet_multi.recorder import Recorder

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can sit on other frameworks too
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN's convolutions, which TensorFlow by itself takes only on processors with AVX-512.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
with quiet_stderr():  # what TensorFlow says all the same when it starts; an error here still raises
    import keras
    import tensorflow as tf
    from keras import layers

    from lenet_multi.backends.fast.tensorflow import faster, one_thread_per_operation

    # Left alone, TensorFlow takes nearly all memory of every GPU as soon as it looks at them.
    with suppress(RuntimeError):  # TensorFlow is at work already, as somebody else has set it
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    # float32 on a GPU too: by itself TensorFlow rounds the inputs of products there to 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    one_thread_per_operation()
    tf.config.list_logical_devices()

FRAMEWORK = "TensorFlow"
VERSION = tf.__version__
LAYOUT = "NHWC"

POOLINGS = {"avg": layers.AveragePooling2D, "max": layers.MaxPooling2D}


def available_devices() -> list[str]:
    """The devices that TensorFlow sees, GPUs first."""
    return [f"gpu:{number}" for number in range(len(tf.config.list_logical_devices("GPU")))] + ["cpu"]


def framework_device(device: str) -> str:
    """TensorFlow's own name for a device."""
    return "/CPU:0" if device == "cpu" else f"/{device.upper()}"


def convolution(name: str, layer: Conv) -> list[layers.Layer]:
    """The layer and, where Keras has no word for its padding, the zeros as a layer before it."""
    same = 0 < 2 * layer.padding == layer.kernel_size - 1
    convolution = layers.Conv2D(
        layer.channels,
        kernel_size=layer.kernel_size,
        padding="same" if same else "valid",
        activation=layer.activation,
        name=name,
    )
    if same or layer.padding == 0:
        return [convolution]
    return [layers.ZeroPadding2D(layer.padding, name=f"{name}_zeros"), convolution]


def LeNet(architecture: Architecture, seed: int = 0, device: str = "auto") -> keras.Sequential:
    """Build and initialise a network."""
    device = choose_device(device, available_devices(), FRAMEWORK)
    keras.utils.set_random_seed(seed)
    channels, height, width = architecture.input_shape
    with tf.distribute.OneDeviceStrategy(framework_device(device)).scope():
        net = keras.Sequential([keras.Input((height, width, channels))])
        for name, layer in architecture.named_layers.items():
            match layer:
                case Conv():
                    for part in convolution(name, layer):
                        net.add(part)
                case Pool(kind, kernel_size, stride):
                    net.add(POOLINGS[kind](pool_size=kernel_size, strides=stride, name=name))
                case Flatten():
                    net.add(layers.Flatten(name=name))
                case Dense(units, activation):
                    net.add(layers.Dense(units, activation=activation, name=name))
    # Xavier-uniform ("glorot_uniform") weights and zero biases are what Keras starts with.
    return net


def device_of(net: keras.Model) -> str:
    """The device that the network's parameters are on."""
    device = net.weights[0].value.device.rpartition("device:")[2].lower()
    return "cpu" if device.startswith("cpu") else device


def batches(data: Split, indices: BatchIndices | None = None, device: str = "cpu") -> tf.data.Dataset:
    """Gather batches by index and scale them to [0, 1]."""
    indices = BatchIndices(len(data)) if indices is None else indices
    index_iter = tf.data.Dataset.from_generator(indices.__iter__, output_signature=tf.TensorSpec([None], tf.int64))
    # tf.data works on the CPU whatever `device` says; Keras moves each batch to where the network is.
    with tf.device(framework_device("cpu")):
        images = tf.constant(data.images.transpose(0, 2, 3, 1))
        labels = tf.constant(data.labels, dtype=tf.int64)

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            X = tf.cast(tf.gather(images, index), tf.float32) / 255
            y = tf.gather(labels, index)
            return X, y

        return index_iter.map(load).prefetch(2).apply(tf.data.experimental.assert_cardinality(len(indices)))


def evaluate_accuracy(net: keras.Model, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly.

    Written out, where `net.evaluate` would do, so that a network that is not compiled can be evaluated too.
    """
    forward = faster(net).infer
    num_correct, num_examples = 0, 0
    with tf.device(framework_device(device or device_of(net))):
        for X, y in data_iter:
            num_correct += tf.math.count_nonzero(tf.argmax(forward(X), axis=1) == y)
            num_examples += len(y)
    return int(num_correct) / num_examples


def train(
    net: keras.Model,
    train_data: Split,
    test_data: Split,
    num_epochs: int = 10,
    lr: float = 0.9,
    batch_size: int = 256,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> Recorder:
    """Train the network in place, report to the recorder, print the closing lines."""
    device = device_of(net)
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    with net.distribute_strategy.scope():  # the one that the network was built in
        # Both take examples by their indices, and gather the images where they compute.
        train_net, test_net = faster(net, train_data.images, batch_size), faster(net, test_data.images, batch_size)
        optimizer = keras.optimizers.SGD(learning_rate=lr)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # XLA, Keras's default, is slower for this network on a CPU.
        train_net.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], jit_compile=False)
        test_net.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
    labels, test_labels = train_data.labels.astype(np.int64), test_data.labels.astype(np.int64)
    num_batches = len(BatchIndices(len(train_data), batch_size))
    report_at = sorted(recorder.report_points(num_batches))
    for epoch in range(recorder.first_epoch, num_epochs):
        recorder.timer.start()
        order = epoch_order(len(train_data), seed, epoch)
        loss_sum, num_correct, num_examples = 0.0, 0.0, 0
        # TensorFlow goes through all batches up to a report without coming back to Python.
        stops = [(i + 1) * batch_size for i in report_at[:-1]]
        for i, index in zip(report_at, np.split(order, stops), strict=True):
            means = train_net.train_on_batch(index, labels[index], return_dict=True)
            loss_sum += means["loss"] * len(index)
            num_correct += means["accuracy"] * len(index)
            num_examples += len(index)
            recorder.add(epoch + (i + 1) / num_batches, loss_sum / num_examples, num_correct / num_examples)
        recorder.timer.stop()
        means = test_net.test_on_batch(np.arange(len(test_data)), test_labels, return_dict=True)
        recorder.end_epoch(epoch + 1, round(means["accuracy"] * len(test_data)) / len(test_data))
    recorder.close(device)
    return recorder


def canonical_axes(net: keras.Model, layer: layers.Layer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How to make a Keras kernel canonical: the shape to see it in, then the order of the axes.

    Keras keeps convolution kernels as (height, width, in, out), dense ones as (in, out). The dense layer after flatten
    has its inputs in the order (H, W, C), for Keras flattens channels-last.
    """
    if isinstance(layer, layers.Conv2D):
        return layer.kernel.shape, (3, 2, 0, 1)
    before = net.layers[net.layers.index(layer) - 1]
    if isinstance(before, layers.Flatten):
        return (*before.input.shape[1:], layer.units), (3, 2, 0, 1)
    return layer.kernel.shape, (1, 0)


def canonical(net: keras.Model, arrays: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays in the order and layout of `net.weights` (kernel, bias, kernel, ...) as canonical ones by name."""
    parameters, array_iter = {}, iter(arrays)
    for layer in net.layers:
        if layer.weights:
            shape, axes = canonical_axes(net, layer)
            weight = next(array_iter).reshape(shape).transpose(axes)
            if isinstance(layer, layers.Dense):
                weight = weight.reshape(layer.units, -1)
            parameters[f"{layer.name}.weight"] = np.ascontiguousarray(weight)
            parameters[f"{layer.name}.bias"] = next(array_iter)
    return parameters


def get_parameters(net: keras.Model) -> dict[str, np.ndarray]:
    """A copy of the parameters in the canonical form."""
    return canonical(net, net.get_weights())


def set_parameters(net: keras.Model, parameters: Mapping[str, np.ndarray]) -> None:
    """Overwrite the parameters with canonical ones."""
    for layer in net.layers:
        if layer.weights:
            shape, axes = canonical_axes(net, layer)
            weight = parameters[f"{layer.name}.weight"].reshape([shape[axis] for axis in axes])
            kernel = weight.transpose(np.argsort(axes)).reshape(layer.kernel.shape)
            layer.set_weights([kernel, parameters[f"{layer.name}.bias"]])


def loss_and_gradients(net: keras.Model, X: np.ndarray, y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch and its canonical gradients."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.device(framework_device(device_of(net))), tf.GradientTape() as tape:
        l = loss(y, net(X.transpose(0, 2, 3, 1), training=True))
    gradients = tape.gradient(l, net.trainable_weights)
    return float(l), canonical(net, [gradient.numpy() for gradient in gradients])


def layer_outputs(net: keras.Model, X: np.ndarray) -> dict[str, np.ndarray]:
    """What each layer of the description gives, after its activation."""
    outputs = {}
    with tf.device(framework_device(device_of(net))):
        x = tf.constant(X.transpose(0, 2, 3, 1))
        for layer in net.layers:
            x = layer(x)
            # `conv1` overwrites `conv1_zeros`: what counts is what the next layer gets.
            outputs[layer.name.partition("_")[0]] = x.numpy()
    return outputs
