"""The convolutional networks of the book's chapters, as a reader writes them in Keras; narrow, for small images."""

from typing import Any

import keras
from keras import layers


def lenet() -> Any:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(filters=6, kernel_size=5, activation="sigmoid", padding="same"),
            layers.AvgPool2D(pool_size=2, strides=2),
            layers.Conv2D(filters=16, kernel_size=5, activation="sigmoid"),
            layers.AvgPool2D(pool_size=2, strides=2),
            layers.Flatten(),
            layers.Dense(120, activation="sigmoid"),
            layers.Dense(84, activation="sigmoid"),
            layers.Dense(10),
        ]
    )


def batch_norm_lenet() -> Any:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(filters=6, kernel_size=5),
            layers.BatchNormalization(),
            layers.Activation("sigmoid"),
            layers.AvgPool2D(pool_size=2, strides=2),
            layers.Conv2D(filters=16, kernel_size=5),
            layers.BatchNormalization(),
            layers.Activation("sigmoid"),
            layers.AvgPool2D(pool_size=2, strides=2),
            layers.Flatten(),
            layers.Dense(120),
            layers.BatchNormalization(),
            layers.Activation("sigmoid"),
            layers.Dense(84),
            layers.BatchNormalization(),
            layers.Activation("sigmoid"),
            layers.Dense(10),
        ]
    )


def alexnet() -> Any:
    return keras.Sequential(
        [
            keras.Input((67, 67, 1)),
            layers.ZeroPadding2D(1),
            layers.Conv2D(24, 11, strides=4, activation="relu"),
            layers.MaxPool2D(pool_size=3, strides=2),
            layers.Conv2D(64, 5, padding="same", activation="relu"),
            layers.MaxPool2D(pool_size=3, strides=2),
            layers.Conv2D(96, 3, padding="same", activation="relu"),
            layers.Conv2D(96, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPool2D(pool_size=3, strides=2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


def vgg(channels: int = 1) -> Any:
    net = keras.Sequential([keras.Input((32, 32, channels))])
    for num_convs, width in ((1, 8), (1, 16), (2, 32), (2, 48)):
        block = keras.Sequential(name=f"block_{width}")
        for _ in range(num_convs):
            block.add(layers.Conv2D(width, kernel_size=3, padding="same", activation="relu"))
        block.add(layers.MaxPool2D(pool_size=2, strides=2))
        net.add(block)
    net.add(layers.Flatten())
    for _ in range(2):
        net.add(layers.Dense(64, activation="relu"))
        net.add(layers.Dropout(0.5))
    net.add(layers.Dense(10))
    return net


def nin() -> Any:
    def block(width: int, kernel_size: int, strides: int, padding: str) -> list[Any]:
        return [
            layers.Conv2D(width, kernel_size, strides=strides, padding=padding),
            layers.Activation("relu"),
            layers.Conv2D(width, 1),
            layers.Activation("relu"),
            layers.Conv2D(width, 1),
            layers.Activation("relu"),
        ]

    return keras.Sequential(
        [
            keras.Input((67, 67, 1)),
            *block(24, 11, 4, "valid"),
            layers.MaxPool2D(pool_size=3, strides=2),
            *block(48, 5, 1, "same"),
            layers.MaxPool2D(pool_size=3, strides=2),
            layers.Dropout(0.5),
            *block(10, 3, 1, "same"),
            layers.GlobalAvgPool2D(),
        ]
    )


class Inception(keras.Model):
    """Four branches, joined along the channels."""

    def __init__(self, c1: int, c2: tuple[int, int], c3: tuple[int, int], c4: int, **options: Any):
        super().__init__(**options)
        self.b1_1 = layers.Conv2D(c1, 1, activation="relu")
        self.b2_1 = layers.Conv2D(c2[0], 1, activation="relu")
        self.b2_2 = layers.Conv2D(c2[1], 3, padding="same", activation="relu")
        self.b3_1 = layers.Conv2D(c3[0], 1, activation="relu")
        self.b3_2 = layers.Conv2D(c3[1], 5, padding="same", activation="relu")
        self.b4_1 = layers.MaxPool2D(3, 1, padding="same")
        self.b4_2 = layers.Conv2D(c4, 1, activation="relu")
        self.join = layers.Concatenate()

    def call(self, x: Any) -> Any:
        b1 = self.b1_1(x)
        b2 = self.b2_2(self.b2_1(x))
        b3 = self.b3_2(self.b3_1(x))
        b4 = self.b4_2(self.b4_1(x))
        return self.join([b1, b2, b3, b4])


def padded_pool() -> list[Any]:
    """PyTorch's `MaxPool2d(3, 2, padding=1)` after a ReLU: Keras's `same` pads an even image on one side only."""
    return [layers.ZeroPadding2D(1), layers.MaxPool2D(pool_size=3, strides=2)]


def googlenet() -> Any:
    return keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(16, 7, strides=2, activation="relu"),
            *padded_pool(),
            layers.Conv2D(16, 1, activation="relu"),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            *padded_pool(),
            Inception(16, (24, 32), (4, 8), 8),
            Inception(32, (32, 48), (8, 24), 16),
            *padded_pool(),
            Inception(48, (24, 52), (4, 12), 16),
            layers.GlobalAvgPool2D(),
            layers.Dense(10),
        ]
    )


class Residual(keras.Model):
    """Two convolutions with norms, and a shortcut."""

    def __init__(self, num_channels: int, use_1x1conv: bool = False, strides: int = 1):
        super().__init__()
        self.pad = layers.ZeroPadding2D(1)
        self.conv1 = layers.Conv2D(num_channels, kernel_size=3, strides=strides)
        self.conv2 = layers.Conv2D(num_channels, kernel_size=3, padding="same")
        self.conv3 = layers.Conv2D(num_channels, kernel_size=1, strides=strides) if use_1x1conv else None
        self.bn1 = layers.BatchNormalization()
        self.bn2 = layers.BatchNormalization()

    def call(self, X: Any) -> Any:
        Y = keras.activations.relu(self.bn1(self.conv1(self.pad(X))))
        Y = self.bn2(self.conv2(Y))
        if self.conv3 is not None:
            X = self.conv3(X)
        return keras.activations.relu(Y + X)


def resnet18() -> Any:
    net = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(8, kernel_size=7, strides=2),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            *padded_pool(),
        ]
    )
    for stage, width in enumerate((8, 16, 32, 64)):
        net.add(Residual(width, use_1x1conv=True, strides=2) if stage else Residual(width))
        net.add(Residual(width))
    net.add(layers.GlobalAvgPool2D())
    net.add(layers.Dense(10))
    return net


def densenet() -> Any:
    def conv_block(x: Any, width: int, kernel_size: int) -> Any:
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        return layers.Conv2D(width, kernel_size, padding="same")(x)

    def dense_block(x: Any) -> Any:
        for _ in range(3):
            x = layers.Concatenate()([x, conv_block(x, 8, 3)])
        return x

    inputs = keras.Input((32, 32, 1))
    x = layers.Conv2D(16, 7, strides=2)(layers.ZeroPadding2D(3)(inputs))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for layer in padded_pool():
        x = layer(x)
    x = conv_block(dense_block(x), 20, 1)
    x = dense_block(layers.AvgPool2D(pool_size=2, strides=2)(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAvgPool2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))
