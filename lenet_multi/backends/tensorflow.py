"""LeNet in Keras on TensorFlow. `backends.interface` documents the functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import numpy as np

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.backends.devices import choose_device
from lenet_multi.data import BatchSampler, Split
from lenet_multi.system.stderr import suppress_stderr
from lenet_multi.training.recorder import Recorder

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras supports other frameworks too
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Use oneDNN's convolutions: by default TensorFlow does so on some processors only.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# If this module exists, as in TensorFlow 2.20 and 2.21, all libraries see TensorFlow's
# LLVM. PyTorch's compiler needs another LLVM, and crashes (TensorFlow's issue 124205).
sys.modules.setdefault("tensorflow.python.pywrap_dlopen_global_flags", None)
# TensorFlow logs to standard error when it starts. Exceptions still propagate.
with suppress_stderr():
    import keras
    import tensorflow as tf
    from keras import layers

    # By default TensorFlow reserves nearly all memory of every GPU when it starts.
    with suppress(RuntimeError):  # TensorFlow has already started
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    # Compute in full float32 on a GPU: by default TensorFlow rounds the inputs of
    # products to TensorFloat-32, which has a mantissa of 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # Start TensorFlow while its messages are suppressed. A worker of several starts it
    # when it joins the others.
    if "TF_CONFIG" not in os.environ:
        tf.config.list_logical_devices()

FRAMEWORK = "TensorFlow"
VERSION = tf.__version__
LAYOUT = "NHWC"

POOLINGS = {"avg": layers.AveragePooling2D, "max": layers.MaxPooling2D}


def available_devices() -> list[str]:
    """The devices that TensorFlow sees, GPUs first."""
    num_gpus = len(tf.config.list_logical_devices("GPU"))
    return [*(f"gpu:{number}" for number in range(num_gpus)), "cpu"]


def framework_device(device: str) -> str:
    """TensorFlow's name for a device."""
    return "/CPU:0" if device == "cpu" else f"/{device.upper()}"


def convolution(name: str, layer: Conv) -> list[layers.Layer]:
    """A convolution, after a layer of zeros if Keras has no name for the padding."""
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


def LeNet(
    architecture: Architecture, seed: int = 0, device: str = "auto"
) -> keras.Sequential:
    """Build and initialize a network.

    To train it with another optimizer, compile it in the scope of its strategy:
    `with net.distribute_strategy.scope(): net.compile(optimizer="adam", ...)`.
    """
    device = choose_device(device, available_devices(), FRAMEWORK)
    keras.utils.set_random_seed(seed)
    channels, height, width = architecture.input_shape
    with tf.distribute.OneDeviceStrategy(framework_device(device)).scope():
        net = keras.Sequential([keras.Input((height, width, channels))])
        for name, layer in architecture.named_layers.items():
            match layer:
                case Conv():
                    made = convolution(name, layer)
                case Pool(kind, k, stride):
                    made = [POOLINGS[kind](pool_size=k, strides=stride, name=name)]
                case Flatten():
                    made = [layers.Flatten(name=name)]
                case Dense(units, act):
                    made = [layers.Dense(units, activation=act, name=name)]
            for part in made:
                net.add(part)
    # Keras's defaults are Xavier-uniform ("glorot_uniform") weights and zero biases.
    return net


def device_of(net: keras.Model) -> str:
    """The device that holds the network's parameters."""
    device = net.weights[0].value.device.rpartition("device:")[2].lower()
    return "cpu" if device.startswith("cpu") else device


