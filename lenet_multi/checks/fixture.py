"""The fixture of the parity checks: network, data, parameters and expected values, the same for all backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lenet_multi.architecture import Architecture
from lenet_multi.checks import float64_reference
from lenet_multi.data import BatchSampler, Dataset, Split
from lenet_multi.errors import UserError

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend, Network

BATCH_SIZE = 256
# The training checks use smaller batches because the float64 reference is slow. They train for two epochs, each with a
# short last batch: a wrong update from the first one shows in the second epoch.
TRAINING_BATCH_SIZE = 64
NUM_EPOCHS = 2
# The chapter's learning rate, and less for activations with larger gradients: a loss that jumps multiplies rounding
# errors.
STABLE_LR = {None: 0.9, "sigmoid": 0.9, "tanh": 0.05, "relu": 0.005}
KINK_MARGIN = 1e-6  # values of about 1 that are closer than this can change their order in float32


@dataclass
class Fixture:
    """Network, data and parameters of the parity checks, and what the float64 reference computes from them.

    Args:
        architecture: the network.
        dataset: images of its input shape; at least one batch in each split.
        device: where the backends compute.
        seed: seed of the parameters and the shuffling.
        given_lr: learning rate of the training checks; by default the chapter's 0.9 for sigmoids, less for others.
        given_parameters: canonical parameters to use instead of random ones, such as those of a trained network.
        training_steps: steps per epoch in the check of a training run.
        resume_steps: steps per epoch in the check of a resumed run.
    """

    architecture: Architecture
    dataset: Dataset
    device: str = "cpu"
    seed: int = 0
    given_lr: float | None = None
    given_parameters: Mapping[str, np.ndarray] | None = None
    training_steps: int = 50
    resume_steps: int = 10

    @cached_property
    def lr(self) -> float:
        if self.given_lr is not None:
            return self.given_lr
        activations = [getattr(layer, "activation", None) for layer in self.architecture.layers]
        return min(STABLE_LR[activation] for activation in activations)

    @cached_property
    def parameters(self) -> float64_reference.Arrays:
        """The given ones; else float32 ones that exercise every part: nonzero biases, varied predictions."""
        if self.given_parameters is not None:
            return dict(self.given_parameters)
        rng = np.random.default_rng([self.seed, 1])
        start = float64_reference.xavier_uniform(self.architecture, self.seed)
        parameters = {
            name: value if name.endswith(".weight") else rng.uniform(-0.5, 0.5, value.shape).astype(np.float32)
            for name, value in start.items()
        }
        # The same mean logit for all classes: otherwise one class would win for every image.
        images = self.dataset.train.subset(BATCH_SIZE).scaled()
        logits = float64_reference.forward(self.architecture, parameters, images)[self.last_layer]
        parameters[f"{self.last_layer}.bias"] -= logits.mean(axis=0).astype(np.float32)
        return parameters

    @property
    def last_layer(self) -> str:
        return list(self.architecture.named_layers)[-1]

    @cached_property
    def batch(self) -> Split:
        """The first examples; with relus or maxima, only those that rounding cannot move across a kink."""
        if not float64_reference.has_kinks(self.architecture):
            return self.dataset.train.subset(BATCH_SIZE)
        candidates = self.dataset.train.subset(4 * BATCH_SIZE)
        images = candidates.scaled()
        kept = np.flatnonzero(~float64_reference.near_a_kink(self.architecture, self.parameters, images, KINK_MARGIN))
        kept = kept[:BATCH_SIZE] if len(kept) else np.arange(1)
        return Split(candidates.images[kept], candidates.labels[kept])

    @cached_property
    def inputs(self) -> np.ndarray:
        """The batch's images scaled as in every backend, float32 (N, C, H, W)."""
        return self.batch.scaled()

    @cached_property
    def labels(self) -> np.ndarray:
        return self.batch.labels.astype(np.int64)

    @cached_property
    def outputs(self) -> float64_reference.Arrays:
        return float64_reference.forward(self.architecture, self.parameters, self.inputs)

    @cached_property
    def loss_and_gradients(self) -> tuple[float, float64_reference.Arrays]:
        return float64_reference.loss_and_gradients(self.architecture, self.parameters, self.inputs, self.labels)

    @cached_property
    def start(self) -> float64_reference.Arrays:
        """The initial parameters of the training checks."""
        return float64_reference.xavier_uniform(self.architecture, self.seed)

    @cached_property
    def training_data(self) -> Split:
        return self.dataset.train.subset(examples_for(self.training_steps))

    @cached_property
    def training(self) -> tuple[list[float], float64_reference.Arrays]:
        return self._train(self.training_data)

    @cached_property
    def resume_data(self) -> Split:
        return self.dataset.train.subset(examples_for(self.resume_steps))

    @cached_property
    def resumed_training(self) -> tuple[list[float], float64_reference.Arrays]:
        return self._train(self.resume_data)

    def _train(self, data: Split) -> tuple[list[float], float64_reference.Arrays]:
        """Two epochs of plain SGD in the reference: the loss of each step, and the final parameters."""
        parameters = self.start
        losses = []
        for i in BatchSampler(len(data), TRAINING_BATCH_SIZE, self.seed, range(NUM_EPOCHS)):
            X, y = data.scaled(i), data.labels[i].astype(np.int64)
            loss, gradients = float64_reference.loss_and_gradients(self.architecture, parameters, X, y)
            parameters = float64_reference.sgd_step(parameters, gradients, self.lr)
            losses.append(loss)
        if not np.isfinite(losses).all():
            raise UserError(f"--lr {self.lr:g} makes the float64 reference diverge: choose a smaller one")
        return losses, parameters

    @cached_property
    def test_logits(self) -> np.ndarray:
        test = self.dataset.test
        # Small chunks reuse the memory of their float64 windows.
        chunks = (test.scaled(i) for i in BatchSampler(len(test), TRAINING_BATCH_SIZE))
        return np.concatenate(
            [float64_reference.forward(self.architecture, self.parameters, X)[self.last_layer] for X in chunks]
        )

    def network(self, backend: Backend, parameters: Mapping[str, np.ndarray] | None = None) -> Network:
        """A backend's network with these parameters; with its own initial ones if None."""
        net = backend.LeNet(self.architecture, self.seed, self.device)
        if parameters is not None:
            backend.set_parameters(net, parameters)
        return net


def examples_for(steps: int) -> int:
    """The number of examples in this many batches, the last of which is short."""
    return steps * TRAINING_BATCH_SIZE - TRAINING_BATCH_SIZE // 2
