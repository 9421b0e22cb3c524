"""Measures the parts of a training run of lenet_multi: import, start-up, loading, training and evaluation.

    python scripts/benchmarks/parts.py torch --loop fast
    python scripts/benchmarks/parts.py torch --matmul

The other programs in this folder measure complete runs.
"""

import argparse
import contextlib
import json
import time

import numpy as np

from lenet_multi import PRESETS
from lenet_multi.backends import LOOPS, load_backend
from lenet_multi.data import BatchSampler, load_dataset
from lenet_multi.system.process import seconds_since_process_start
from lenet_multi.training.recorder import Recorder

parser = argparse.ArgumentParser(description="Measure the parts of a training run, and print them as JSON.")
parser.add_argument("backend")
parser.add_argument("--loop", choices=LOOPS, default="plain")
parser.add_argument("--matmul", action="store_true", help="instead, measure the rate of a float32 matrix product")
args = parser.parse_args()
before_import = seconds_since_process_start()
began = time.perf_counter()
backend = load_backend(args.backend, fast=args.loop == "fast")
imported = time.perf_counter()


def seconds(run, times=1):
    """Return the shortest duration of several runs, in seconds."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def matmul_gflops():
    """Return the highest rate of eight float32 products of 2048 x 2048 matrices."""
    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    if args.backend == "torch":
        import torch

        product, a = (lambda: a @ a), torch.from_numpy(a)
    elif args.backend == "tensorflow":
        import tensorflow as tf

        a = tf.constant(a)
        product = tf.function(lambda: tf.concat([half @ a for half in tf.split(a, 2)], axis=0))
        return 2 * 2048**3 / seconds(lambda: product().numpy(), 8) / 1e9
    elif args.backend == "jax":
        import jax

        a = jax.device_put(a)
        product = jax.jit(lambda a: a @ a)
        return 2 * 2048**3 / seconds(lambda: product(a).block_until_ready(), 8) / 1e9
    elif args.backend == "mxnet":
        from mxnet import np as mx_np

        a = mx_np.array(a)
        return 2 * 2048**3 / seconds(lambda: mx_np.dot(a, a).wait_to_read(), 8) / 1e9
    return 2 * 2048**3 / seconds(product, 8) / 1e9


if args.matmul:
    print(json.dumps({"gflops": matmul_gflops()}))
else:
    dataset = load_dataset("fashion-mnist")
    loaded = time.perf_counter()
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    first = next(iter(backend.batches(dataset.train, BatchSampler(len(dataset.train), 256, seed=0))))
    ready = time.perf_counter()
    train_iter = backend.batches(dataset.train, BatchSampler(len(dataset.train), 256, seed=0))
    test_iter = backend.batches(dataset.test, BatchSampler(len(dataset.test), 256))

    def evaluate():
        backend.evaluate_accuracy(net, test_iter)

    def load():
        for _X, _y in train_iter:
            pass

    timers = []
    recorder = Recorder(after_epoch=lambda *_: timers.append(recorder.timer.seconds), show=lambda points: None)
    with contextlib.redirect_stdout(None):
        backend.train(net, dataset.train, dataset.test, num_epochs=2, recorder=recorder)

    print(
        json.dumps(
            {
                "import_seconds": imported - began,
                "ready_seconds": before_import + ready - imported,
                "data_seconds": loaded - imported,
                "examples_per_sec": len(dataset.train) / (timers[1] - timers[0]),
                "evaluation_per_sec": len(dataset.test) / seconds(evaluate, 5),
                "load_ms": seconds(load, 2) / len(BatchSampler(len(dataset.train), 256)) * 1000,
            }
        )
    )
