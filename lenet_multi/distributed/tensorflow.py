"""Data-parallel training in Keras, with `MultiWorkerMirroredStrategy`.

`TF_CONFIG` lists the addresses of all workers, and says which of them this process is:

    {"cluster": {"worker": ["host:port", "host:port"]},
     "task": {"type": "worker", "index": 0}}

Keras's `fit` fails under this strategy (Keras's issue 20585), so the training step is
written out here. `distributed.interface` documents the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import keras
import numpy as np
import tensorflow as tf

from lenet_multi.backends.tensorflow import batches, device_of, evaluate_accuracy
from lenet_multi.data import DataLoader, Split
from lenet_multi.distributed.shares import ShareSampler, share_of
from lenet_multi.system.stderr import suppress_stderr
from lenet_multi.training.recorder import Recorder


@cache
def strategy() -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy that connects the workers. TensorFlow starts with it."""
    with suppress_stderr():
        return tf.distribute.MultiWorkerMirroredStrategy()


def join() -> tuple[int, int]:
    """Connect to the other workers, and wait for them."""
    resolver = strategy().cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    num_chiefs, num_workers = (len(cluster.get(t, ())) for t in ("chief", "worker"))
    # A cluster may call its first worker the chief.
    rank = resolver.task_id + (0 if resolver.task_type == "chief" else num_chiefs)
    return rank, num_chiefs + num_workers


def total(numbers: Sequence[float]) -> list[float]:
    """The sums of numbers over all workers."""
    own = tf.constant(numbers, tf.float64)
    sums = strategy().reduce(tf.distribute.ReduceOp.SUM, own, axis=None)
    return sums.numpy().tolist()


def leave(failed: bool = False) -> None:
    """Wait for the other workers: when one exits, TensorFlow ends the others."""
    if not failed:
        total([0.0])


def is_lost_connection(problem: Exception) -> bool:
    """Whether an exception says that another worker is gone."""
    return isinstance(
        problem,
        tf.errors.UnavailableError
        | tf.errors.AbortedError
        | tf.errors.CancelledError
        | tf.errors.DeadlineExceededError
        | tf.errors.InternalError,
    )


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
    """Train the network in place, with the other workers."""
    rank, num_workers = join()
    device = device_of(net)
    # A network whose variables the strategy keeps equal on all workers.
    with strategy().scope():
        mirrored_net = keras.models.clone_model(net)
        mirrored_net.set_weights(net.get_weights())
        optimizer = keras.optimizers.SGD(learning_rate=float(lr))
        optimizer.build(mirrored_net.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")

    def step(
        X: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, batch_len: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            y_hat = mirrored_net(X, training=True)
            l = loss(y, y_hat) * weight
            mean = l / batch_len
        gradients = tape.gradient(mean, mirrored_net.trainable_variables)
        # Adds up the gradients of all workers before it applies them.
        optimizer.apply(gradients, mirrored_net.trainable_variables)
        is_correct = tf.argmax(y_hat, axis=1) == y
        return l, weight * tf.cast(tf.math.count_nonzero(is_correct), tf.float32)

    # All workers must trace the step equally often, so its trace is for any size.
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *net.input_shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.float32),
        ]
    )
    def parallel_step(*arguments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy().run(step, args=arguments)

    def load(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        X = train_data.scaled(index).transpose(0, 2, 3, 1)
        return X, train_data.labels[index].astype(np.int64)

    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_sampler = ShareSampler(
        len(train_data), batch_size, seed, rank=rank, num_workers=num_workers
    )
    train_iter = DataLoader(train_sampler, load)
    test_share = share_of(test_data, rank, num_workers)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    for epoch in range(recorder.first_epoch, num_epochs):
        loss_sum, num_correct, num_examples = 0.0, 0.0, 0
        recorder.timer.start()
        for i, (X, y) in enumerate(train_iter.epoch(epoch)):
            weight, batch_len = train_sampler.weight(i), train_sampler.batch_len(i)
            l, correct = parallel_step(X, y, weight, float(batch_len))
            loss_sum += l
            num_correct += correct
            num_examples += batch_len
            if i in report_at:
                sums = total([float(loss_sum), float(num_correct)])
                train_loss, train_acc = (s / num_examples for s in sums)
                recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
        recorder.timer.stop()
        net.set_weights(mirrored_net.get_weights())
        test_correct = 0.0
        if len(test_share):
            accuracy = evaluate_accuracy(net, batches(test_share))
            test_correct = accuracy * len(test_share)
        (test_correct,) = total([test_correct])
        test_acc = round(test_correct) / len(test_data)
        recorder.end_epoch(net, epoch + 1, test_acc)
        (stop,) = total([rank == 0 and recorder.stop_training])
        recorder.stop_training = bool(stop)
        if recorder.stop_training:
            break
    recorder.close(device)
    return recorder
