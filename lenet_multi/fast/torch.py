"""The fast backend for PyTorch. `lenet_multi.fast` describes the techniques that all frameworks share.

On a CPU the backward passes are written out (`torch_layers`): large arrays are overwritten in place, each array has the
fastest layout for its operation, and autograd records nothing. On an NVIDIA GPU a training step is recorded once and
then launched as a whole (`cuda_graph`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lenet_multi.fast.batch_parts import THREADS_PER_PART, Threads, split

os.environ.setdefault("OMP_NUM_THREADS", str(THREADS_PER_PART))

import torch
from torch import Tensor, nn

from lenet_multi.backends import torch as plain
from lenet_multi.backends.torch import FRAMEWORK, batches, device_of, framework_device
from lenet_multi.data import BatchSampler, Split
from lenet_multi.fast import note_no_fast_loop
from lenet_multi.fast.cuda_graph import Step, as_graph
from lenet_multi.fast.torch_layers import Layers, fast_layers
from lenet_multi.training.recorder import Recorder


def __getattr__(name: str) -> Any:
    """Take every other name from the plain backend."""
    return getattr(plain, name)


def has_fast_loop(net: nn.Module) -> bool:
    """Whether the fast loop supports the network: known layers on a CPU; any network on an NVIDIA GPU."""
    parameters = list(net.parameters())
    if not all(parameter.requires_grad for parameter in parameters):
        return False
    return parameters[0].is_cuda or fast_layers(net) is not None


def evaluate_accuracy(net: nn.Module, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly."""
    layers = fast_layers(net)
    if layers is None or (device or device_of(net)) != "cpu":
        note_no_fast_loop(FRAMEWORK, "evaluation")
        return plain.evaluate_accuracy(net, data_iter, device)
    with Threads() as threads:
        return accuracy(net, layers, threads, data_iter)


def accuracy(net: nn.Module, layers: Layers, threads: Threads, data_iter: Iterable) -> float:
    """The fraction of the examples that the network classifies correctly, computed by its fast layers."""
    net.eval()
    num_correct, num_examples = 0, 0
    for X, y in data_iter:
        num_correct += sum(map(int, threads.map(layers.num_correct, split(X), split(y))))
        num_examples += len(y)
    return num_correct / num_examples


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
    """Train the network in place and report to the recorder."""
    if not has_fast_loop(net):
        note_no_fast_loop(FRAMEWORK)
        return plain.train(net, train_data, test_data, num_epochs, lr, batch_size, seed, recorder)
    device = device_of(net)
    to = framework_device(device)
    # Each step adds to these; only a report reads them.
    loss_sum, num_correct = torch.zeros((), device=to), torch.zeros((), dtype=torch.long, device=to)
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_iter = batches(train_data, BatchSampler(len(train_data), batch_size, seed), device)
    test_iter = batches(test_data, BatchSampler(len(test_data), batch_size), device)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    with step_and_evaluation(net, lr, loss_sum, num_correct) as (step, evaluate):
        for epoch in range(recorder.first_epoch, num_epochs):
            loss_sum.zero_()
            num_correct.zero_()
            num_examples = 0
            net.train()
            recorder.timer.start()
            for i, (X, y) in enumerate(train_iter.epoch(epoch)):
                step(X, y)
                num_examples += len(y)
                if i in report_at:
                    train_loss, train_acc = float(loss_sum) / num_examples, int(num_correct) / num_examples
                    recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
            recorder.timer.stop()
            recorder.end_epoch(net, epoch + 1, evaluate(test_iter))
            if recorder.stop_training:
                break
    recorder.close(device)
    return recorder


@contextmanager
def step_and_evaluation(
    net: nn.Module, lr: float, loss_sum: Tensor, num_correct: Tensor
) -> Iterator[tuple[Step, Callable[[Iterable], float]]]:
    """Yield two functions: a step of plain SGD on the mean cross-entropy of a batch, and the accuracy on all batches.

    Args:
        net: the network; the step changes its parameters in place.
        lr: learning rate.
        loss_sum: float32 (); the step adds the sum of the losses over the batch.
        num_correct: int64 (); the step adds the number of correct predictions.
    """
    layers = fast_layers(net)
    if layers is None:
        step = as_graph(step_by_autograd(net, lr, loss_sum, num_correct), loss_sum.device)
        yield step, partial(plain.evaluate_accuracy, net)
        return
    # A module may occur twice in the network. It then has two gradients, and the step applies both.
    parameters: list[Tensor] = [parameter for _, parameter in net.named_parameters(remove_duplicate=False)]
    with Threads() as threads:

        def step_in_parts(X: Tensor, y: Tensor) -> None:
            images = split(X)
            results = threads.map(layers.gradients, images, split(y), [len(y)] * len(images))
            with layers.mode():
                for gradients, part_loss_sum, part_num_correct in results:
                    torch._foreach_add_(parameters, gradients, alpha=-lr)
                    loss_sum.add_(part_loss_sum)
                    num_correct.add_(part_num_correct)

        yield step_in_parts, partial(accuracy, net, layers, threads)


def step_by_autograd(net: nn.Module, lr: float, loss_sum: Tensor, num_correct: Tensor) -> Step:
    """The step of `step_and_evaluation`, with gradients from autograd."""
    parameters: list[Tensor] = list(net.parameters())
    loss = nn.CrossEntropyLoss()

    def step(X: Tensor, y: Tensor) -> None:
        y_hat = net(X)
        l = loss(y_hat, y)
        gradients = torch.autograd.grad(l, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-lr)
            loss_sum.add_(l * len(y))
            num_correct.add_((y_hat.argmax(dim=1) == y).sum())

    return step
