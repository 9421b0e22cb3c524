"""The fast backend for Flax NNX on JAX. `lenet_multi.fast` describes the techniques that all frameworks share.

The batch is not divided into parts: XLA divides each operation among the cores. On a CPU, convolutions are matrix
products (`jax_layers`). On a GPU the network's own layers run, and one call runs all batches up to the next report. A
step is a pure function of the parameters, which is cheaper to call than one that takes a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lenet_multi.backends import jax as plain
from lenet_multi.backends.jax import FRAMEWORK, batches, device_of, framework_device, jax, nnx, optax
from lenet_multi.data import BatchSampler, Split
from lenet_multi.fast import note_no_fast_loop
from lenet_multi.fast.jax_layers import arranged, fast_layers, is_known, logits
from lenet_multi.training.recorder import Recorder

Parameters = Any  # an nnx.State with a network's parameters
Sums = tuple[jax.Array, jax.Array]  # of the losses, and of the correct predictions
Data = tuple[jax.Array, jax.Array, np.float32]  # images uint8 (N, H, W, C), labels int32 (N,), the largest pixel value


def __getattr__(name: str) -> Any:
    """Take every other name from the plain backend."""
    return getattr(plain, name)


def has_fast_loop(net: plain.Network) -> bool:
    """Whether the fast loop supports the network: on a CPU known layers only, on a GPU no state but parameters."""
    if type(net) is not plain.Network or jax.tree.leaves(nnx.state(net, nnx.Not(nnx.Param))):
        return False
    return device_of(net) != "cpu" or all(map(is_known, net.layers))


def evaluate_accuracy(net: plain.Network, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly."""
    device = device or device_of(net)
    if not has_fast_loop(net) or device != device_of(net):
        note_no_fast_loop(FRAMEWORK, "evaluation")
        return plain.evaluate_accuracy(net, data_iter, device)
    return compiled_like(net).accuracy(nnx.state(net), data_iter, framework_device(device))


def train(
    net: plain.Network,
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
    device = device_of(net)
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    compiled, parameters, to = compiled_like(net), nnx.state(net), framework_device(device)
    data = on_device(train_data, to)
    test_iter = batches(test_data, BatchSampler(len(test_data), batch_size), device)
    num_batches = len(BatchSampler(len(train_data), batch_size))
    report_at = sorted(recorder.report_points(num_batches))
    for epoch in range(recorder.first_epoch, num_epochs):
        sums: Sums = jax.device_put((np.float32(0), np.int32(0)), to)  # committed, as those that a step returns
        num_examples, start = 0, 0
        recorder.timer.start()
        indices = list(BatchSampler(len(train_data), batch_size, seed, [epoch]))
        for i in report_at:
            parameters, sums = compiled.steps(parameters, sums, data, indices[start : i + 1], lr)
            num_examples += sum(map(len, indices[start : i + 1]))
            start = i + 1
            loss_sum, num_correct = float(sums[0]), int(sums[1])
            recorder.add(epoch + start / num_batches, loss_sum / num_examples, num_correct / num_examples)
        recorder.timer.stop()
        nnx.update(net, parameters)
        recorder.end_epoch(net, epoch + 1, compiled.accuracy(parameters, test_iter, to))
        if recorder.stop_training:
            break
    recorder.close(device)
    return recorder


class CompiledNetwork:
    """Functions that are compiled once for all networks that differ in their parameters only: see `compiled_like`.

    Args:
        graph: a network without its parameters.
        on_cpu: whether to compute its convolutions as matrix products, instead of with its own layers.
    """

    def __init__(self, graph: nnx.GraphDef, on_cpu: bool) -> None:
        self.graph, self.on_cpu = graph, on_cpu
        self.load, self.step, self.scan = jax.jit(self._load), jax.jit(self._step), jax.jit(self._scan)
        self.num_correct = jax.jit(self._num_correct)

    def accuracy(self, parameters: Parameters, data_iter: Iterable, to: jax.Device) -> float:
        """The fraction of the examples that the network classifies correctly, computed on a device."""
        num_correct, num_examples = 0, 0
        for X, y in data_iter:
            num_correct += self.num_correct(parameters, *jax.device_put((X, y), to))
            num_examples += len(y)
        return int(num_correct) / num_examples

    def steps(
        self, parameters: Parameters, sums: Sums, data: Data, indices: Sequence[np.ndarray], lr: float
    ) -> tuple[Parameters, Sums]:
        """Take a step of plain SGD for each array of example indices, on the mean cross-entropy of these examples.

        Returns:
            The new parameters, and the sums with those of these batches added.
        """
        *full, last = [index.astype(np.int32) for index in indices]
        if self.on_cpu:  # a call costs little here
            for index in full:
                parameters, sums = self.step(parameters, sums, *self.load(parameters, data, index), lr)
        elif full:
            parameters, sums = self.scan(parameters, sums, data, np.stack(full), lr)
        return self.step(parameters, sums, *self.load(parameters, data, last), lr)

    def _arranged(self, parameters: Parameters, X: jax.Array) -> jax.Array:
        """Images (N, H, W, C) as `_logits` takes them."""
        return arranged(fast_layers(nnx.merge(self.graph, parameters).layers), X) if self.on_cpu else X

    def _logits(self, parameters: Parameters, x: jax.Array) -> jax.Array:
        net = nnx.merge(self.graph, parameters)
        return logits(fast_layers(net.layers), x) if self.on_cpu else net(x)

    def _load(self, parameters: Parameters, data: Data, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        images, labels, max_pixel = data
        return self._arranged(parameters, images[index] / max_pixel), labels[index]

    def _step(
        self, parameters: Parameters, sums: Sums, x: jax.Array, y: jax.Array, lr: float
    ) -> tuple[Parameters, Sums]:
        def loss(parameters: Parameters) -> tuple[jax.Array, jax.Array]:
            y_hat = self._logits(parameters, x)
            return optax.softmax_cross_entropy_with_integer_labels(y_hat, y).mean(), y_hat

        (l, y_hat), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
        parameters = jax.tree.map(lambda value, gradient: value - lr * gradient, parameters, gradients)
        loss_sum, num_correct = sums
        return parameters, (loss_sum + l * len(y), num_correct + (y_hat.argmax(axis=1) == y).sum())

    def _scan(
        self, parameters: Parameters, sums: Sums, data: Data, indices: jax.Array, lr: float
    ) -> tuple[Parameters, Sums]:
        def with_batch(state: tuple[Parameters, Sums], index: jax.Array) -> tuple[tuple[Parameters, Sums], None]:
            parameters, sums = state
            return self._step(parameters, sums, *self._load(parameters, data, index), lr), None

        return jax.lax.scan(with_batch, (parameters, sums), indices)[0]

    def _num_correct(self, parameters: Parameters, X: jax.Array, y: jax.Array) -> jax.Array:
        return (self._logits(parameters, self._arranged(parameters, X)).argmax(axis=1) == y).sum()


compiled_network = lru_cache(maxsize=8)(CompiledNetwork)  # equal graphs share an entry


def compiled_like(net: plain.Network) -> CompiledNetwork:
    """The compiled functions for a network's layers, on its device."""
    return compiled_network(nnx.graphdef(net), device_of(net) == "cpu")


def on_device(data: Split, to: jax.Device) -> Data:
    """All examples as `CompiledNetwork.steps` takes them."""
    images, labels = data.images.transpose(0, 2, 3, 1), data.labels.astype(np.int32)
    return *jax.device_put((images, labels), to), np.float32(data.max_pixel)
