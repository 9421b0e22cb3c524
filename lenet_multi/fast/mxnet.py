"""The fast backend for Gluon on MXNet. `lenet_multi.fast` describes the techniques that all frameworks share.

Each part of a batch has its own thread, compiled network (`mxnet_layers`) and arrays, including the parameters. oneDNN
may change the layout of an array in place while reading it, so two threads must not read the same array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from lenet_multi.fast.batch_parts import NUM_PARTS, THREADS_PER_PART, Threads, split

os.environ.setdefault("OMP_NUM_THREADS", str(THREADS_PER_PART))

from lenet_multi.backends import mxnet as plain
from lenet_multi.backends.mxnet import FRAMEWORK, autograd, batches, device_of, gluon, mx, nn, np, npx
from lenet_multi.data import BatchSampler, Split
from lenet_multi.fast import note_no_fast_loop
from lenet_multi.fast.mxnet_layers import fast_network
from lenet_multi.training.recorder import Recorder


def __getattr__(name: str) -> Any:
    """Take every other name from the plain backend."""
    return getattr(plain, name)


KNOWN = (nn.Conv2D, nn.AvgPool2D, nn.MaxPool2D, nn.Flatten, nn.Dense)


def has_fast_loop(net: nn.HybridBlock) -> bool:
    """Whether the fast loop supports the network: known blocks in sequence on a CPU, all parameters trainable."""
    if type(net) is not nn.HybridSequential or not all(type(block) in KNOWN for block in net):
        return False
    if any(block._forward_hooks or block._forward_pre_hooks for block in (net, *net)):
        return False
    parameters = net.collect_params().values()
    known = all(parameter._data is not None and parameter.grad_req == "write" for parameter in parameters)
    return known and device_of(net) == "cpu"


def evaluate_accuracy(net: nn.HybridBlock, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly."""
    if not has_fast_loop(net) or device not in (None, "cpu"):
        note_no_fast_loop(FRAMEWORK)
        return plain.evaluate_accuracy(net, data_iter, device)
    with Threads(begin=npx.set_np) as threads:
        parts = Parts(net, threads)
        return parts.accuracy(
            [partial(copied, *part) for part in zip(split(X), split(y), strict=True)] for X, y in data_iter
        )


def copied(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the arrays, which share no memory with them."""
    return X.copy(), y.copy()


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
    if not has_fast_loop(net):
        note_no_fast_loop(FRAMEWORK)
        return plain.train(net, train_data, test_data, num_epochs, lr, batch_size, seed, recorder)
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    # Each part gathers its own examples.
    load, load_test = batches(train_data).load, batches(test_data).load
    test_sampler = BatchSampler(len(test_data), batch_size)
    num_batches = len(BatchSampler(len(train_data), batch_size))
    report_at = recorder.report_points(num_batches)
    with Threads(begin=npx.set_np) as threads:
        parts = Parts(net, threads)
        for epoch in range(recorder.first_epoch, num_epochs):
            loss_sum, num_correct, num_examples = 0.0, 0, 0
            recorder.timer.start()
            for i, index in enumerate(BatchSampler(len(train_data), batch_size, seed, [epoch])):
                batch_loss_sum, batch_num_correct = parts.step([partial(load, part) for part in split(index)], lr)
                loss_sum += batch_loss_sum
                num_correct += batch_num_correct
                num_examples += len(index)
                if i in report_at:
                    train_loss, train_acc = loss_sum / num_examples, num_correct / num_examples
                    recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
            recorder.timer.stop()
            test_acc = parts.accuracy([partial(load_test, part) for part in split(index)] for index in test_sampler)
            recorder.end_epoch(net, epoch + 1, test_acc)
            if recorder.stop_training:
                break
    recorder.close(device_of(net))
    return recorder


def forget_compiled(block: nn.HybridBlock) -> None:
    """Drop the compiled parts of a block, which cannot be copied. Gluon compiles them again at the next call."""
    block._clear_cached_op()
    block._scope._old_scope = block._scope._name_scope = None  # left over from compilation


Load = Callable[[], tuple[np.ndarray, np.ndarray]]  # returns the images and labels of a part


class Parts:
    """One network for each part of a batch, all with equal parameters."""

    def __init__(self, net: nn.HybridSequential, threads: Threads) -> None:
        self.threads = threads
        net.apply(forget_compiled)
        self.nets = [net, *(deepcopy(net) for _ in range(NUM_PARTS - 1))]
        self.weights = [[parameter.data() for parameter in own.collect_params().values()] for own in self.nets]
        self.fast_nets: list[nn.HybridSequential] = []
        for weights in self.weights[1:]:
            for weight in weights:
                weight.attach_grad()  # a copy has no gradient

    def accuracy(self, batches: Iterable[list[Load]]) -> float:
        """The fraction of the examples that the network classifies correctly."""

        def part(fast_net: nn.HybridSequential, load: Load) -> tuple[int, int]:
            X, y = load()
            return int((fast_net(X).argmax(axis=1).astype("int32") == y).sum()), len(y)

        num_correct, num_examples = 0, 0
        for loads in batches:
            for part_num_correct, part_num_examples in self._map(part, loads):
                num_correct += part_num_correct
                num_examples += part_num_examples
        return num_correct / num_examples

    def step(self, loads: list[Load], lr: float) -> tuple[float, int]:
        """Take a step of plain SGD on the mean cross-entropy of the batch.

        Args:
            loads: one function per part, which returns its images and labels.
            lr: learning rate.

        Returns:
            The sum of the losses and the number of correct predictions.
        """

        def part(
            fast_net: nn.HybridSequential, load: Load, weights: list[np.ndarray]
        ) -> tuple[list[mx.nd.NDArray], float, int, int]:
            X, y = load()
            with autograd.record():
                y_hat = fast_net(X)
                l = gluon.loss.SoftmaxCrossEntropyLoss()(y_hat, y)
            gradients = autograd.grad(l, weights)
            num_correct = (y_hat.argmax(axis=1).astype("int32") == y).sum()
            return gradients, float(l.sum()), int(num_correct), len(y)

        results = self._map(part, loads, self.weights[: len(loads)])
        gradients, loss_sums, nums_correct, sizes = zip(*results, strict=True)
        self._update(gradients, lr, sum(sizes))
        return sum(loss_sums), sum(nums_correct)

    def _update(self, gradients: Sequence[list[mx.nd.NDArray]], lr: float, batch_size: int) -> None:
        """Update the weights of all networks with the sum of the parts' gradients, divided by the batch size.

        One weight at a time: MXNet's operation for several weights spends as much time on each as on the largest.
        """
        first, *others = self.weights
        for number, weight in enumerate(first):
            old = weight.as_nd_ndarray()
            gradient = mx.nd.add_n(*(part_gradients[number] for part_gradients in gradients))
            mx.nd.sgd_update(old, gradient, out=old, lr=lr, wd=0.0, rescale_grad=1 / batch_size)
            for weights in others:
                weight.copyto(weights[number])

    def _map(self, part: Callable[..., Any], loads: list[Load], *arguments: Sequence[Any]) -> list[Any]:
        if not self.fast_nets:
            self._compile(loads[0])
        return self.threads.map(part, self.fast_nets[: len(loads)], loads, *arguments)

    def _compile(self, load: Load) -> None:
        """Build a network per part for images of this shape. Gluon compiles at the first call, one at a time."""
        X, _ = load()
        self.fast_nets = [fast_network(net, X.shape[2]) for net in self.nets]
        self.threads.in_turn(lambda fast_net: fast_net(np.zeros((1, *X.shape[1:]))).wait_to_read(), self.fast_nets)