def batches(
    data: Split, sampler: BatchSampler | None = None, device: str = "cpu"
) -> tf.data.Dataset:
    """Gather batches by index and scale the pixels to [0, 1]."""
    sampler = BatchSampler(len(data)) if sampler is None else sampler
    order_spec = tf.TensorSpec([len(data)], tf.int64)
    # tf.data runs on the CPU; Keras moves each batch to the network's device.
    with tf.device(framework_device("cpu")):
        images = tf.constant(data.images.transpose(0, 2, 3, 1))
        labels = tf.constant(data.labels, dtype=tf.int64)

        def of_epoch(order: tf.Tensor) -> tf.data.Dataset:
            def load(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                i = order[start : start + sampler.batch_size]
                X = tf.cast(tf.gather(images, i), tf.float32) / data.max_pixel
                return X, tf.gather(labels, i)

            return tf.data.Dataset.range(0, len(data), sampler.batch_size).map(load)

        # Python computes the order of each epoch; TensorFlow does the rest.
        orders = tf.data.Dataset.from_generator(
            sampler.orders, output_signature=order_spec
        )
        data_iter = orders.flat_map(of_epoch).prefetch(2)
        # Keras needs the number of batches.
        return data_iter.apply(tf.data.experimental.assert_cardinality(len(sampler)))


def evaluate_accuracy(
    net: keras.Model, data_iter: Iterable, device: str | None = None
) -> float:
    """The fraction of the examples that the network classifies correctly.

    For a compiled network, `net.evaluate` also computes it.
    """
    num_correct, num_examples = 0, 0
    with tf.device(framework_device(device or device_of(net))):
        for X, y in data_iter:
            num_correct += tf.math.count_nonzero(tf.argmax(net(X), axis=1) == y)
            num_examples += len(y)
    return int(num_correct) / num_examples


class TrainCallback(keras.callbacks.Callback):
    """Times and evaluates each epoch, reports, and prints the closing lines."""

    def __init__(
        self, net: keras.Model, test_data: Split, batch_size: int, recorder: Recorder
    ) -> None:
        super().__init__()
        self.net = net
        self.num_test = len(test_data)
        self.test_iter = batches(test_data, BatchSampler(self.num_test, batch_size))
        self.recorder = recorder

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch
        self.num_batches = self.params["steps"]
        self.report_at = self.recorder.report_points(self.num_batches)
        self.recorder.timer.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch in self.report_at:
            epoch = self.epoch + (batch + 1) / self.num_batches
            # `logs` holds the means over the epoch so far.
            self.recorder.add(epoch, float(logs["loss"]), float(logs["accuracy"]))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.recorder.timer.stop()
        tested = self.net.evaluate(self.test_iter, verbose=0, return_dict=True)
        # Keras computes the fraction in float32: recompute it in float64.
        test_acc = round(tested["accuracy"] * self.num_test) / self.num_test
        self.recorder.end_epoch(self.net, epoch + 1, test_acc)
        self.net.stop_training = self.recorder.stop_training

    def on_train_end(self, logs: dict | None = None) -> None:
        self.recorder.close(device_of(self.net))


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
    """Train the network in place and report to the recorder."""
    # Compile in the scope of the OneDeviceStrategy that the network was built in.
    with net.distribute_strategy.scope():
        optimizer = keras.optimizers.SGD(learning_rate=float(lr))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile(optimizer, loss, metrics=["accuracy"])
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    # One iterator over the batches of all epochs; `steps_per_epoch` separates them.
    epochs = range(recorder.first_epoch, num_epochs)
    train_sampler = BatchSampler(len(train_data), batch_size, seed, epochs)
    train_iter = batches(train_data, train_sampler)
    net.fit(
        train_iter,
        epochs=num_epochs,
        initial_epoch=recorder.first_epoch,
        steps_per_epoch=train_sampler.batches_per_epoch,
        shuffle=False,  # `train_iter` is already shuffled
        verbose=0,  # the recorder reports
        callbacks=[TrainCallback(net, test_data, batch_size, recorder)],
    )
    return recorder


def canonical_axes(
    net: keras.Model,
) -> Iterator[tuple[layers.Layer, tuple[int, ...], tuple[int, ...]]]:
    """Each layer with parameters, with the shape and the axis order for its kernel.

    Reshape the kernel to the shape, then transpose it to the axis order. Keras stores
    convolution kernels as (height, width, in, out) and dense kernels as (in, out). The
    dense layer after flatten takes its inputs in the order (H, W, C), because Keras
    flattens channels-last images.
    """
    before: layers.Layer | None = None
    for layer in net.layers:
        if isinstance(layer, layers.Conv2D):
            yield layer, layer.kernel.shape, (3, 2, 0, 1)
        elif isinstance(layer, layers.Dense) and isinstance(before, layers.Flatten):
            yield layer, (*before.input.shape[1:], layer.units), (3, 2, 0, 1)
        elif isinstance(layer, layers.Dense):
            yield layer, layer.kernel.shape, (1, 0)
        before = layer


def canonical(net: keras.Model, arrays: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Canonical arrays by name, from arrays in the order of `net.weights`."""
    parameters, array_iter = {}, iter(arrays)
    for layer, shape, axes in canonical_axes(net):
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
    """Set the parameters from arrays in the canonical form."""
    for layer, shape, axes in canonical_axes(net):
        kernel = parameters[f"{layer.name}.weight"].reshape([shape[i] for i in axes])
        kernel = kernel.transpose(np.argsort(axes)).reshape(layer.kernel.shape)
        layer.set_weights([kernel, parameters[f"{layer.name}.bias"]])


def loss_and_gradients(
    net: keras.Model, X: np.ndarray, y: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch and its gradients in the canonical form."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.device(framework_device(device_of(net))), tf.GradientTape() as tape:
        l = loss(y, net(X.transpose(0, 2, 3, 1), training=True))
    gradients = tape.gradient(l, net.trainable_weights)
    return float(l), canonical(net, [gradient.numpy() for gradient in gradients])


def layer_outputs(net: keras.Model, X: np.ndarray) -> dict[str, np.ndarray]:
    """The output of each layer of the description, after its activation."""
    outputs = {}
    with tf.device(framework_device(device_of(net))):
        x = tf.constant(X.transpose(0, 2, 3, 1))
        for layer in net.layers:
            x = layer(x)
            # `conv1` overwrites `conv1_zeros`: the padding is part of the layer.
            outputs[layer.name.partition("_")[0]] = x.numpy()
    return outputs
