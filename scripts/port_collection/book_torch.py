"""The convolutional networks of the book's chapters, as a reader writes them in PyTorch; narrow, for small images."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


def lenet() -> Any:
    """Images of 28 by 28 with one channel."""
    return nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5, padding=2),
        nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Sigmoid(),
        nn.Linear(120, 84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    )


def batch_norm_lenet() -> Any:
    """LeNet with a norm before each activation."""
    return nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5),
        nn.BatchNorm2d(6),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.BatchNorm2d(16),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 120),
        nn.BatchNorm1d(120),
        nn.Sigmoid(),
        nn.Linear(120, 84),
        nn.BatchNorm1d(84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    )


class AlexNet(nn.Module):
    """Images of 67 by 67 with one channel, a quarter of the published widths; activations in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 11, stride=4, padding=1)
        self.conv2 = nn.Conv2d(24, 64, 5, padding=2)
        self.conv3 = nn.Conv2d(64, 96, 3, padding=1)
        self.conv4 = nn.Conv2d(96, 96, 3, padding=1)
        self.conv5 = nn.Conv2d(96, 64, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.fc1 = nn.Linear(64, 128)
        self.fc2 = nn.Linear(128, 128)
        self.fc3 = nn.Linear(128, 10)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = F.relu(self.conv3(x))
        x = F.relu(self.conv4(x))
        x = self.pool(F.relu(self.conv5(x)))
        x = torch.flatten(x, 1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.fc3(x)


def vgg(channels: int = 1) -> Any:
    """VGG-11's arrangement of convolutions, narrow; images of 32 by 32."""

    def block(num_convs: int, in_channels: int, out_channels: int) -> Any:
        layers: list[Any] = []
        for number in range(num_convs):
            layers += [nn.Conv2d(out_channels if number else in_channels, out_channels, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.MaxPool2d(2, 2))

    return nn.Sequential(
        block(1, channels, 8),
        block(1, 8, 16),
        block(2, 16, 32),
        block(2, 32, 48),
        nn.Flatten(),
        nn.Linear(48 * 2 * 2, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 10),
    )


def nin() -> Any:
    """Network in network, narrow; images of 67 by 67 with one channel."""

    def block(in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 1),
            nn.ReLU(),
        )

    return nn.Sequential(
        block(1, 24, 11, 4, 0),
        nn.MaxPool2d(3, stride=2),
        block(24, 48, 5, 1, 2),
        nn.MaxPool2d(3, stride=2),
        nn.Dropout(0.5),
        block(48, 10, 3, 1, 1),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
    )


class Inception(nn.Module):
    """Four branches, joined along the channels."""

    def __init__(self, in_channels: int, c1: int, c2: tuple[int, int], c3: tuple[int, int], c4: int):
        super().__init__()
        self.b1_1 = nn.Conv2d(in_channels, c1, 1)
        self.b2_1 = nn.Conv2d(in_channels, c2[0], 1)
        self.b2_2 = nn.Conv2d(c2[0], c2[1], 3, padding=1)
        self.b3_1 = nn.Conv2d(in_channels, c3[0], 1)
        self.b3_2 = nn.Conv2d(c3[0], c3[1], 5, padding=2)
        self.b4_1 = nn.MaxPool2d(3, stride=1, padding=1)
        self.b4_2 = nn.Conv2d(in_channels, c4, 1)

    def forward(self, x: Any) -> Any:
        b1 = F.relu(self.b1_1(x))
        b2 = F.relu(self.b2_2(F.relu(self.b2_1(x))))
        b3 = F.relu(self.b3_2(F.relu(self.b3_1(x))))
        b4 = F.relu(self.b4_2(self.b4_1(x)))
        return torch.cat((b1, b2, b3, b4), dim=1)


def googlenet() -> Any:
    """GoogLeNet's stem and three of its blocks, narrow; images of 48 by 48 with one channel."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(16, 16, 1),
        nn.ReLU(),
        nn.Conv2d(16, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        Inception(48, 16, (24, 32), (4, 8), 8),
        Inception(64, 32, (32, 48), (8, 24), 16),
        nn.MaxPool2d(3, stride=2, padding=1),
        Inception(120, 48, (24, 52), (4, 12), 16),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class Residual(nn.Module):
    """Two convolutions with norms, and a shortcut."""

    def __init__(self, in_channels: int, num_channels: int, use_1x1conv: bool = False, strides: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, num_channels, 3, padding=1, stride=strides)
        self.conv2 = nn.Conv2d(num_channels, num_channels, 3, padding=1)
        self.conv3 = nn.Conv2d(in_channels, num_channels, 1, stride=strides) if use_1x1conv else None
        self.bn1 = nn.BatchNorm2d(num_channels)
        self.bn2 = nn.BatchNorm2d(num_channels)

    def forward(self, X: Any) -> Any:
        Y = F.relu(self.bn1(self.conv1(X)))
        Y = self.bn2(self.conv2(Y))
        if self.conv3:
            X = self.conv3(X)
        return F.relu(Y + X)


def resnet18() -> Any:
    """ResNet-18, an eighth of the width; images of 64 by 64 with one channel."""
    layers: list[Any] = [
        nn.Conv2d(1, 8, 7, stride=2, padding=3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    channels = 8
    for stage, width in enumerate((8, 16, 32, 64)):
        first = Residual(channels, width, use_1x1conv=True, strides=2) if stage else Residual(channels, width)
        layers.append(nn.Sequential(first, Residual(width, width)))
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 10))


def conv_block(in_channels: int, out_channels: int, kernel_size: int) -> Any:
    """Norm, activation and convolution, in this order."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv)


class DenseBlock(nn.Module):
    """Convolutions whose outputs are appended to their inputs."""

    def __init__(self, num_convs: int, in_channels: int, growth: int):
        super().__init__()
        self.net = nn.Sequential(*(conv_block(in_channels + growth * i, growth, 3) for i in range(num_convs)))

    def forward(self, X: Any) -> Any:
        for block in self.net:
            X = torch.cat((X, block(X)), dim=1)
        return X


def densenet() -> Any:
    """Two dense blocks with a transition; images of 32 by 32 with one channel."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 7, stride=2, padding=3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        DenseBlock(3, 16, 8),
        conv_block(40, 20, 1),
        nn.AvgPool2d(2, stride=2),
        DenseBlock(3, 20, 8),
        nn.BatchNorm2d(44),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(44, 10),
    )
