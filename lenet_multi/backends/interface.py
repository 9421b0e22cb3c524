"""The interface of a backend: a module with these names, in this order.

Every backend follows these definitions:

- **Network.** A network is built from an `Architecture`. Its weights start Xavier-uniform and its biases start at zero.
  By default PyTorch draws the biases at random, and the book keeps that default; the other frameworks start them at
  zero, and so does every backend here.
- **Data.** Pixels are scaled from [0, 255] to [0, 1], with no other preprocessing. Every epoch shuffles all examples, in
  an order that depends only on the seed and the epoch. All backends therefore see the same batches.
- **Training.** The loss is the cross-entropy of the logits, averaged over the batch. The optimizer is minibatch SGD
  without momentum, so the weights are the only state. The last batch of an epoch may be smaller: its loss is averaged
  over its own examples, and the running means weight each batch by its size.
- **Reports.** Train loss and train accuracy are running means over the examples of the epoch so far. They use the
  predictions from the training steps, each made before its step changes the weights. They are reported five times per
  epoch, the last time at its end. Test accuracy is measured after each epoch.
- **Speed.** Examples per second is the number of training examples divided by the wall-clock time of the training
  loops. The time includes loading the batches and compilation, which happens in the first batch and, in JAX, also in a
  shorter last batch; it excludes evaluation.
- **Parameters.** Backends exchange parameters in one canonical form, `Architecture.parameter_shapes`. Convolution
  kernels are (out, in, height, width). Dense weights are (out, in), and the first dense layer expects its input
  flattened channel-major. All are float32. If a framework uses another layout, its backend transposes the arrays when
  it gets and sets them.
- **Devices.** `cpu`, `gpu:0`, `gpu:1`, ..., numbered as in the framework.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.data import BatchSampler, Split
from lenet_multi.training.recorder import Recorder

# The framework's class: torch.nn.Module, keras.Sequential, gluon.nn.HybridSequential, flax.nnx.Sequential.
Network = Any
DataIter = Iterable[Any]  # yields (X, y), tensors of the framework


class Backend(Protocol):
    """A module that implements the interface for one framework."""

    FRAMEWORK: str
    """The framework's name, as its authors spell it."""
    VERSION: str
    """The framework's version."""
    LAYOUT: Literal["NCHW", "NHWC"]
    """Order of the axes in the framework's image tensors: N examples, C channels, H height, W width."""

    def available_devices(self) -> list[str]:
        """The devices that the framework sees, GPUs first: `["gpu:0", "cpu"]`."""
        ...

    def framework_device(self, device: str) -> Any:
        """The framework's name or object for `cpu`, `gpu:0`, ..."""
        ...

    def LeNet(
        self, architecture: Architecture, seed: int = 0, device: str = "auto"
    ) -> Network:
        """Build and initialize a network.

        Args:
            architecture: the network's description.
            seed: seed of the initial weights. The same seed gives different weights in each framework.
            device: `auto` (the first GPU, or the CPU if there is none), `cpu`, `gpu` (the first GPU) or `gpu:N`.

        Raises:
            UserError: if the device is not available; the message lists those that are.
        """
        ...

    def device_of(self, net: Network) -> str:
        """The device that holds the network's parameters: `cpu`, `gpu:0`, ..."""
        ...

    def batches(
        self, data: Split, sampler: BatchSampler | None = None, device: str = "cpu"
    ) -> DataIter:
        """Gather batches by index and scale the pixels to [0, 1].

        Args:
            data: images uint8 (N, C, H, W) and labels uint8 (N,).
            sampler: selects the examples of each batch; if None, all examples in order, in batches of 256.
            device: the device that holds X and y. Keras ignores it: its batches stay on the CPU until they are used.

        Returns:
            Batches (X, y), which can be iterated more than once: X float32 in [0, 1] in the framework's layout, y class
            indices (n,).
        """
        ...

    def evaluate_accuracy(
        self, net: Network, data_iter: DataIter, device: str | None = None
    ) -> float:
        """The fraction of the examples in `data_iter` that `net` classifies correctly.

        Args:
            net: the network.
            data_iter: batches (X, y).
            device: the device to move the batches to, `cpu`, `gpu:0`, ...; if None, that of the network's parameters.
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
            net: a network from `LeNet`, trained on the device that holds its parameters.
            train_data: images uint8 (N, C, H, W), labels uint8 (N,).
            test_data: the same for the test set.
            num_epochs: the total number of epochs, including those that the recorder counts as done.
            lr: learning rate.
            batch_size: examples per step.
            seed: seed of the shuffling.
            recorder: records the training, and may stop it after an epoch; if None, a new one that starts at epoch 0.

        Raises:
            UserError: if no epoch is left to train.
            DivergenceError: if the loss is no longer finite.
        """
        ...

    def get_parameters(self, net: Network) -> dict[str, np.ndarray]:
        """A copy of the parameters in the canonical form: float32 arrays by name."""
        ...

    def set_parameters(
        self, net: Network, parameters: Mapping[str, np.ndarray]
    ) -> None:
        """Set the parameters from arrays in the canonical form.

        The names and shapes are not checked here: `lenet_multi.runs.weights` checks them.
        """
        ...

    def loss_and_gradients(
        self, net: Network, X: np.ndarray, y: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The mean cross-entropy of a batch, and its gradients in the canonical form of the parameters.

        Args:
            net: the network.
            X: float32 (N, C, H, W).
            y: class indices, int64 (N,).
        """
        ...

    def layer_outputs(self, net: Network, X: np.ndarray) -> dict[str, np.ndarray]:
        """The output of each layer of the description, after its activation, in the framework's layout.

        Args:
            net: the network.
            X: float32 (N, C, H, W).

        Returns:
            Arrays by the layer names of the description.
        """
        ...


class FastBackend(Backend, Protocol):
    """A backend with a fast loop for some networks and devices (`lenet_multi.fast`)."""

    def has_fast_loop(self, net: Network) -> bool:
        """Whether `train` runs the fast loop for this network on its device; otherwise it runs the plain loop."""
        ...
