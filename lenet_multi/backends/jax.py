"""LeNet in Flax NNX on JAX. `backends.interface` documents the functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial

import numpy as np

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.backends.devices import choose_device
from lenet_multi.data import BatchSampler, DataLoader, Split
from lenet_multi.errors import UserError
from lenet_multi.system.stderr import suppress_stderr
from lenet_multi.training.recorder import Recorder

# By default JAX reserves most of a GPU's memory when it starts.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import optax
from flax import nnx

# Compute in full float32 on a GPU: by default JAX rounds the inputs of products to
# TensorFloat-32, which has a mantissa of 10 bits.
jax.config.update("jax_default_matmul_precision", "highest")
with suppress_stderr():  # JAX logs which devices it looks for
    try:
        jax.devices("cpu")  # this also finds the other devices
    except (RuntimeError, AssertionError) as problem:
        reason = " ".join(str(problem).split()) or "no device was found"
        advice = "set JAX_PLATFORMS to cpu, or to cuda,cpu for a GPU"
        raise UserError(f"JAX cannot start ({reason}): {advice}") from problem

FRAMEWORK = "JAX"
VERSION = jax.__version__
LAYOUT = "NHWC"

ACTIVATIONS = {"sigmoid": nnx.sigmoid, "tanh": nnx.tanh, "relu": nnx.relu}
POOLINGS = {"avg": nnx.avg_pool, "max": nnx.max_pool}
# `nnx.jit` compiles a step once for all networks and optimizers that hold the same
# functions. It compares functions by identity, so make each of them only once.
XAVIER = nnx.initializers.xavier_uniform()
sgd = cache(optax.sgd)


@cache
def pooling(kind: str, k: int, stride: int) -> Callable[[jax.Array], jax.Array]:
    """A pooling over windows of k x k pixels."""
    window = {"window_shape": (k, k), "strides": (stride, stride)}
    return partial(POOLINGS[kind], **window)


def accelerators() -> list[jax.Device]:
    """The devices of this process other than the CPU."""
    return [device for device in jax.local_devices() if device.platform != "cpu"]


def available_devices() -> list[str]:
    """The devices that JAX sees, GPUs first."""
    return [*(f"gpu:{number}" for number in range(len(accelerators()))), "cpu"]


def framework_device(device: str) -> jax.Device:
    """JAX's object for a device."""
    if device == "cpu":
        return jax.local_devices(backend="cpu")[0]
    return accelerators()[int(device.removeprefix("gpu:"))]


def flatten(x: jax.Array) -> jax.Array:
    """(N, H, W, C) to (N, H * W * C)."""
    return x.reshape(len(x), -1)


class Network(nnx.Sequential):
    """Named layers in sequence.

    `num_channels` is the number of channels before flatten. `canonical_axes` needs it
    to convert the kernel of the next layer.
    """

    def __init__(self, named_layers: Mapping[str, Callable], num_channels: int) -> None:
        super().__init__(*named_layers.values())
        self.names = tuple(named_layers)
        self.num_channels = num_channels


def commit(node: nnx.Module | nnx.Optimizer, to: jax.Device) -> None:
    """Commit the arrays of a network or an optimizer to a device."""
    nnx.update(node, jax.device_put(nnx.state(node), to))


def LeNet(architecture: Architecture, seed: int = 0, device: str = "auto") -> Network:
    """Build and initialize a network."""
    to = framework_device(choose_device(device, available_devices(), FRAMEWORK))
    named_layers: dict[str, Callable] = {}
    with jax.default_device(to):
        # JAX has no global random state: each layer draws its keys from `rngs`.
        rngs = nnx.Rngs(seed)
        # By default biases are zero, and weights are from a truncated normal.
        init = {"kernel_init": XAVIER, "rngs": rngs}
        for name, layer in architecture.named_layers.items():
            # Flax needs the input size of each layer: its channels or features.
            size = architecture.input_shapes[name][0]
            match layer:
                case Conv(channels, k, padding):
                    made = nnx.Conv(size, channels, (k, k), padding=padding, **init)
                case Pool(kind, k, stride):
                    made = pooling(kind, k, stride)
                case Flatten():
                    made = flatten
                    num_channels = size
                case Dense(units):
                    made = nnx.Linear(size, units, **init)
            named_layers[name] = made
            # In Flax an activation is a function, which is called like a layer.
            if isinstance(layer, Conv | Dense) and layer.activation:
                activation = ACTIVATIONS[layer.activation]
                named_layers[f"{name}_{layer.activation}"] = activation
    net = Network(named_layers, num_channels)
    commit(net, to)
    return net


