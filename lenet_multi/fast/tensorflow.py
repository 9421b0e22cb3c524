"""The fast backend for Keras on TensorFlow. `lenet_multi.fast` describes the techniques that all frameworks share.

The parts run in TensorFlow's threads: it runs independent operations in parallel, each in one thread. It also processes
all batches up to the next report without returning to Python.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from lenet_multi.fast.batch_parts import NUM_PARTS, THREADS_PER_PART

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(THREADS_PER_PART))
os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(NUM_PARTS))

from lenet_multi.backends import tensorflow as plain
from lenet_multi.backends.tensorflow import device_of, framework_device, keras, tf
from lenet_multi.data import BatchSampler, Split, epoch_order
from lenet_multi.fast.tensorflow_layers import FasterNet
from lenet_multi.training.recorder import Recorder


def __getattr__(name: str) -> Any:
    """Take every other name from the plain backend."""
    return getattr(plain, name)


def has_fast_loop(net: keras.Model) -> bool:
    """Whether the fast loop supports the network: always, because it is faster with any network on any device."""
    return True


def evaluate_accuracy(net: keras.Model, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly."""
    forward = FasterNet(net).infer
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
    """Train the network in place and report to the recorder."""
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    with net.distribute_strategy.scope():  # the strategy that the network was built in
        # Both networks take example indices and gather the images on their device.
        train_net, test_net = (FasterNet(net, data, batch_size) for data in (train_data, test_data))
        optimizer = keras.optimizers.SGD(learning_rate=float(lr))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        train_net.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], jit_compile=False)
        test_net.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
    labels, test_labels = train_data.labels.astype(np.int64), test_data.labels.astype(np.int64)
    num_batches = len(BatchSampler(len(train_data), batch_size))
    report_at = sorted(recorder.report_points(num_batches))
    for epoch in range(recorder.first_epoch, num_epochs):
        recorder.timer.start()
        order = epoch_order(len(train_data), seed, epoch)
        loss_sum, num_correct, num_examples = 0.0, 0.0, 0
        stops = [(i + 1) * batch_size for i in report_at[:-1]]
        for i, index in zip(report_at, np.split(order, stops), strict=True):
            means = train_net.train_on_batch(index, labels[index], return_dict=True)
            loss_sum += means["loss"] * len(index)
            num_correct += means["accuracy"] * len(index)
            num_examples += len(index)
            recorder.add(epoch + (i + 1) / num_batches, loss_sum / num_examples, num_correct / num_examples)
        recorder.timer.stop()
        means = test_net.test_on_batch(np.arange(len(test_data)), test_labels, return_dict=True)
        recorder.end_epoch(net, epoch + 1, round(means["accuracy"] * len(test_data)) / len(test_data))
        if recorder.stop_training:
            break
    recorder.close(device_of(net))
    return recorder
