"""LeNet-5 in Flax: the network, its data, training and evaluation.

    python lenet5_flax.py FOLDER

FOLDER holds the four IDX files of Fashion-MNIST, such as train-images-idx3-ubyte.gz.
"""

import argparse
import gzip
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

num_epochs = 10
lr = 0.9
batch_size = 256
seed = 0  # of the initial weights and of the order of the examples

# JAX has no global random state: each layer draws its keys from `rngs`.
rngs = nnx.Rngs(seed)
# By default biases are zero, and weights come from a truncated normal distribution.
xavier = nnx.initializers.xavier_uniform()
net = nnx.Sequential(
    nnx.Conv(1, 6, kernel_size=(5, 5), padding=2, kernel_init=xavier, rngs=rngs),
    nnx.sigmoid,
    lambda x: nnx.avg_pool(x, window_shape=(2, 2), strides=(2, 2)),
    nnx.Conv(6, 16, kernel_size=(5, 5), padding=0, kernel_init=xavier, rngs=rngs),
    nnx.sigmoid,
    lambda x: nnx.avg_pool(x, window_shape=(2, 2), strides=(2, 2)),
    lambda x: x.reshape(len(x), -1),
    nnx.Linear(5 * 5 * 16, 120, kernel_init=xavier, rngs=rngs),
    nnx.sigmoid,
    nnx.Linear(120, 84, kernel_init=xavier, rngs=rngs),
    nnx.sigmoid,
    nnx.Linear(84, 10, kernel_init=xavier, rngs=rngs),
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
    # Flax takes images with the channels last.
    return [
        (jnp.asarray(images.transpose(0, 2, 3, 1)), jnp.asarray(labels, jnp.int32))
        for images, labels in read_data(folder)
    ]


def batches(data, order, batch_size=256):
    """Batches (X, y) of the examples in this order, with the pixels scaled to [0, 1]."""
    images, labels = data
    for start in range(0, len(order), batch_size):
        i = order[start : start + batch_size]
        yield images[i] / 255, labels[i]


@nnx.jit
def count_correct(net, X, y):
    """How many examples of a batch the network classifies correctly."""
    return (net(X).argmax(axis=1) == y).sum()


def evaluate_accuracy(net, data):
    """The fraction of the examples that the network classifies correctly."""
    num_examples = len(data[1])
    num_correct = 0
    net.eval()
    for X, y in batches(data, np.arange(num_examples)):
        num_correct += count_correct(net, X, y)
    return int(num_correct) / num_examples


def loss(net, X, y):
    """The mean cross-entropy of a batch, and its logits."""
    y_hat = net(X)
    return optax.softmax_cross_entropy_with_integer_labels(y_hat, y).mean(), y_hat


@nnx.jit  # compiled at the first call for each combination of shapes; later calls reuse it
def train_step(net, optimizer, X, y):
    """One step of minibatch SGD. Returns the loss, and how many examples were classified correctly."""
    (l, y_hat), gradients = nnx.value_and_grad(loss, has_aux=True)(net, X, y)
    optimizer.update(net, gradients)
    return l, (y_hat.argmax(axis=1) == y).sum()


def train(net, train_data, test_data, num_epochs, lr, batch_size, seed):
    """Train the network with minibatch SGD. Returns the loss of each epoch."""
    num_examples = len(train_data[1])
    optimizer = nnx.Optimizer(net, optax.sgd(lr), wrt=nnx.Param)
    losses = []
    for epoch in range(num_epochs):
        order = np.random.default_rng([seed, epoch]).permutation(num_examples)
        loss_sum, num_correct = 0.0, 0
        net.train()
        for X, y in batches(train_data, order, batch_size):
            l, batch_num_correct = train_step(net, optimizer, X, y)
            loss_sum += l * len(y)
            num_correct += batch_num_correct
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
