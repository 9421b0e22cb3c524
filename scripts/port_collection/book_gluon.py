"""The convolutional networks of the book's chapters, as a reader writes them in Gluon; narrow, for small images.

They use `mx.np`, as the book does: build and run them within `frameworks.numpy_arrays`.
"""

from typing import Any

from mxnet import np, npx
from mxnet.gluon import nn


def lenet() -> Any:
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(channels=6, kernel_size=5, padding=2, activation="sigmoid"),
        nn.AvgPool2D(pool_size=2, strides=2),
        nn.Conv2D(channels=16, kernel_size=5, activation="sigmoid"),
        nn.AvgPool2D(pool_size=2, strides=2),
        nn.Dense(120, activation="sigmoid"),
        nn.Dense(84, activation="sigmoid"),
        nn.Dense(10),
    )
    return net


def batch_norm_lenet() -> Any:
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, kernel_size=5),
        nn.BatchNorm(),
        nn.Activation("sigmoid"),
        nn.AvgPool2D(pool_size=2, strides=2),
        nn.Conv2D(16, kernel_size=5),
        nn.BatchNorm(),
        nn.Activation("sigmoid"),
        nn.AvgPool2D(pool_size=2, strides=2),
        nn.Dense(120),
        nn.BatchNorm(),
        nn.Activation("sigmoid"),
        nn.Dense(84),
        nn.BatchNorm(),
        nn.Activation("sigmoid"),
        nn.Dense(10),
    )
    return net


def alexnet() -> Any:
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(24, kernel_size=11, strides=4, padding=1, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Conv2D(64, kernel_size=5, padding=2, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Conv2D(96, kernel_size=3, padding=1, activation="relu"),
        nn.Conv2D(96, kernel_size=3, padding=1, activation="relu"),
        nn.Conv2D(64, kernel_size=3, padding=1, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Dense(128, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(128, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(10),
    )
    return net


def vgg() -> Any:
    net = nn.HybridSequential()
    for num_convs, width in ((1, 8), (1, 16), (2, 32), (2, 48)):
        block = nn.HybridSequential()
        for _ in range(num_convs):
            block.add(nn.Conv2D(width, kernel_size=3, padding=1, activation="relu"))
        block.add(nn.MaxPool2D(pool_size=2, strides=2))
        net.add(block)
    net.add(
        nn.Dense(64, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(64, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(10),
    )
    return net


def nin() -> Any:
    def block(width: int, kernel_size: int, strides: int, padding: int) -> Any:
        made = nn.HybridSequential()
        made.add(
            nn.Conv2D(width, kernel_size, strides, padding, activation="relu"),
            nn.Conv2D(width, kernel_size=1, activation="relu"),
            nn.Conv2D(width, kernel_size=1, activation="relu"),
        )
        return made

    net = nn.HybridSequential()
    net.add(
        block(24, 11, 4, 0),
        nn.MaxPool2D(pool_size=3, strides=2),
        block(48, 5, 1, 2),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Dropout(0.5),
        block(10, 3, 1, 1),
        nn.GlobalAvgPool2D(),
        nn.Flatten(),
    )
    return net


class Inception(nn.HybridBlock):
    """Four branches, joined along the channels."""

    def __init__(self, c1: int, c2: tuple[int, int], c3: tuple[int, int], c4: int):
        super().__init__()
        self.b1_1 = nn.Conv2D(c1, kernel_size=1, activation="relu")
        self.b2_1 = nn.Conv2D(c2[0], kernel_size=1, activation="relu")
        self.b2_2 = nn.Conv2D(c2[1], kernel_size=3, padding=1, activation="relu")
        self.b3_1 = nn.Conv2D(c3[0], kernel_size=1, activation="relu")
        self.b3_2 = nn.Conv2D(c3[1], kernel_size=5, padding=2, activation="relu")
        self.b4_1 = nn.MaxPool2D(pool_size=3, strides=1, padding=1)
        self.b4_2 = nn.Conv2D(c4, kernel_size=1, activation="relu")

    def forward(self, x: Any) -> Any:
        b1 = self.b1_1(x)
        b2 = self.b2_2(self.b2_1(x))
        b3 = self.b3_2(self.b3_1(x))
        b4 = self.b4_2(self.b4_1(x))
        return np.concatenate((b1, b2, b3, b4), axis=1)


def googlenet() -> Any:
    net = nn.Sequential()
    net.add(
        nn.Conv2D(16, kernel_size=7, strides=2, padding=3, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
        nn.Conv2D(16, kernel_size=1, activation="relu"),
        nn.Conv2D(48, kernel_size=3, padding=1, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
        Inception(16, (24, 32), (4, 8), 8),
        Inception(32, (32, 48), (8, 24), 16),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
        Inception(48, (24, 52), (4, 12), 16),
        nn.GlobalAvgPool2D(),
        nn.Dense(10),
    )
    return net


class Residual(nn.Block):
    """Two convolutions with norms, and a shortcut."""

    def __init__(self, num_channels: int, use_1x1conv: bool = False, strides: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2D(num_channels, kernel_size=3, padding=1, strides=strides)
        self.conv2 = nn.Conv2D(num_channels, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2D(num_channels, kernel_size=1, strides=strides) if use_1x1conv else None
        self.bn1 = nn.BatchNorm()
        self.bn2 = nn.BatchNorm()

    def forward(self, X: Any) -> Any:
        Y = npx.relu(self.bn1(self.conv1(X)))
        Y = self.bn2(self.conv2(Y))
        if self.conv3:
            X = self.conv3(X)
        return npx.relu(Y + X)


def resnet18() -> Any:
    net = nn.Sequential()
    net.add(
        nn.Conv2D(8, kernel_size=7, strides=2, padding=3),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
    )
    for stage, width in enumerate((8, 16, 32, 64)):
        net.add(Residual(width, use_1x1conv=True, strides=2) if stage else Residual(width), Residual(width))
    net.add(nn.GlobalAvgPool2D(), nn.Dense(10))
    return net


def conv_block(width: int, kernel_size: int) -> Any:
    made = nn.HybridSequential()
    made.add(nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(width, kernel_size=kernel_size, padding=kernel_size // 2))
    return made


class DenseBlock(nn.Block):
    """Convolutions whose outputs are appended to their inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential()
        for _ in range(3):
            self.net.add(conv_block(8, 3))

    def forward(self, X: Any) -> Any:
        for block in self.net:
            X = np.concatenate((X, block(X)), axis=1)
        return X


def densenet() -> Any:
    net = nn.Sequential()
    net.add(
        nn.Conv2D(16, kernel_size=7, strides=2, padding=3),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
        DenseBlock(),
        conv_block(20, 1),
        nn.AvgPool2D(pool_size=2, strides=2),
        DenseBlock(),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.GlobalAvgPool2D(),
        nn.Dense(10),
    )
    return net
