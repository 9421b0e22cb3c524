"""A training step on an NVIDIA GPU as a single launch.

A training step of LeNet consists of some fifty small operations. The GPU finishes each one before Python has launched
the next. A CUDA graph contains all of them and is launched once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose algorithms and allocate memory

Step = Callable[..., None]


def as_graph(step: Step, device: torch.device) -> Step:
    """Return the step as a CUDA graph on an NVIDIA GPU; on other devices return the step itself.

    Args:
        step: takes tensors and writes its results to other tensors in place. Its operations on the host run only while
            it is recorded.
        device: the device of all these tensors.
    """
    return GraphedStep(step, device, torch.cuda) if device.type == "cuda" else step


class GraphedStep:
    """Records a step once per shape of its arguments and then replays the recording.

    The first calls for a shape run the step directly. Every call trains exactly once.
    """

    def __init__(self, step: Step, device: torch.device, cuda: Any) -> None:
        self.step, self.device, self.cuda = step, device, cuda
        self.calls: Counter[tuple[torch.Size, ...]] = Counter()
        self.recordings: dict[tuple[torch.Size, ...], tuple[Any, list[Tensor]]] = {}

    def __call__(self, *arguments: Tensor) -> None:
        with self.cuda.device(self.device):  # a graph records the operations on the current device
            self.call_or_replay(arguments)

    def call_or_replay(self, arguments: tuple[Tensor, ...]) -> None:
        """Run the step directly in the first calls for these shapes, and replay its recording afterwards."""
        shapes = tuple(argument.shape for argument in arguments)
        self.calls[shapes] += 1
        if self.calls[shapes] <= WARM_UP:
            self.call_on_side_stream(arguments)
            return
        if shapes not in self.recordings:
            self.recordings[shapes] = self.record(arguments)
        graph, inputs = self.recordings[shapes]
        for recorded, argument in zip(inputs, arguments, strict=True):
            recorded.copy_(argument)
        graph.replay()

    def call_on_side_stream(self, arguments: tuple[Tensor, ...]) -> None:
        """Call the step on a separate stream, which CUDA graphs require of calls before a recording."""
        stream = self.cuda.Stream()
        stream.wait_stream(self.cuda.current_stream())
        with self.cuda.stream(stream):
            self.step(*arguments)
        self.cuda.current_stream().wait_stream(stream)

    def record(self, arguments: tuple[Tensor, ...]) -> tuple[Any, list[Tensor]]:
        """Record the step without running it. Returns the graph and its input tensors."""
        inputs = [argument.clone() for argument in arguments]
        graph = self.cuda.CUDAGraph()
        with self.cuda.graph(graph):
            self.step(*inputs)
        return graph, inputs
