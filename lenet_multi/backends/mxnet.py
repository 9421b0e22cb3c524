"""LeNet in Gluon on MXNet. `backends.interface` documents the functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.backends.devices import choose_device
from lenet_multi.data import BatchSampler, DataLoader, Split
from lenet_multi.system.machine import available_cores
from lenet_multi.system.stderr import suppress_stderr
from lenet_multi.training.recorder import Recorder

# MXNet 1.9.1, the last release, uses `numpy.bool`, which NumPy 1.24 removed.
if "bool" not in vars(numpy):
    numpy.bool = numpy.bool_
# By default MXNet uses half of the cores. It reads this variable on import.
os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
# MXNet's default engine computes in a second thread. The OpenMP threads of the second
# thread and of Python's compete for the cores. This engine computes in Python's thread.
# Workers need the default engine: this one cannot wait for other processes.
if "DMLC_ROLE" not in os.environ:
    os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")

import mxnet as mx
from mxnet import autograd, gluon, init, np, npx
from mxnet.gluon import nn

npx.set_np()
with suppress_stderr():  # MXNet logs which engine it starts
    npx.waitall()

FRAMEWORK = "MXNet"
VERSION = mx.__version__
LAYOUT = "NCHW"

POOLINGS = {"avg": nn.AvgPool2D, "max": nn.MaxPool2D}


def available_devices() -> list[str]:
    """The devices that MXNet sees, GPUs first."""
    return [*(f"gpu:{number}" for number in range(npx.num_gpus())), "cpu"]


def framework_device(device: str) -> mx.Context:
    """MXNet's object for a device: a context."""
    return npx.cpu() if device == "cpu" else npx.gpu(int(device.removeprefix("gpu:")))


def LeNet(
    architecture: Architecture, seed: int = 0, device: str = "auto"
) -> nn.HybridSequential:
    """Build and initialize a network."""
    ctx = framework_device(choose_device(device, available_devices(), FRAMEWORK))
    mx.random.seed(seed)
    net = nn.HybridSequential()
    for name, layer in architecture.named_layers.items():
        # The prefix names the layer's parameters: `conv1_weight`, `conv1_bias`.
        named = {"prefix": f"{name}_"}
        match layer:
            case Conv(channels, k, padding, act):
                block = nn.Conv2D(channels, k, padding=padding, activation=act, **named)
            case Pool(kind, k, stride):
                block = POOLINGS[kind](pool_size=k, strides=stride, **named)
            case Flatten():
                block = nn.Flatten(**named)
            case Dense(units, act):
                block = nn.Dense(units, activation=act, **named)
        net.add(block)
    # Biases start at zero, whichever initializer is passed here.
    net.initialize(init.Xavier(), ctx=ctx)
    # Gluon infers the input sizes of the layers from the first batch: pass one.
    net(np.zeros((1, *architecture.input_shape), ctx=ctx))
    # Compile the network to a graph that reuses its memory.
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def device_of(net: nn.HybridBlock) -> str:
    """The device that holds the network's parameters."""
    ctx = next(iter(net.collect_params().values())).list_ctx()[0]
    return "cpu" if ctx.device_type == "cpu" else f"gpu:{ctx.device_id}"


def batches(
    data: Split, sampler: BatchSampler | None = None, device: str = "cpu"
) -> DataLoader:
    """Gather batches by index and scale the pixels to [0, 1]."""
    ctx = framework_device(device)

    def load(index: numpy.ndarray) -> tuple[np.ndarray, np.ndarray]:
        X = np.array(data.scaled(index), ctx=ctx)
        y = np.array(data.labels[index], dtype="int32", ctx=ctx)
        return X, y

    return DataLoader(BatchSampler(len(data)) if sampler is None else sampler, load)


def evaluate_accuracy(
    net: nn.HybridBlock, data_iter: Iterable, device: str | None = None
) -> float:
    """The fraction of the examples that the network classifies correctly."""
    ctx = framework_device(device or device_of(net))
    num_correct, num_examples = 0, 0
    for X, y in data_iter:
        X, y = X.as_in_ctx(ctx), y.as_in_ctx(ctx)
        num_correct += (net(X).argmax(axis=1).astype("int32") == y).sum()
        num_examples += len(y)
    return int(num_correct) / num_examples


def train(
    net: nn.HybridBlock,
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
    ctx = framework_device(device)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": lr})
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_sampler = BatchSampler(len(train_data), batch_size, seed)
    test_sampler = BatchSampler(len(test_data), batch_size)
    train_iter = batches(train_data, train_sampler)
    test_iter = batches(test_data, test_sampler)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    for epoch in range(recorder.first_epoch, num_epochs):
        loss_sum, num_correct, num_examples = 0.0, 0, 0
        recorder.timer.start()
        for i, (X, y) in enumerate(train_iter.epoch(epoch)):
            X, y = X.as_in_ctx(ctx), y.as_in_ctx(ctx)
            with autograd.record():
                y_hat = net(X)
                l = loss(y_hat, y)
            l.backward()
            # The loss is one number per example; `step` averages their gradients.
            trainer.step(len(y))
            # The sums stay on the device; only a report reads them.
            loss_sum += l.sum()
            num_correct += (y_hat.argmax(axis=1).astype("int32") == y).sum()
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


def get_parameters(net: nn.HybridBlock) -> dict[str, numpy.ndarray]:
    """A copy of the parameters in the canonical form, which is also MXNet's."""
    parameters = net.collect_params().items()
    return {name.replace("_", "."): p.data().asnumpy() for name, p in parameters}


def set_parameters(
    net: nn.HybridBlock, parameters: Mapping[str, numpy.ndarray]
) -> None:
    """Set the parameters from arrays in the canonical form."""
    for name, p in net.collect_params().items():
        p.set_data(np.array(parameters[name.replace("_", ".")]))


def loss_and_gradients(
    net: nn.HybridBlock, X: numpy.ndarray, y: numpy.ndarray
) -> tuple[float, dict[str, numpy.ndarray]]:
    """The mean cross-entropy of a batch and its gradients in the canonical form."""
    ctx = framework_device(device_of(net))
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    with autograd.record():
        l = loss(net(np.array(X, ctx=ctx)), np.array(y, ctx=ctx)).mean()
    l.backward()
    parameters = net.collect_params().items()
    gradients = {name.replace("_", "."): p.grad().asnumpy() for name, p in parameters}
    return float(l), gradients


def layer_outputs(
    net: nn.HybridSequential, X: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """The output of each layer of the description, after its activation."""
    outputs = {}
    x = np.array(X, ctx=framework_device(device_of(net)))
    for block in net:
        x = block(x)
        outputs[block.name] = x.asnumpy()
    return outputs
