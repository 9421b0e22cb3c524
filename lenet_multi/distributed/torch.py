"""Data-parallel training in PyTorch, with `DistributedDataParallel`.

    torchrun --nproc-per-node 2 -m lenet_multi.train --backend torch

`torchrun` sets `MASTER_ADDR`, `MASTER_PORT`, `WORLD_SIZE` and `RANK`. The workers find
each other at that address. Gloo adds up the gradients of CPUs, and NCCL those of GPUs.
`distributed.interface` documents the functions.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch

# DistributedDataParallel imports it. If it is imported while the workers are connected,
# it keeps the connection after `leave`, and threads that run when Python ends can abort
# the process.
import torch._dynamo
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lenet_multi.backends.torch import (
    batches,
    device_of,
    evaluate_accuracy,
)
from lenet_multi.data import Split
from lenet_multi.distributed.environment import LOCAL, seconds_to_join
from lenet_multi.distributed.shares import ShareSampler, share_of
from lenet_multi.training.recorder import Recorder


def most_waiting() -> timedelta:
    """How long a call waits for other workers: longer than any may take to start."""
    return timedelta(seconds=max(300, seconds_to_join() + 30))


def local_store() -> dict[str, Any]:
    """The store through which the workers meet, if all are on this machine.

    PyTorch's own would listen on all network interfaces.
    """
    if os.environ.get("MASTER_ADDR") != LOCAL or "TORCHELASTIC_RUN_ID" in os.environ:
        return {}
    port = int(os.environ.get("MASTER_PORT", ""))
    rank, num_workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    is_first = rank == 0
    server = socket.create_server((LOCAL, port)).detach() if is_first else None
    store = dist.TCPStore(
        LOCAL,
        port,
        num_workers,
        is_first,
        timeout=most_waiting(),
        wait_for_workers=False,
        master_listen_fd=server,
    )
    return {"store": store, "rank": rank, "world_size": num_workers}


def join() -> tuple[int, int]:
    """Connect to the other workers, and wait for them."""
    engine = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    given = local_store()
    dist.init_process_group(engine, timeout=most_waiting(), **given)
    return dist.get_rank(), dist.get_world_size()


def total(numbers: Sequence[float]) -> list[float]:
    """The sums of numbers over all workers."""
    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def leave(failed: bool = False) -> None:
    """Disconnect from the other workers."""
    if dist.is_initialized():
        gc.collect()  # DistributedDataParallel holds the connection, and itself
        dist.destroy_process_group()


def is_lost_connection(problem: Exception) -> bool:
    """Whether an exception says that another worker is gone."""
    # Gloo's are RuntimeErrors, which name its files.
    of_gloo = isinstance(problem, RuntimeError) and "gloo" in str(problem).lower()
    return of_gloo or isinstance(problem, dist.DistError)


def train(
    net: nn.Module,
    train_data: Split,
    test_data: Split,
    num_epochs: int = 10,
    lr: float = 0.9,
    batch_size: int = 256,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> Recorder:
    """Train the network in place, with the other workers."""
    rank, num_workers = dist.get_rank(), dist.get_world_size()
    device = device_of(net)
    # Adds up the gradients of all workers during the backward pass, and divides them
    # by the number of workers.
    parallel_net = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss(reduction="sum")
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_sampler = ShareSampler(
        len(train_data), batch_size, seed, rank=rank, num_workers=num_workers
    )
    train_iter = batches(train_data, train_sampler, device)
    test_share = share_of(test_data, rank, num_workers)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    for epoch in range(recorder.first_epoch, num_epochs):
        loss_sum, num_correct, num_examples = 0.0, 0.0, 0
        net.train()
        recorder.timer.start()
        for i, (X, y) in enumerate(train_iter.epoch(epoch)):
            optimizer.zero_grad()
            y_hat = parallel_net(X)
            l = loss(y_hat, y) * train_sampler.weight(i)
            # The mean over the batch of all workers, although shares may differ.
            (l * num_workers / train_sampler.batch_len(i)).backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum += l
                is_correct = y_hat.argmax(dim=1) == y
                num_correct += is_correct.sum() * train_sampler.weight(i)
                num_examples += train_sampler.batch_len(i)
            if i in report_at:
                sums = total([float(loss_sum), float(num_correct)])
                train_loss, train_acc = (s / num_examples for s in sums)
                recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
        recorder.timer.stop()
        test_correct = 0.0
        if len(test_share):
            accuracy = evaluate_accuracy(net, batches(test_share, device=device))
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
