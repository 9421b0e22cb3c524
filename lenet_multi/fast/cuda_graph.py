"""A training step on an NVIDIA GPU as one launch.

A step of LeNet is some fifty small operations. A GPU is done with each before the next has been started from Python. A
CUDA graph holds them all, and is started as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose their algorithms and take their memory

Step = Callable[..., None]


def as_graph(step: Step, device: torch.device) -> Step:
    """On an NVIDIA GPU the same step as a CUDA graph; elsewhere the step itself.

    Args:
        step: takes tensors, and gives its results by changing others in place. What it does on the host, such as
            forgetting gradients, is done only while it is recorded.
        device: where all of that happens.
    """
    return GraphedStep(step, device, torch.cuda) if device.type == "cuda" else step


class GraphedStep:
    """Records a step for each shape of its arguments, and from then on repeats the recording.

    The first calls are made as they are: each of them trains, none is made twice.
    """

    def __init__(self, step: Step, device: torch.device, cuda: Any) -> None:
        self.step, self.device, self.cuda = step, device, cuda
        self.calls: Counter[tuple[torch.Size, ...]] = Counter()
        self.recordings: dict[tuple[torch.Size, ...], tuple[Any, list[Tensor]]] = {}

    def __call__(self, *arguments: Tensor) -> None:
        with self.cuda.device(self.device):  # a recording holds what is done on the current device
            self.call_or_replay(arguments)

    def call_or_replay(self, arguments: tuple[Tensor, ...]) -> None:
        """What is done with a batch: for its shape the step itself, or the recording."""
        shapes = tuple(argument.shape for argument in arguments)
        self.calls[shapes] += 1
        if self.calls[shapes] <= WARM_UP:
            self.call_aside(arguments)
            return
        if shapes not in self.recordings:
            self.recordings[shapes] = self.record(arguments)
        graph, inputs = self.recordings[shapes]
        for kept, given in zip(inputs, arguments, strict=True):
            kept.copy_(given)
        graph.replay()

    def call_aside(self, arguments: tuple[Tensor, ...]) -> None:
        """Call the step on a stream of its own, as must be before a recording."""
        stream = self.cuda.Stream()
        stream.wait_stream(self.cuda.current_stream())
        with self.cuda.stream(stream):
            self.step(*arguments)
        self.cuda.current_stream().wait_stream(stream)

    def record(self, arguments: tuple[Tensor, ...]) -> tuple[Any, list[Tensor]]:
        """The step's operations, which are noted and not carried out, and the tensors that they read from."""
        inputs = [argument.clone() for argument in arguments]
        graph = self.cuda.CUDAGraph()
        with self.cuda.graph(graph):
            self.step(*inputs)
        return graph, inputs
