"""LeNet-5 in PyTorch: the network, its data, training and evaluation.

    python lenet5_torch.py FOLDER

FOLDER holds the four IDX files of Fashion-MNIST, such as train-images-idx3-ubyte.gz.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn

num_epochs = 10
lr = 0.9
batch_size = 256
seed = 0  # of the initial weights and of the order of the examples
device = "cuda" if torch.cuda.is_available() else "cpu"

torch.manual_seed(seed)
net = nn.Sequential(
    nn.Conv2d(1, 6, kernel_size=5, padding=2),
    nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Conv2d(6, 16, kernel_size=5),
    nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Flatten(),
    nn.Linear(16 * 5 * 5, 120),
    nn.Sigmoid(),
    nn.Linear(120, 84),
    nn.Sigmoid(),
    nn.Linear(84, 10),
)


def init_weights(layer):
    """Set Xavier-uniform weights and zero biases."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


net.apply(init_weights)
net.to(device)


def read_idx(folder, name):
    """The array in an IDX file, which may be compressed. Its header gives the shape."""
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    num_dimensions = content[3]
    shape = np.frombuffer(content, ">u4", num_dimensions, offset=4)
    numbers = np.frombuffer(content, np.uint8, offset=4 + 4 * num_dimensions)
    return numbers.reshape(shape)


def read_data(folder):
    """The training and the test data: images (N, 1, 28, 28) and labels (N,), both uint8."""
    data = []
    for part in ("train", "t10k"):
        images = read_idx(folder, f"{part}-images-idx3-ubyte")
        labels = read_idx(folder, f"{part}-labels-idx1-ubyte")
        data.append((images.reshape(len(labels), 1, 28, 28), labels))
    return data


def load_data(folder):
    """The training and the test data, each as images (N, 1, 28, 28) and labels (N,)."""
    return [
        (torch.tensor(images, device=device), torch.tensor(labels, dtype=torch.int64, device=device))
        for images, labels in read_data(folder)
    ]


def batches(data, order, batch_size=256):
    """Batches (X, y) of the examples in this order, with the pixels scaled to [0, 1]."""
    images, labels = data
    order = torch.from_numpy(order).to(device)
    for start in range(0, len(order), batch_size):
        i = order[start : start + batch_size]
        yield images[i] / 255, labels[i]


def evaluate_accuracy(net, data):
    """The fraction of the examples that the network classifies correctly."""
    num_examples = len(data[1])
    num_correct = 0
    net.eval()
    with torch.no_grad():
        for X, y in batches(data, np.arange(num_examples)):
            num_correct += (net(X).argmax(dim=1) == y).sum()
    return int(num_correct) / num_examples


def train(net, train_data, test_data, num_epochs, lr, batch_size, seed):
    """Train the network with minibatch SGD. Returns the loss of each epoch."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()
    num_examples = len(train_data[1])
    losses = []
    for epoch in range(num_epochs):
        order = np.random.default_rng([seed, epoch]).permutation(num_examples)
        loss_sum, num_correct = 0.0, 0
        net.train()
        for X, y in batches(train_data, order, batch_size):
            optimizer.zero_grad()
            y_hat = net(X)
            l = loss(y_hat, y)
            l.backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum += l * len(y)
                num_correct += (y_hat.argmax(dim=1) == y).sum()
        losses.append(float(loss_sum) / num_examples)
        train_acc = int(num_correct) / num_examples
        test_acc = evaluate_accuracy(net, test_data)
        print(f"epoch {epoch + 1}: loss {losses[-1]:.3f}, train acc {train_acc:.3f}, test acc {test_acc:.3f}")
    return losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the four IDX files")
    parser.add_argument("--epochs", type=int, default=num_epochs, help="0 only evaluates")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"{args.folder} is not a folder")
    train_data, test_data = load_data(args.folder)
    print(f"test acc {evaluate_accuracy(net, test_data):.3f} before training")
    train(net, train_data, test_data, args.epochs, lr, batch_size, seed)
