"""The parity ladder: rung by rung, from shapes to whole training runs, each backend against the referee.

Every rung measures one error for each backend and holds it against a tolerance. Whoever agrees with the referee
agrees with the others, within twice the tolerance.
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_multi import referee
from lenet_multi.architecture import Architecture
from lenet_multi.data import BatchIndices, Dataset, Split
from lenet_multi.errors import UserError
from lenet_multi.layout import canonical_output, channels_first_shape
from lenet_multi.recorder import Point, Recorder
from lenet_multi.weights import load_weights, save_weights

if TYPE_CHECKING:
    from lenet_multi.backends.interface import Backend, Network

BATCH_SIZE = 256
# The runs of rungs 8 and 11, which the referee takes part in, and it is slow: so their batches are smaller. They have
# two epochs, and each of these ends with a short batch: what its update did shows in the second.
TRAINING_BATCH_SIZE = 64
TRAINING_STEPS = 50  # rung 8: steps per epoch
RELAY_STEPS = 10  # rung 11: steps per epoch
# The chapter's rate, and less where an activation passes on larger gradients: training that jumps about multiplies
# rounding errors, and would compare luck.
STEADY_LR = {None: 0.9, "sigmoid": 0.9, "tanh": 0.05, "relu": 0.005}
RELATIVE_TIE = 1e-6  # two logits whose difference is below this, times the largest term of a logit, tie in float32
BEND_MARGIN = 1e-6  # numbers of about 1 that are nearer to each other can change places in float32


@dataclass(frozen=True)
class Measurement:
    """What a rung found for one backend: an error for each part (layer, parameter, step, ...) and how it is judged.

    `seen` holds the numbers that the errors come from, where they say more: losses, counts.
    """

    errors: dict[str, float]
    tolerance: float
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The part with the largest error; of equals the first."""
        return max(self.errors, key=lambda part: _number(self.errors[part]))

    @property
    def error(self) -> float:
        return self.errors[self.worst]

    @property
    def passed(self) -> bool:
        return _number(self.error) <= self.tolerance

    @property
    def first_failing(self) -> str | None:
        """The first part, in the order of the network, whose error is above the tolerance."""
        return next((part for part, error in self.errors.items() if _number(error) > self.tolerance), None)


def _number(error: float) -> float:
    """An error to compare by: what is no number is as wrong as can be."""
    return math.inf if math.isnan(error) else error