def device_of(net: nnx.Sequential) -> str:
    """The device that holds the network's parameters."""
    (device,) = jax.tree.leaves(nnx.state(net, nnx.Param))[0].devices()
    return "cpu" if device.platform == "cpu" else f"gpu:{accelerators().index(device)}"


def batches(
    data: Split, sampler: BatchSampler | None = None, device: str = "cpu"
) -> DataLoader:
    """Gather batches by index and scale the pixels to [0, 1]."""
    to = framework_device(device)
    images = jax.device_put(data.images.transpose(0, 2, 3, 1), to)
    labels = jax.device_put(data.labels.astype(np.int32), to)

    def load(index: np.ndarray) -> tuple[jax.Array, jax.Array]:
        i = jax.device_put(index.astype(np.int32), to)
        X = jnp.take(images, i, axis=0) / np.float32(data.max_pixel)
        return X, jnp.take(labels, i, axis=0)

    return DataLoader(BatchSampler(len(data)) if sampler is None else sampler, load)


@nnx.jit
def count_correct(net: nnx.Sequential, X: jax.Array, y: jax.Array) -> jax.Array:
    """How many examples of a batch the network classifies correctly."""
    return (net(X).argmax(axis=1) == y).sum()


def evaluate_accuracy(
    net: nnx.Sequential, data_iter: Iterable, device: str | None = None
) -> float:
    """The fraction of the examples that the network classifies correctly."""
    to = framework_device(device or device_of(net))
    num_correct, num_examples = 0, 0
    net.eval()
    for X, y in data_iter:
        num_correct += count_correct(net, *jax.device_put((X, y), to))
        num_examples += len(y)
    return int(num_correct) / num_examples


