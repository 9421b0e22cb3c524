"""LeNet-5 in PyTorch the book's way, as a reader of the chapter would write it. `scripts/bench` measures it.

    python scripts/benchmarks/book_torch.py --epochs 1

A dataset of PIL images, a to-tensor transform and a DataLoader with four workers process the examples one by one. Each
step reads its loss and accuracy.
"""

import numpy as np
import torch
from common import arguments, report, timed
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    """The examples as transformed PIL images. The data are stored as tensors, as in torchvision's data sets."""

    def __init__(self, split, transform):
        self.images, self.labels = torch.from_numpy(split.images[:, 0]), torch.from_numpy(split.labels)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.images[i].numpy(), mode="L")), int(self.labels[i])


def to_tensor(image):
    """Convert a PIL image of any mode to a tensor (C, H, W) as torchvision's `ToTensor` does: bytes scale to [0, 1]."""
    dtype = {"I": np.int32, "I;16": np.int16, "F": np.float32}.get(image.mode, np.uint8)
    pixels = torch.from_numpy(np.array(image, dtype, copy=True))
    pixels = pixels.view(image.size[1], image.size[0], len(image.getbands()))
    pixels = pixels.permute((2, 0, 1)).contiguous()
    return pixels.to(torch.get_default_dtype()).div(255) if isinstance(pixels, torch.ByteTensor) else pixels


def accuracy(y_hat, y):
    """Return the number of correct predictions."""
    return float((y_hat.argmax(dim=1).type(y.dtype) == y).type(y.dtype).sum())


def evaluate(net, test_iter):
    net.eval()
    right, seen = 0.0, 0
    with torch.no_grad():
        for X, y in test_iter:
            right += accuracy(net(X), y)
            seen += y.numel()
    return right / seen


def init_weights(module):
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)


def train(net, train_iter, test_iter, num_epochs, lr):
    net.apply(init_weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()
    for _ in range(num_epochs):
        loss_sum, right, seen = 0.0, 0.0, 0
        net.train()
        for X, y in train_iter:
            optimizer.zero_grad()
            y_hat = net(X)
            l = loss(y_hat, y)
            l.backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum += float(l * X.shape[0])
                right += accuracy(y_hat, y)
                seen += X.shape[0]
        test_acc = evaluate(net, test_iter)
    return loss_sum / seen, right / seen, test_acc


def main():
    args, dataset = arguments()
    torch.manual_seed(args.seed)
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
    train_iter = DataLoader(Images(dataset.train, to_tensor), batch_size=256, shuffle=True, num_workers=4)
    test_iter = DataLoader(Images(dataset.test, to_tensor), batch_size=256, shuffle=False, num_workers=4)
    report(args, timed(train, net, train_iter, test_iter, args.epochs, lr=0.9))


if __name__ == "__main__":
    main()