@dataclass
class Ground:
    """What the rungs stand on: the network, the data and the parameters, the same for all backends.

    Args:
        architecture: the network.
        dataset: images of its input shape; at least one batch of each split.
        device: where the backends compute.
        seed: of the parameters.
        given_lr: learning rate of the rungs that train; by default the chapter's 0.9 for sigmoids, less for others.
        given_parameters: canonical ones, of a trained network say, instead of made ones.
    """

    architecture: Architecture
    dataset: Dataset
    device: str = "cpu"
    seed: int = 0
    given_lr: float | None = None
    given_parameters: Mapping[str, np.ndarray] | None = None

    @cached_property
    def lr(self) -> float:
        if self.given_lr is not None:
            return self.given_lr
        activations = [getattr(layer, "activation", None) for layer in self.architecture.layers]
        return min(STEADY_LR[activation] for activation in activations)

    @cached_property
    def parameters(self) -> referee.Arrays:
        """Those given; else float32 ones with which every part shows: biases not zero, varied predictions."""
        if self.given_parameters is not None:
            return dict(self.given_parameters)
        rng = np.random.default_rng([self.seed, 1])
        start = referee.xavier_uniform(self.architecture, self.seed)
        parameters = {
            name: value if name.endswith(".weight") else rng.uniform(-0.5, 0.5, value.shape).astype(np.float32)
            for name, value in start.items()
        }
        # Logits whose mean is the same for all classes: else one class would win for every image.
        images = self.dataset.train.subset(BATCH_SIZE).images.astype(np.float32) / 255
        logits = referee.forward(self.architecture, parameters, images)[self.last_layer]
        parameters[f"{self.last_layer}.bias"] -= logits.mean(axis=0).astype(np.float32)
        return parameters

    @property
    def last_layer(self) -> str:
        return list(self.architecture.named_layers)[-1]

    @cached_property
    def batch(self) -> Split:
        """The first examples; with relus or maxima, of those that no rounding can carry over a bend."""
        if not referee.bends(self.architecture):
            return self.dataset.train.subset(BATCH_SIZE)
        candidates = self.dataset.train.subset(4 * BATCH_SIZE)
        images = candidates.images.astype(np.float32) / 255
        kept = np.flatnonzero(~referee.near_a_bend(self.architecture, self.parameters, images, BEND_MARGIN))
        kept = kept[:BATCH_SIZE] if len(kept) else np.arange(1)
        return Split(candidates.images[kept], candidates.labels[kept])

    @cached_property
    def inputs(self) -> np.ndarray:
        """The batch's images as every backend scales them, float32 (N, C, H, W)."""
        return self.batch.images.astype(np.float32) / 255

    @cached_property
    def labels(self) -> np.ndarray:
        return self.batch.labels.astype(np.int64)

    @cached_property
    def outputs(self) -> referee.Arrays:
        return referee.forward(self.architecture, self.parameters, self.inputs)

    @cached_property
    def loss_and_gradients(self) -> tuple[float, referee.Arrays]:
        return referee.loss_and_gradients(self.architecture, self.parameters, self.inputs, self.labels)

    @cached_property
    def start(self) -> referee.Arrays:
        """Where the runs of rungs 8 and 11 start."""
        return referee.xavier_uniform(self.architecture, self.seed)

    @cached_property
    def training_data(self) -> Split:
        return self.dataset.train.subset(examples_for(TRAINING_STEPS))

    @cached_property
    def training(self) -> tuple[list[float], referee.Arrays]:
        return self._train(self.training_data)

    @cached_property
    def relay_data(self) -> Split:
        return self.dataset.train.subset(examples_for(RELAY_STEPS))

    @cached_property
    def relay(self) -> tuple[list[float], referee.Arrays]:
        return self._train(self.relay_data)

    def _train(self, data: Split) -> tuple[list[float], referee.Arrays]:
        """Two epochs of the chapter's training by the referee: the loss of each step, and the final parameters."""
        parameters = self.start
        losses = []
        for i in BatchIndices(len(data), TRAINING_BATCH_SIZE, self.seed, range(2)):
            X, y = data.images[i].astype(np.float32) / 255, data.labels[i].astype(np.int64)
            loss, gradients = referee.loss_and_gradients(self.architecture, parameters, X, y)
            parameters = referee.sgd_step(parameters, gradients, self.lr)
            losses.append(loss)
        if not np.isfinite(losses).all():
            raise UserError(f"--lr {self.lr:g} makes the referee's loss infinite, expected less: take a smaller one")
        return losses, parameters

    @cached_property
    def test_logits(self) -> np.ndarray:
        images = self.dataset.test.images
        # Small chunks, whose float64 windows are soon used again rather than made anew.
        chunks = (images[i].astype(np.float32) / 255 for i in BatchIndices(len(images), TRAINING_BATCH_SIZE))
        return np.concatenate([referee.forward(self.architecture, self.parameters, X)[self.last_layer] for X in chunks])

    def network(self, backend: Backend, parameters: Mapping[str, np.ndarray] | None = None) -> Network:
        """A backend's network with these parameters; with its own initial ones when None."""
        net = backend.LeNet(self.architecture, self.seed, self.device)
        if parameters is not None:
            backend.set_parameters(net, parameters)
        return net


def examples_for(steps: int) -> int:
    """As many examples as make so many batches, the last of them a short one."""
    return steps * TRAINING_BATCH_SIZE - TRAINING_BATCH_SIZE // 2


Backends = Mapping[str, "Backend"]
Rows = dict[str, Measurement]  # backend's name to what was found
Found = tuple[dict[str, float], dict[str, Any]]  # errors, and the numbers that they come from


