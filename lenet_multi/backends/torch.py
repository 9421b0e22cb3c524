"""LeNet in PyTorch. The words mean what `lenet_multi.backends.interface` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.backends.devices import choose_device
from lenet_multi.backends.fast.cuda_graph import as_graph
from lenet_multi.backends.fast.torch import SGD, faster, faster_step
from lenet_multi.data import Batches, BatchIndices, Split
from lenet_multi.recorder import Recorder

# float32 on a GPU too: by itself cuDNN rounds a convolution's inputs to 10 bits.
torch.backends.cudnn.allow_tf32 = False

FRAMEWORK = "PyTorch"
VERSION = torch.__version__
LAYOUT = "NCHW"

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def available_devices() -> list[str]:
    """The devices that PyTorch sees, GPUs first."""
    return [f"gpu:{number}" for number in range(torch.accelerator.device_count())] + ["cpu"]


def framework_device(device: str) -> torch.device:
    """PyTorch's own name for a device."""
    accelerator = torch.accelerator.current_accelerator()
    if device == "cpu" or accelerator is None:
        return torch.device("cpu")
    return torch.device(accelerator.type, int(device.removeprefix("gpu:")))


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def LeNet(architecture: Architecture, seed: int = 0, device: str = "auto") -> nn.Sequential:
    """Build and initialise a network."""
    device = choose_device(device, available_devices(), FRAMEWORK)
    torch.manual_seed(seed)
    net = nn.Sequential()
    for name, layer in architecture.named_layers.items():
        # PyTorch is told the sizes of a layer's input.
        in_features = architecture.input_shapes[name][0]
        match layer:
            case Conv(channels, kernel_size, padding):
                net.add_module(name, nn.Conv2d(in_features, channels, kernel_size=kernel_size, padding=padding))
            case Pool(kind, kernel_size, stride):
                net.add_module(name, POOLINGS[kind](kernel_size=kernel_size, stride=stride))
            case Flatten():
                net.add_module(name, nn.Flatten())
            case Dense(units):
                net.add_module(name, nn.Linear(in_features, units))
        # An activation is a layer of its own.
        if isinstance(layer, Conv | Dense) and layer.activation:
            net.add_module(f"{name}_{layer.activation}", ACTIVATIONS[layer.activation]())
    net.apply(init_weights)
    if device == "cpu":
        # The shapes stay (N, C, H, W); in memory the channels come last, which convolutions there are faster with.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.to(framework_device(device))


def device_of(net: nn.Module) -> str:
    """The device that the network's parameters are on."""
    device = next(net.parameters()).device
    return "cpu" if device.type == "cpu" else f"gpu:{device.index}"


def batches(data: Split, indices: BatchIndices | None = None, device: str = "cpu") -> Batches:
    """Gather batches by index and scale them to [0, 1]."""
    to = framework_device(device)
    images, labels = torch.from_numpy(data.images).to(to), torch.from_numpy(data.labels).long().to(to)

    def load(index: np.ndarray) -> tuple[Tensor, Tensor]:
        i = torch.from_numpy(index).to(to, non_blocking=True)  # the host need not wait for a GPU
        return images.index_select(0, i) / 255, labels.index_select(0, i)

    return Batches(BatchIndices(len(data)) if indices is None else indices, load)


def evaluate_accuracy(net: nn.Module, data_iter: Iterable, device: str | None = None) -> float:
    """The fraction of the examples that the network classifies correctly."""
    to = framework_device(device or device_of(net))
    forward = faster(net)
    num_correct, num_examples = 0, 0
    net.eval()
    with torch.no_grad():
        for X, y in data_iter:
            # A batch may hold several inputs, for networks that take more than one.
            X = [x.to(to) for x in X] if isinstance(X, list) else X.to(to)
            y = y.to(to)
            num_correct += (forward(X).argmax(dim=1) == y).sum()
            num_examples += len(y)
    return int(num_correct) / num_examples


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
    """Train the network in place, report to the recorder, print the closing lines."""
    device = device_of(net)
    optimizer = SGD(net.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()
    recorder = recorder or Recorder()
    to = framework_device(device)
    # The sums stay on the device; only a report reads them.
    loss_sum, num_correct = torch.zeros((), device=to), torch.zeros((), dtype=torch.long, device=to)

    def train_batch(X: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        y_hat = net(X)
        l = loss(y_hat, y)
        l.backward()
        optimizer.step()
        with torch.no_grad():
            loss_sum.add_(l * len(y))
            num_correct.add_((y_hat.argmax(dim=1) == y).sum())

    # The same step: on a CPU with the backward passes written out, on an NVIDIA GPU as a single launch.
    step = faster_step(net, lr, loss_sum, num_correct) or as_graph(train_batch, to)
    recorder.start(num_epochs, len(train_data))
    load = batches(train_data, device=device).load  # from here on the data is on the device
    test_iter = batches(test_data, BatchIndices(len(test_data), batch_size), device)
    for epoch in range(recorder.first_epoch, num_epochs):
        recorder.timer.start()
        train_iter = Batches(BatchIndices(len(train_data), batch_size, seed, [epoch]), load)
        num_batches = len(train_iter)
        report_at = recorder.report_points(num_batches)
        num_examples = 0
        loss_sum.zero_()
        num_correct.zero_()
        net.train()
        for i, (X, y) in enumerate(train_iter):
            step(X, y)
            num_examples += len(y)
            if i in report_at:
                train_loss, train_acc = float(loss_sum) / num_examples, int(num_correct) / num_examples
                recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
        recorder.timer.stop()
        recorder.end_epoch(epoch + 1, evaluate_accuracy(net, test_iter))
    recorder.close(device)
    return recorder


def get_parameters(net: nn.Module) -> dict[str, np.ndarray]:
    """A copy of the parameters in the canonical form, which is PyTorch's own."""
    return {name: np.array(value.cpu(), np.float32, order="C") for name, value in net.state_dict().items()}


def set_parameters(net: nn.Module, parameters: Mapping[str, np.ndarray]) -> None:
    """Overwrite the parameters with canonical ones."""
    net.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})


def loss_and_gradients(net: nn.Module, X: np.ndarray, y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch and its canonical gradients."""
    device = next(net.parameters()).device
    parameters = dict(net.named_parameters())
    loss = nn.CrossEntropyLoss()
    l = loss(net(torch.from_numpy(X).to(device)), torch.from_numpy(y).to(device))
    gradients = zip(parameters, torch.autograd.grad(l, list(parameters.values())), strict=True)
    return l.item(), {name: np.array(value.cpu(), order="C") for name, value in gradients}


def layer_outputs(net: nn.Sequential, X: np.ndarray) -> dict[str, np.ndarray]:
    """What each layer of the description gives, after its activation."""
    outputs = {}
    with torch.no_grad():
        x = torch.from_numpy(X).to(next(net.parameters()).device)
        for name, module in net.named_children():
            x = module(x)
            # `conv1_sigmoid` overwrites `conv1`: what counts is what the next layer gets.
            outputs[name.partition("_")[0]] = x.cpu().numpy()
    return outputs
