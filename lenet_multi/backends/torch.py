"""LeNet in PyTorch. `backends.interface` documents the functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.backends.devices import choose_device
from lenet_multi.data import BatchSampler, DataLoader, Split
from lenet_multi.training.recorder import Recorder

# Compute in full float32 on a GPU: by default cuDNN rounds the inputs of a convolution
# to TensorFloat-32, which has a mantissa of 10 bits.
torch.backends.cudnn.allow_tf32 = False

FRAMEWORK = "PyTorch"
VERSION = torch.__version__
LAYOUT = "NCHW"

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def available_devices() -> list[str]:
    """The devices that PyTorch sees, GPUs first."""
    num_gpus = torch.accelerator.device_count()
    return [*(f"gpu:{number}" for number in range(num_gpus)), "cpu"]


def framework_device(device: str) -> torch.device:
    """PyTorch's object for a device."""
    accelerator = torch.accelerator.current_accelerator()
    if device == "cpu" or accelerator is None:
        return torch.device("cpu")
    return torch.device(accelerator.type, int(device.removeprefix("gpu:")))


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def LeNet(
    architecture: Architecture, seed: int = 0, device: str = "auto"
) -> nn.Sequential:
    """Build and initialize a network."""
    device = choose_device(device, available_devices(), FRAMEWORK)
    torch.manual_seed(seed)
    net = nn.Sequential()
    for name, layer in architecture.named_layers.items():
        # PyTorch needs the input size of each layer: its channels or features.
        size = architecture.input_shapes[name][0]
        match layer:
            case Conv(channels, k, padding):
                module = nn.Conv2d(size, channels, kernel_size=k, padding=padding)
            case Pool(kind, k, stride):
                module = POOLINGS[kind](kernel_size=k, stride=stride)
            case Flatten():
                module = nn.Flatten()
            case Dense(units):
                module = nn.Linear(size, units)
        net.add_module(name, module)
        # In PyTorch an activation is a separate layer.
        if isinstance(layer, Conv | Dense) and layer.activation:
            activation = ACTIVATIONS[layer.activation]()
            net.add_module(f"{name}_{layer.activation}", activation)
    net.apply(init_weights)
    if device == "cpu":
        # Store the channels last in memory: convolutions on a CPU are quicker in this
        # layout. Shapes stay (N, C, H, W).
        net.to(memory_format=torch.channels_last)
    return net.to(framework_device(device))


def device_of(net: nn.Module) -> str:
    """The device that holds the network's parameters."""
    device = next(net.parameters()).device
    return "cpu" if device.type == "cpu" else f"gpu:{device.index}"


def batches(
    data: Split, sampler: BatchSampler | None = None, device: str = "cpu"
) -> DataLoader:
    """Gather batches by index and scale the pixels to [0, 1]."""
    to = framework_device(device)
    images = torch.from_numpy(data.images).to(to)
    labels = torch.from_numpy(data.labels).long().to(to)

    def load(index: np.ndarray) -> tuple[Tensor, Tensor]:
        i = torch.from_numpy(index).to(to)
        return images.index_select(0, i) / data.max_pixel, labels.index_select(0, i)

    return DataLoader(BatchSampler(len(data)) if sampler is None else sampler, load)


def evaluate_accuracy(
    net: nn.Module, data_iter: Iterable, device: str | None = None
) -> float:
    """The fraction of the examples that the network classifies correctly."""
    to = framework_device(device or device_of(net))
    num_correct, num_examples = 0, 0
    net.eval()
    with torch.no_grad():
        for X, y in data_iter:
            # X is a list if the network takes more than one input.
            X = [x.to(to) for x in X] if isinstance(X, list) else X.to(to)
            y = y.to(to)
            num_correct += (net(X).argmax(dim=1) == y).sum()
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
    """Train the network in place and report to the recorder."""
    device = device_of(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()
    recorder = recorder or Recorder()
    recorder.start(num_epochs, len(train_data))
    train_sampler = BatchSampler(len(train_data), batch_size, seed)
    test_sampler = BatchSampler(len(test_data), batch_size)
    train_iter = batches(train_data, train_sampler, device)
    test_iter = batches(test_data, test_sampler, device)
    num_batches = len(train_iter)
    report_at = recorder.report_points(num_batches)
    for epoch in range(recorder.first_epoch, num_epochs):
        loss_sum, num_correct, num_examples = 0.0, 0, 0
        net.train()
        recorder.timer.start()
        for i, (X, y) in enumerate(train_iter.epoch(epoch)):
            optimizer.zero_grad()
            y_hat = net(X)
            l = loss(y_hat, y)
            l.backward()
            optimizer.step()
            # The sums stay on the device; only a report reads them.
            with torch.no_grad():
                loss_sum += l * len(y)
                num_correct += (y_hat.argmax(dim=1) == y).sum()
                num_examples += len(y)
            if i in report_at:
                train_loss = float(loss_sum) / num_examples
                train_acc = int(num_correct) / num_examples
                recorder.add(epoch + (i + 1) / num_batches, train_loss, train_acc)
        recorder.timer.stop()
        recorder.end_epoch(net, epoch + 1, evaluate_accuracy(net, test_iter))
        if recorder.stop_training:
            break
    recorder.close(device)
    return recorder


def get_parameters(net: nn.Module) -> dict[str, np.ndarray]:
    """A copy of the parameters in the canonical form, which is also PyTorch's."""
    state = net.state_dict()
    return {
        name: np.array(p.cpu().numpy(), np.float32, order="C")
        for name, p in state.items()
    }


def set_parameters(net: nn.Module, parameters: Mapping[str, np.ndarray]) -> None:
    """Set the parameters from arrays in the canonical form."""
    state = {name: torch.from_numpy(value) for name, value in parameters.items()}
    net.load_state_dict(state)


def loss_and_gradients(
    net: nn.Module, X: np.ndarray, y: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch and its gradients in the canonical form."""
    to = framework_device(device_of(net))
    loss = nn.CrossEntropyLoss()
    l = loss(net(torch.from_numpy(X).to(to)), torch.from_numpy(y).to(to))
    names, parameters = zip(*net.named_parameters(), strict=True)
    gradients = (
        np.array(g.cpu().numpy(), order="C") for g in torch.autograd.grad(l, parameters)
    )
    return l.item(), dict(zip(names, gradients, strict=True))


def layer_outputs(net: nn.Sequential, X: np.ndarray) -> dict[str, np.ndarray]:
    """The output of each layer of the description, after its activation."""
    outputs = {}
    with torch.no_grad():
        x = torch.from_numpy(X).to(framework_device(device_of(net)))
        for name, module in net.named_children():
            x = module(x)
            # `conv1_sigmoid` overwrites `conv1`: the activation is part of the layer.
            outputs[name.partition("_")[0]] = x.cpu().numpy()
    return outputs
