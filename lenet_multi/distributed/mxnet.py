"""Data-parallel training in Gluon, with a key-value store.

    DMLC_ROLE=worker python -m lenet_multi.train --backend mxnet    # each worker
    DMLC_ROLE=server python -m lenet_multi.train --backend mxnet    # adds up gradients
    DMLC_ROLE=scheduler python -m lenet_multi.train --backend mxnet # introduces them

All need `DMLC_PS_ROOT_URI` and `DMLC_PS_ROOT_PORT`, the scheduler's address,
`DMLC_NUM_WORKER` and `DMLC_NUM_SERVER`, and `DMLC_NODE_HOST`, their own address. MXNet
runs a scheduler or a server when it is imported. `distributed.interface` documents the
functions.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import cache

import numpy
from mxnet import autograd, gluon, kv, np
from mxnet.base import _LIB, MXNetError, check_call
from mxnet.gluon import nn

from lenet_multi.backends.mxnet import (
    batches,
    device_of,
    evaluate_accuracy,
    framework_device,
)
from lenet_multi.data import Split
from lenet_multi.distributed.shares import ShareSampler, share_of
from lenet_multi.training.recorder import Recorder


@cache
def key_value_store() -> kv.KVStore:
    """The store that adds up what the workers send."""
    return kv.create("dist_sync")


@cache
def new_key(name: str, size: int) -> str:
    """A key of the store for arrays of one size. The store takes each key once."""
    key_value_store().init(name, np.zeros(size))
    return name


def add_up(name: str, array: np.ndarray) -> None:
    """Replace an array by its sum over all workers, which all use the same name."""
    key = new_key(name, array.size)
    sums = array.reshape(-1)
    key_value_store().pushpull(key, sums)
    array[:] = sums.reshape(array.shape)


def join() -> tuple[int, int]:
    """Connect to the other workers, and wait for them."""
    return key_value_store().rank, key_value_store().num_workers


def total(numbers: Sequence[float]) -> list[float]:
    """The sums of numbers over all workers."""
    # The store holds float32: send each number in two parts.
    exact = numpy.array(numbers, numpy.float64)
    high = exact.astype(numpy.float32)
    low = numpy.where(numpy.isfinite(exact), exact - high, 0).astype(numpy.float32)
    sums = np.array(numpy.concatenate([high, low]))
    add_up(f"total of {len(numbers)}", sums)
    high, low = sums.asnumpy().astype(numpy.float64).reshape(2, -1)
    return (high + low).tolist()


def leave(failed: bool = False) -> None:
    """Disconnect from the other workers, which ends the scheduler and the servers."""
    if failed:
        store = key_value_store().handle
        check_call(_LIB.MXKVStoreSetBarrierBeforeExit(store, 0))
    new_key.cache_clear()
    key_value_store.cache_clear()
    gc.collect()  # the store disconnects when nothing refers to it


def is_lost_connection(problem: Exception) -> bool:
    """Whether an exception says that another worker is gone."""
    return isinstance(problem, MXNetError) and "ps-lite" in str(problem)


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
    """Train the network in place, with the other workers."""
    rank, num_workers = join()
    device = device_of(net)
    ctx = framework_device(device)
    # The trainer of each worker applies the same update. A server could do it too, but
    # would always divide by the size of the first batch.
    optimizer = {"learning_rate": lr}
    trainer = gluon.Trainer(net.collect_params(), "sgd", optimizer, kvstore=None)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_sampler = ShareSampler(
        len(train_data), batch_size, seed, rank=rank, num_workers=num_workers
    )
    train_iter = batches(train_data, train_sampler)
    test_share = share_of(test_data, rank, num_workers)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    for epoch in range(recorder.first_epoch, num_epochs):
        loss_sum, num_correct, num_examples = 0.0, 0.0, 0
        recorder.timer.start()
        for i, (X, y) in enumerate(train_iter.epoch(epoch)):
            X, y = X.as_in_ctx(ctx), y.as_in_ctx(ctx)
            with autograd.record():
                y_hat = net(X)
                l = loss(y_hat, y) * train_sampler.weight(i)
            l.backward()
            for name, p in net.collect_params().items():
                add_up(name, p.grad())
            # Divide by the number of examples in the batch of all workers.
            trainer.step(train_sampler.batch_len(i))
            loss_sum += l.sum()
            is_correct = y_hat.argmax(axis=1).astype("int32") == y
            num_correct += is_correct.sum() * train_sampler.weight(i)
            num_examples += train_sampler.batch_len(i)
            if i in report_at:
                sums = total([float(loss_sum), float(num_correct)])
                train_loss, train_acc = (s / num_examples for s in sums)
                recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
        recorder.timer.stop()
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
