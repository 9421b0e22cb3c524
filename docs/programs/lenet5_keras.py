"""LeNet-5 in Keras: the network, its data, training and evaluation.

    python lenet5_keras.py FOLDER

FOLDER holds the four IDX files of Fashion-MNIST, such as train-images-idx3-ubyte.gz.
"""

import argparse
import gzip
import itertools
from pathlib import Path

import keras
import numpy as np
from keras import layers

num_epochs = 10
lr = 0.9
batch_size = 256
seed = 0  # of the initial weights and of the order of the examples

keras.utils.set_random_seed(seed)
# Conv2D and Dense default to Xavier-uniform weights (kernel_initializer="glorot_uniform")
# and zero biases (bias_initializer="zeros").
net = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(6, kernel_size=5, padding="same", activation="sigmoid"),
        layers.AveragePooling2D(pool_size=2, strides=2),
        layers.Conv2D(16, kernel_size=5, activation="sigmoid"),
        layers.AveragePooling2D(pool_size=2, strides=2),
        layers.Flatten(),
        layers.Dense(120, activation="sigmoid"),
        layers.Dense(84, activation="sigmoid"),
        layers.Dense(10),
    ]
)


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
    """The training and the test data, each as images (N, 28, 28, 1) and labels (N,)."""
    # Keras takes images with the channels last.
    return [
        (images.transpose(0, 2, 3, 1).astype("float32") / 255, labels.astype("int64"))
        for images, labels in read_data(folder)
    ]


def batches(data, batch_size, seed):
    """Batches (X, y), epoch after epoch. The seed and the epoch determine the order of the examples."""
    images, labels = data
    for epoch in itertools.count():
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for start in range(0, len(order), batch_size):
            i = order[start : start + batch_size]
            yield images[i], labels[i]


def evaluate_accuracy(net, data):
    """The fraction of the examples that the network classifies correctly."""
    images, labels = data
    y_hat = net.predict(images, batch_size=256, verbose=0)
    return (y_hat.argmax(axis=1) == labels).mean()


def train(net, train_data, test_data, num_epochs, lr, batch_size, seed):
    """Train the network with minibatch SGD. Returns the loss of each epoch."""
    optimizer = keras.optimizers.SGD(learning_rate=lr)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss, metrics=["accuracy"])
    num_examples = len(train_data[1])
    history = net.fit(
        batches(train_data, batch_size, seed),
        steps_per_epoch=-(-num_examples // batch_size),  # the last batch may be smaller
        validation_data=test_data,
        validation_batch_size=256,
        epochs=num_epochs,
        shuffle=False,  # the batches are already shuffled
        verbose=2,
    )
    return history.history.get("loss", [])


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
