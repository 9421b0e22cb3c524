"""Gluon on MXNet, faster. `lenet_multi.fast` says what is done in every framework.

Each part of a batch goes through a compiled network of its own (`mxnet_layers`), all of them of the same parameters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from lenet_multi.fast.parts import NUM_PARTS, THREADS_PER_PART, Threads, split

os.environ.setdefault("OMP_NUM_THREADS", str(THREADS_PER_PART))

from lenet_multi.backends import mxnet as plain
from lenet_multi.backends.mxnet import (
    FRAMEWORK,
    LAYOUT,
    VERSION,
    LeNet,
    autograd,
    available_devices,
    batches,
    device_of,
    framework_device,
    get_parameters,
    gluon,
    layer_outputs,
    loss_and_gradients,
    mx,
    nn,
    np,
    npx,
    set_parameters,
)
from lenet_multi.data import BatchIndices, Split
from lenet_multi.fast import note_plain
from lenet_multi.fast.mxnet_layers import fast_network
from lenet_multi.recorder import Recorder

__all__ = [
    "FRAMEWORK",
    "LAYOUT",
    "VERSION",
    "LeNet",
    "available_devices",
    "batches",
    "device_of",
    "evaluate_accuracy",
    "framework_device",
    "get_parameters",
    "has_faster",
    "layer_outputs",
    "loss_and_gradients",
    "set_parameters",
    "train",
]


def has_faster(net: nn.HybridBlock) -> bool:
    """Whether the network is trained faster here: a sequence of blocks on a CPU, all of it trained."""
    parameters = net.collect_params().values()
    return type(net) is nn.HybridSequential and all(
        parameter._data is not None and parameter.grad_req == "write" and device_of(net) == "cpu"
        for parameter in parameters
    )


def evaluate_accuracy(net: nn.HybridBlock, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly."""
    if not has_faster(net) or device not in (None, "cpu"):
        note_plain(FRAMEWORK)
        return plain.evaluate_accuracy(net, data_iter, device)
    nets: list[nn.HybridSequential] = []
    num_correct, num_examples = 0, 0

    def part(fast_net: nn.HybridSequential, X: np.ndarray, y: np.ndarray) -> int:
        return int((fast_net(X).argmax(axis=1).astype("int32") == y).sum())

    with Threads(begin=npx.set_np) as threads:
        for X, y in data_iter:
            nets = nets or fast_networks(net, X)
            images = split(X)
            num_correct += sum(threads.map(part, nets[: len(images)], images, split(y)))
            num_examples += len(y)
    return num_correct / num_examples


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
    """Train the network in place, report to the recorder, print the closing lines."""
    if not has_faster(net):
        note_plain(FRAMEWORK)
        return plain.train(net, train_data, test_data, num_epochs, lr, batch_size, seed, recorder)
    device = device_of(net)
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_iter = batches(train_data, BatchIndices(len(train_data), batch_size, seed), device)
    test_iter = batches(test_data, BatchIndices(len(test_data), batch_size), device)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    with Threads(begin=npx.set_np) as threads:
        step = training_step(net, lr, threads)
        for epoch in range(recorder.first_epoch, num_epochs):
            loss_sum, num_correct, num_examples = 0.0, 0, 0
            recorder.timer.start()
            for i, (X, y) in enumerate(train_iter.epoch(epoch)):
                for part_loss_sum, part_num_correct in step(X, y):
                    loss_sum += part_loss_sum
                    num_correct += part_num_correct
                num_examples += len(y)
                if i in report_at:
                    train_loss, train_acc = loss_sum / num_examples, num_correct / num_examples
                    recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
            recorder.timer.stop()
            recorder.end_epoch(epoch + 1, evaluate_accuracy(net, test_iter))
    recorder.close(device)
    return recorder


Sums = list[tuple[float, int]]


def training_step(net: nn.HybridSequential, lr: float, threads: Threads) -> Callable[[np.ndarray, np.ndarray], Sums]:
    """A step of plain SGD on the mean cross-entropy of a batch, as a function of its images and labels.

    The function gives the sum of the losses and the number of correct predictions for each part of the batch.
    """
    weights = [parameter.data() for parameter in net.collect_params().values()]
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    nets: list[nn.HybridSequential] = []

    def part(fast_net: nn.HybridSequential, X: np.ndarray, y: np.ndarray) -> tuple[list[mx.nd.NDArray], float, int]:
        with autograd.record():
            y_hat = fast_net(X)
            l = loss(y_hat, y)
        # In arrays of this part's own, where `backward` would write into the parameters'.
        gradients = autograd.grad(l, weights)
        num_correct = (y_hat.argmax(axis=1).astype("int32") == y).sum()
        return gradients, float(l.sum()), int(num_correct)

    def step(X: np.ndarray, y: np.ndarray) -> Sums:
        nonlocal nets
        nets = nets or fast_networks(net, X)
        images = split(X)
        found = threads.map(part, nets[: len(images)], images, split(y))
        update(weights, [gradients for gradients, *_ in found], lr, len(y))
        return [(loss_sum, num_correct) for _, loss_sum, num_correct in found]

    return step


def fast_networks(net: nn.HybridSequential, X: np.ndarray) -> list[nn.HybridSequential]:
    """A network for each part. Gluon compiles at the first call, and does so in one thread alone."""
    nets = [fast_network(net, X.shape[2]) for _ in range(NUM_PARTS)]
    for fast_net in nets:
        fast_net(X[:1])
    return nets


def update(weights: list[np.ndarray], parts: Sequence[list[mx.nd.NDArray]], lr: float, batch_size: int) -> None:
    """Move all weights against the gradients of the batch's sum, to which each part has its share.

    One by one: MXNet's operation for several goes through all of them as often as the largest has numbers.
    """
    for weight, gradients in zip(weights, zip(*parts, strict=True), strict=True):
        old = weight.as_nd_ndarray()
        gradient = mx.nd.add_n(*gradients)
        mx.nd.sgd_update(old, gradient, out=old, lr=lr, wd=0.0, rescale_grad=1 / batch_size)
