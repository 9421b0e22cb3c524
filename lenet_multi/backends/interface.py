"""What a backend is: a module with these names, the same in each, in this order.

The same words mean the same in every backend:

- **Network.** Built from an `Architecture`; Xavier-uniform weights, zero biases (PyTorch's own default draws biases,
  and the book keeps it; the other two start at zero, so here all three do).
- **Data.** Pixels scaled from [0, 255] to [0, 1] and nothing else. Examples, not batches, are shuffled in each epoch,
  in an order that depends on (seed, epoch) alone: all backends see the same batches.
- **Training.** Cross-entropy on logits, averaged over the batch; minibatch SGD without momentum, so that the weights
  are all the state there is. The short last batch counts by its own size, in the gradient and in the averages.
- **Reports.** Train loss and accuracy are running means over the epoch's examples so far, each taken with the weights
  of its moment, reported five times per epoch, the last time at its end; test accuracy after each epoch.
- **Speed.** Examples per second is the number of training examples over the wall-clock time of the training loops:
  loading and, in the first batch, compiling included; evaluation left out.
- **Parameters.** They travel in one canonical form, `Architecture.parameter_shapes`: convolution kernels (out, in,
  height, width); dense weights (out, in), the first one's input flattened channel-major; float32. A backend whose
  framework has another layout transposes on the way in and out.
- **Devices.** `cpu`, `gpu:0`, `gpu:1`, ...: the framework's own numbering.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.data import BatchIndices, Split
from lenet_multi.recorder import Recorder

Network = Any  # the framework's own: torch.nn.Module, keras.Sequential, gluon.nn.HybridSequential
DataIter = Iterable[Any]  # of (X, y), the framework's own tensors


class Backend(Protocol):
    """A module of this package that speaks for one framework."""

    FRAMEWORK: str
    """The framework's name as it writes it."""
    VERSION: str
    """The framework's version."""
    LAYOUT: Literal["NCHW", "NHWC"]
    """Order of the axes in the framework's own image tensors: N examples, C channels, H height, W width."""

    def available_devices(self) -> list[str]:
        """The devices that the framework sees, GPUs first: `["gpu:0", "cpu"]`."""
        ...

    def framework_device(self, device: str) -> Any:
        """The framework's own name for `cpu`, `gpu:0`, ..."""
        ...

    def LeNet(
        self, architecture: Architecture, seed: int = 0, device: str = "auto"
    ) -> Network:
        """Build and initialise a network.

        Args:
            architecture: the description.
            seed: of the initial weights; each framework draws its own from it.
            device: `auto` (the first GPU, else the CPU), `cpu`, `gpu` or `gpu:1`.

        Raises:
            UserError: when the device is not there; it says what is.
        """
        ...

    def device_of(self, net: Network) -> str:
        """The device that the network's parameters are on: `cpu`, `gpu:0`, ..."""
        ...

    def batches(
        self, data: Split, indices: BatchIndices | None = None, device: str = "cpu"
    ) -> DataIter:
        """Gather batches by index and scale them: X float32 in [0, 1] in the framework's layout, y class indices (n,).

        What is returned can be iterated again and again.

        Args:
            data: images uint8 (N, C, H, W) and labels uint8 (N,).
            indices: which examples make up which batch; in order, 256 at a time, when None.
            device: where X and y are put; Keras's stay on the CPU until they are used.
        """
        ...

    def evaluate_accuracy(
        self, net: Network, data_iter: DataIter, device: str | None = None
    ) -> float:
        """The fraction of the examples in `data_iter` that `net` classifies correctly.

        `device` is where they are moved to: `cpu`, `gpu:0`, ...; that of the network's parameters when None.
        """
        ...

    def train(
        self,
        net: Network,
        train_data: Split,
        test_data: Split,
        num_epochs: int = 10,
        lr: float = 0.9,
        batch_size: int = 256,
        seed: int = 0,
        recorder: Recorder | None = None,
    ) -> Recorder:
        """Train `net` in place, report to `recorder`, print the closing lines, and return the recorder.

        Args:
            net: from `LeNet`; trained on the device that it is on.
            train_data: images uint8 (N, C, H, W), labels uint8 (N,).
            test_data: likewise.
            num_epochs: epochs in all; the recorder says how many of them are done already.
            lr: learning rate.
            batch_size: examples per step.
            seed: of the shuffling.
            recorder: what is told of the progress; a new one, from epoch 0, when None.

        Raises:
            DivergenceError: when the loss is no longer finite.
        """
        ...

    def get_parameters(self, net: Network) -> dict[str, np.ndarray]:
        """A copy of the parameters in the canonical form: name to float32 array."""
        ...

    def set_parameters(
        self, net: Network, parameters: Mapping[str, np.ndarray]
    ) -> None:
        """Overwrite the parameters with canonical ones, checked beforehand (`lenet_multi.weights`)."""
        ...

    def loss_and_gradients(
        self, net: Network, X: np.ndarray, y: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The mean cross-entropy of a batch, and its gradients in the parameters' canonical form.

        `X` is float32 (N, C, H, W), `y` int64 (N,).
        """
        ...

    def layer_outputs(self, net: Network, X: np.ndarray) -> dict[str, np.ndarray]:
        """What each layer of the description gives, after its activation, in the framework's own layout.

        `X` is float32 (N, C, H, W). The keys are the description's layer names.
        """
        ...