def output_shapes(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 1. The error of a layer is 1 where its output's shape is not the description's."""
    expected = ground.architecture.output_shapes

    def measure(backend: Backend) -> dict[str, float]:
        outputs = backend.layer_outputs(ground.network(backend), ground.inputs)
        shapes = {name: channels_first_shape(out.shape, backend.LAYOUT)[1:] for name, out in outputs.items()}
        return {name: float(shapes.get(name) != shape) for name, shape in expected.items()}

    return _each(backends, tolerance, measure)


def parameter_shapes(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 2. The error of a parameter is 1 where it is missing, has another shape, or should not be there."""
    expected = ground.architecture.parameter_shapes

    def measure(backend: Backend) -> dict[str, float]:
        found = {name: value.shape for name, value in backend.get_parameters(ground.network(backend)).items()}
        return {name: float(found.get(name) != expected.get(name)) for name in expected | found}

    return _each(backends, tolerance, measure)


def initialisation(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 3. A weight's error is how far its mean and variance lie from a uniform draw's, in standard errors.

    The larger of the two; infinite where a weight exceeds Xavier's bound, and a bias's where it is not zero.
    """

    def deviation(name: str, value: np.ndarray | None) -> float:
        if value is None:
            return math.inf
        if name.endswith(".bias"):
            return math.inf if value.any() else 0.0
        bound = referee.xavier_bound(value.shape)
        if np.abs(value).max() > bound * (1 + 1e-6):
            return math.inf
        # Of a uniform draw between -1 and 1 the mean is 0 and the mean square 1/3; estimated from n values they have
        # the standard errors sqrt(1/3 / n) and, relative to itself, sqrt(0.8 / n).
        draw = value.astype(np.float64) / bound
        mean = abs(draw.mean()) / math.sqrt(1 / 3 / draw.size)
        variance = abs(3 * (draw**2).mean() - 1) / math.sqrt(0.8 / draw.size)
        return float(max(mean, variance))

    def measure(backend: Backend) -> dict[str, float]:
        found = backend.get_parameters(ground.network(backend))
        return {name: deviation(name, found.get(name)) for name in ground.architecture.parameter_shapes}

    return _each(backends, tolerance, measure)


def layer_outputs(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 4. A layer's error is the largest absolute difference in its output."""

    def measure(backend: Backend) -> dict[str, float]:
        net = ground.network(backend, ground.parameters)
        outputs = backend.layer_outputs(net, ground.inputs)
        found = {
            name: canonical_output(ground.architecture, name, output, backend.LAYOUT)
            for name, output in outputs.items()
        }
        return {name: _largest(found.get(name), expected) for name, expected in ground.outputs.items()}

    return _each(backends, tolerance, measure)


def loss(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 5. The relative error of a batch's mean cross-entropy."""
    expected, _ = ground.loss_and_gradients

    def measure(backend: Backend) -> Found:
        found, _ = backend.loss_and_gradients(ground.network(backend, ground.parameters), ground.inputs, ground.labels)
        return {"loss": abs(found - expected) / expected}, {"loss": found, "expected": expected}

    return _each(backends, tolerance, measure)


def gradients(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 6. A parameter's error is the largest difference in its gradient over that gradient's largest value.

    Where that is below a hundredth of the network's largest, it is over the hundredth: a gradient that is the small
    rest of large terms has their rounding errors.
    """
    _, expected = ground.loss_and_gradients
    least = max(float(np.abs(value).max()) for value in expected.values()) / 100

    def measure(backend: Backend) -> dict[str, float]:
        _, found = backend.loss_and_gradients(ground.network(backend, ground.parameters), ground.inputs, ground.labels)
        return {name: _relative(found.get(name), value, least) for name, value in expected.items()}

    return _each(backends, tolerance, measure)


def sgd_step(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 7. A parameter's error after one step of the backend's own loop, relative as on rung 6, to the step.

    Less the rounding of the weight itself, which is float32 and may be much larger than the step.
    """
    gradients = ground.loss_and_gradients[1]
    expected = referee.sgd_step(ground.parameters, gradients, ground.lr)
    least = max(float(np.abs(value).max()) for value in gradients.values()) / 100

    def measure(backend: Backend) -> dict[str, float]:
        net = ground.network(backend, ground.parameters)
        _train(backend, net, ground.batch, ground, epochs=1, batch_size=BATCH_SIZE)
        found = backend.get_parameters(net)
        errors = {}
        for name, value in expected.items():
            rounding = float(np.finfo(np.float32).eps * np.abs(value).max())
            step = ground.lr * max(float(np.abs(gradients[name]).max()), least)
            errors[name] = max(_largest(found.get(name), value) - rounding, 0.0) / (step or 1.0)
        return errors

    return _each(backends, tolerance, measure)


def training(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 8. The absolute error of the loss at each step of the backend's own loop, from the same Xavier start.

    And how far the final parameters are from the referee's, over how far these went.
    """
    losses, final = ground.training

    def measure(backend: Backend) -> Found:
        net = ground.network(backend, ground.start)
        found = _train(backend, net, ground.training_data, ground, epochs=2)
        errors = _by_step(found, losses) | _final(ground, backend.get_parameters(net), final, TRAINING_STEPS)
        return errors, {"losses": found, "expected": losses}

    return _each(backends, tolerance, measure)


def evaluator(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 9. By how much the number of correct predictions on the whole test set differs, beyond what ties explain.

    A tie is an example whose label's logit and the best other one are nearer than rounding in float32 can tell: it may
    count as correct or not.
    """
    labels = ground.dataset.test.labels.astype(np.int64)
    logits = ground.test_logits
    of_label = logits[np.arange(len(labels)), labels]
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    lead = of_label - others.max(axis=1)
    # A logit can be the small rest of large terms, and has their rounding errors.
    bias = ground.parameters[f"{ground.last_layer}.bias"]
    tie = RELATIVE_TIE * max(np.abs(terms).max() for terms in (logits, logits - bias, bias))
    least, most = int((lead > tie).sum()), int((lead > -tie).sum())

    def measure(backend: Backend) -> Found:
        net = ground.network(backend, ground.parameters)
        test_iter = backend.batches(ground.dataset.test, BatchIndices(len(labels), BATCH_SIZE), ground.device)
        found = round(backend.evaluate_accuracy(net, test_iter) * len(labels))
        seen = {"correct": found, "expected, ties wrong": least, "expected, ties right": most}
        return {"correct predictions": float(max(least - found, found - most, 0))}, seen

    return _each(backends, tolerance, measure)


def exchange(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 10. The largest absolute error of the logits with parameters that each backend saved and this one loaded."""
    last = ground.last_layer
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.safetensors" for name in backends}

        def save(name: str) -> None:
            backend = backends[name]
            save_weights(files[name], backend.get_parameters(ground.network(backend, ground.parameters)), {})

        unsaved = _each_safely(backends, save)

        def measure(backend: Backend) -> dict[str, float]:
            errors = {}
            for name, file in files.items():
                if name in unsaved:
                    errors[f"saved by {name}"] = math.inf
                    continue
                loaded, _ = load_weights(file)
                found = backend.layer_outputs(ground.network(backend, loaded), ground.inputs)[last]
                errors[f"saved by {name}"] = _largest(found, ground.outputs[last])
            return errors

        return _each(backends, tolerance, measure)


def relay(ground: Ground, backends: Backends, tolerance: float) -> Rows:
    """Rung 11. As rung 8, for an epoch that goes on after one in each framework: the worst of loss and parameters."""
    losses, final = ground.relay
    after: dict[str, tuple[referee.Arrays, list[Point]]] = {}

    def begin(name: str) -> None:
        backend = backends[name]
        net, recorder = ground.network(backend, ground.start), Recorder(reports_per_epoch=RELAY_STEPS)
        _train(backend, net, ground.relay_data, ground, epochs=1, recorder=recorder)
        after[name] = backend.get_parameters(net), recorder.points

    not_begun = _each_safely(backends, begin)

    def measure(backend: Backend) -> Found:
        errors = {f"after {name}": math.inf for name in not_begun}
        seen = {}
        for name, (parameters, points) in after.items():
            recorder = Recorder(first_epoch=1, points=points, reports_per_epoch=RELAY_STEPS)
            net = ground.network(backend, parameters)
            found = _train(backend, net, ground.relay_data, ground, epochs=2, recorder=recorder)
            seen[f"losses after {name}"] = found
            parts = _by_step(found, losses) | _final(ground, backend.get_parameters(net), final, RELAY_STEPS)
            errors[f"after {name}"] = max(parts.values(), key=_number)
        return errors, seen

    return _each(backends, tolerance, measure)


def _train(
    backend: Backend,
    net: Network,
    data: Split,
    ground: Ground,
    epochs: int,
    recorder: Recorder | None = None,
    batch_size: int = TRAINING_BATCH_SIZE,
) -> list[float]:
    """Train with the backend's own loop, unseen, and give the loss of every step."""
    num_batches = len(BatchIndices(len(data), batch_size))
    recorder = recorder or Recorder(reports_per_epoch=num_batches)
    test_data = ground.dataset.test.subset(BATCH_SIZE)
    with contextlib.redirect_stdout(io.StringIO()):
        backend.train(
            net,
            data,
            test_data,
            num_epochs=epochs,
            lr=ground.lr,
            batch_size=batch_size,
            seed=ground.seed,
            recorder=recorder,
        )
    return list(_step_losses(recorder.points, num_batches, batch_size, len(data)))


def _step_losses(points: list[Point], num_batches: int, batch_size: int, num_examples: int) -> Iterator[float]:
    """The losses whose running means over each epoch the points are."""
    before_sum, before_seen = 0.0, 0
    for number, point in enumerate(points):
        seen = min((number % num_batches + 1) * batch_size, num_examples)
        if number % num_batches == 0:
            before_sum, before_seen = 0.0, 0
        yield (point.train_loss * seen - before_sum) / (seen - before_seen)
        before_sum, before_seen = point.train_loss * seen, seen


def _by_step(found: list[float], expected: list[float]) -> dict[str, float]:
    if len(found) != len(expected):
        return {f"{len(found)} steps instead of {len(expected)}": math.inf}
    pairs = enumerate(zip(found, expected, strict=True), start=1)
    return {f"step {step}": abs(a - b) for step, (a, b) in pairs}


def _final(ground: Ground, found: referee.Arrays, expected: referee.Arrays, steps: int) -> dict[str, float]:
    """How far the parameters ended from the referee's, over how far these went: Euclidean norms over all of them.

    A tenth of that where the network has relus or maxima: where these bend, a rounding error turns a whole gradient. In
    a short run, of so many steps an epoch, such a gradient is a larger part of the way, and it is a fortieth.
    """

    def distance(ours: referee.Arrays) -> float:
        return math.sqrt(sum(float(((ours[name] - value) ** 2).sum()) for name, value in expected.items()))

    same_shapes = {name: value.shape for name, value in found.items()} == ground.architecture.parameter_shapes
    bends = 10 if steps >= TRAINING_STEPS else 40
    way = (distance(ground.start) or 1.0) * (bends if referee.bends(ground.architecture) else 1)
    return {"final weights": distance(found) / way if same_shapes else math.inf}


def _each(backends: Backends, tolerance: float, measure: Callable[[Backend], dict[str, float] | Found]) -> Rows:
    rows = {}
    for name, backend in backends.items():
        found = _safely(measure, backend)
        errors, seen = found if isinstance(found, tuple) else (found, {})
        rows[name] = Measurement(errors, tolerance, seen)
    return rows


def _each_safely(backends: Backends, prepare: Callable[[str], None]) -> list[str]:
    """Prepare each backend by name, and give the names of those that raise an error."""
    failed = []
    for name in backends:
        try:
            prepare(name)
        except Exception:
            failed.append(name)
    return failed


def _safely(measure: Callable[[Backend], dict[str, float] | Found], backend: Backend) -> dict[str, float] | Found:
    """What was measured; a backend that raises an error fails the rung, and the climb goes on."""
    try:
        return measure(backend)
    except Exception as problem:
        return {f"{type(problem).__name__} ({' '.join(str(problem).split())[:200]})": math.inf}


def _largest(found: np.ndarray | None, expected: np.ndarray) -> float:
    """The largest difference; infinite where there is nothing, or something of another shape."""
    return math.inf if found is None or found.shape != expected.shape else float(np.abs(found - expected).max())


def _relative(found: np.ndarray | None, expected: np.ndarray, least: float) -> float:
    """The largest difference over the largest value, or over `least` where that is more."""
    return _largest(found, expected) / (max(float(np.abs(expected).max()), least) or 1.0)


@dataclass(frozen=True)
class Rung:
    """A step of the ladder; `reason` says why the tolerance is what it is."""

    number: int
    title: str
    tolerance: float
    reason: str
    measure: Callable[[Ground, Backends, float], Rows]


RUNGS = (
    Rung(1, "output shapes", 0, "shapes are equal or they are not", output_shapes),
    Rung(2, "parameter names and shapes", 0, "likewise", parameter_shapes),
    Rung(3, "initialisation", 5, "standard errors: by chance, one draw in two million is further off", initialisation),
    Rung(4, "layer outputs", 5e-6, "float32 rounds at 6e-8; a sum of 400 products at some 1e-6", layer_outputs),
    Rung(5, "loss", 2e-6, "the mean of 256 float32 losses, each good to some 1e-7", loss),
    Rung(6, "gradients", 1e-4, "sums over up to 200,704 products in float32, some of which nearly cancel", gradients),
    Rung(7, "weights after one SGD step", 1e-4, "as for the gradients", sgd_step),
    Rung(8, "100 steps: losses, final weights", 5e-4, "two backends are within 1e-3 of each other", training),
    Rung(9, "correct predictions on the test set", 0, "counts are equal, but for ties in the logits", evaluator),
    Rung(10, "logits with exchanged parameters", 5e-6, "as for the layers' outputs", exchange),
    Rung(11, "a relay: losses, final weights", 5e-4, "as for the 100 steps", relay),
)


@dataclass(frozen=True)
class Result:
    """What was found on a rung, by backend."""

    rung: Rung
    rows: Rows = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(measurement.passed for measurement in self.rows.values())


def climb(ground: Ground, backends: Backends, rungs: tuple[Rung, ...] = RUNGS) -> Iterator[Result]:
    """Climb the ladder and give each rung's result as it comes; a rung that fails does not end the climb."""
    for rung in rungs:
        yield Result(rung, rung.measure(ground, backends, rung.tolerance))