def loss(
    net: nnx.Sequential, X: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The mean cross-entropy of a batch, and its logits."""
    y_hat = net(X)
    l = optax.softmax_cross_entropy_with_integer_labels(y_hat, y)
    return l.mean(), y_hat


# Compiled as a whole: otherwise JAX would compile each operation on its own.
loss_and_gradients_of = nnx.jit(nnx.value_and_grad(loss, has_aux=True))


# Compiled at the first call for each combination of shapes; later calls reuse it.
@nnx.jit
def train_step(
    net: nnx.Sequential, optimizer: nnx.Optimizer, X: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One step of the optimizer.

    Returns the sum of the losses, and the number of correct predictions.
    """
    (l, y_hat), gradients = nnx.value_and_grad(loss, has_aux=True)(net, X, y)
    optimizer.update(net, gradients)
    return l * len(y), (y_hat.argmax(axis=1) == y).sum()


def train(
    net: nnx.Sequential,
    train_data: Split,
    test_data: Split,
    num_epochs: int = 10,
    lr: float = 0.9,
    batch_size: int = 256,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> Recorder:
    """Train the network in place and report to the recorder."""
    device = device_of(net)
    optimizer = nnx.Optimizer(net, sgd(lr), wrt=nnx.Param)
    # A step returns state that is committed to the device. If the first step received
    # uncommitted state, the second would be compiled again.
    commit(optimizer, framework_device(device))
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_sampler = BatchSampler(len(train_data), batch_size, seed)
    test_sampler = BatchSampler(len(test_data), batch_size)
    train_iter = batches(train_data, train_sampler, device)
    test_iter = batches(test_data, test_sampler, device)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    for epoch in range(recorder.first_epoch, num_epochs):
        loss_sum, num_correct, num_examples = 0.0, 0, 0
        net.train()
        recorder.timer.start()
        for i, (X, y) in enumerate(train_iter.epoch(epoch)):
            batch_loss_sum, batch_num_correct = train_step(net, optimizer, X, y)
            # The sums stay on the device; only a report reads them.
            loss_sum += batch_loss_sum
            num_correct += batch_num_correct
            num_examples += len(y)
            if i in report_at:
                train_loss = float(loss_sum) / num_examples
                train_acc = int(num_correct) / num_examples
                recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
        recorder.timer.stop()
        recorder.end_epoch(net, epoch + 1, evaluate_accuracy(net, test_iter))
        if recorder.stop_training:
            break
    recorder.close(device)
    return recorder


def canonical_axes(
    net: Network,
) -> Iterator[tuple[str, nnx.Conv | nnx.Linear, tuple[int, ...], tuple[int, ...]]]:
    """Each layer with parameters: its name, the layer, the shape and the axis order.

    Reshape the kernel to the shape, then transpose it to the axis order. Flax stores
    convolution kernels as (height, width, in, out) and dense kernels as (in, out). The
    dense layer after flatten takes its inputs in the order (H, W, C).
    """
    before: Callable | None = None
    for name, layer in zip(net.names, net.layers, strict=True):
        if isinstance(layer, nnx.Conv):
            yield name, layer, layer.kernel.shape, (3, 2, 0, 1)
        elif isinstance(layer, nnx.Linear) and before is flatten:
            yield name, layer, (-1, net.num_channels, layer.out_features), (2, 1, 0)
        elif isinstance(layer, nnx.Linear):
            yield name, layer, layer.kernel.shape, (1, 0)
        before = layer


def get_parameters(net: Network) -> dict[str, np.ndarray]:
    """A copy of the parameters in the canonical form."""
    parameters = {}
    for name, layer, shape, axes in canonical_axes(net):
        weight = np.asarray(layer.kernel[...]).reshape(shape).transpose(axes)
        if isinstance(layer, nnx.Linear):
            weight = weight.reshape(layer.out_features, -1)
        parameters[f"{name}.weight"] = np.array(weight, order="C")
        parameters[f"{name}.bias"] = np.array(layer.bias[...])
    return parameters


def set_parameters(net: Network, parameters: Mapping[str, np.ndarray]) -> None:
    """Set the parameters from arrays in the canonical form."""
    to = framework_device(device_of(net))
    for name, layer, shape, axes in canonical_axes(net):
        kernel = parameters[f"{name}.weight"].reshape([shape[i] for i in axes])
        kernel = kernel.transpose(np.argsort(axes)).reshape(layer.kernel.shape)
        # `jnp.array` copies; `jax.device_put` may share the memory of the array.
        layer.kernel[...] = jnp.array(kernel, device=to)
        layer.bias[...] = jnp.array(parameters[f"{name}.bias"], device=to)


def loss_and_gradients(
    net: Network, X: np.ndarray, y: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch and its gradients in the canonical form."""
    X, y = jax.device_put(
        (X.transpose(0, 2, 3, 1), y), framework_device(device_of(net))
    )
    (l, _), gradients = loss_and_gradients_of(net, X, y)
    # A network whose parameters are the gradients.
    return float(l), get_parameters(nnx.merge(nnx.graphdef(net), gradients))


def layer_outputs(net: Network, X: np.ndarray) -> dict[str, np.ndarray]:
    """The output of each layer of the description, after its activation."""
    outputs = {}
    x = jax.device_put(X.transpose(0, 2, 3, 1), framework_device(device_of(net)))
    for name, layer in zip(net.names, net.layers, strict=True):
        x = layer(x)
        # `conv1_sigmoid` overwrites `conv1`: the activation is part of the layer.
        outputs[name.partition("_")[0]] = np.array(x)
    return outputs
