"""LeNet-5 in Gluon: the network, its data, training and evaluation.

    python lenet5_gluon.py FOLDER

FOLDER holds the four IDX files of Fashion-MNIST, such as train-images-idx3-ubyte.gz.
"""

import argparse
import gzip
from pathlib import Path

import numpy

if "bool" not in vars(numpy):  # NumPy 1.24 removed this name, which MXNet 1.9.1 reads
    numpy.bool = numpy.bool_

import mxnet as mx
from mxnet import autograd, gluon, init, np, npx
from mxnet.gluon import nn

npx.set_np()  # use NumPy's array semantics

num_epochs = 10
lr = 0.9
batch_size = 256
seed = 0  # of the initial weights and of the order of the examples
device = npx.gpu() if npx.num_gpus() else npx.cpu()

mx.random.seed(seed)
net = nn.HybridSequential()
net.add(
    nn.Conv2D(6, kernel_size=5, padding=2, activation="sigmoid"),
    nn.AvgPool2D(pool_size=2, strides=2),
    nn.Conv2D(16, kernel_size=5, activation="sigmoid"),
    nn.AvgPool2D(pool_size=2, strides=2),
    nn.Flatten(),
    nn.Dense(120, activation="sigmoid"),
    nn.Dense(84, activation="sigmoid"),
    nn.Dense(10),
)
# Xavier-uniform weights. Biases are zero by default and ignore this initializer.
net.initialize(init.Xavier(), ctx=device)


def read_idx(folder, name):
    """The array in an IDX file, which may be compressed. Its header gives the shape."""
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    num_dimensions = content[3]
    shape = numpy.frombuffer(content, ">u4", num_dimensions, offset=4)
    numbers = numpy.frombuffer(content, numpy.uint8, offset=4 + 4 * num_dimensions)
    return numbers.reshape(shape)


def read_data(folder):
    """The training and the test data: images (N, 1, 28, 28) and labels (N,), both uint8."""
    data = []
    for part in ("train", "t10k"):
        images = read_idx(folder, f"{part}-images-idx3-ubyte")
        labels = read_idx(folder, f"{part}-labels-idx1-ubyte")
        data.append((images.reshape(len(labels), 1, 28, 28), labels))
    return data


def batches(data, order, batch_size=256):
    """Batches (X, y) of the examples in this order, with the pixels scaled to [0, 1]."""
    images, labels = data
    for start in range(0, len(order), batch_size):
        i = order[start : start + batch_size]
        X = np.array(images[i] / numpy.float32(255), ctx=device)
        yield X, np.array(labels[i], dtype="int32", ctx=device)


def evaluate_accuracy(net, data):
    """The fraction of the examples that the network classifies correctly."""
    num_examples = len(data[1])
    num_correct = 0
    for X, y in batches(data, numpy.arange(num_examples)):
        num_correct += (net(X).argmax(axis=1).astype("int32") == y).sum()
    return int(num_correct) / num_examples


def train(net, train_data, test_data, num_epochs, lr, batch_size, seed):
    """Train the network with minibatch SGD. Returns the loss of each epoch."""
    net.hybridize()  # compile the network to a graph
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": lr})
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    num_examples = len(train_data[1])
    losses = []
    for epoch in range(num_epochs):
        order = numpy.random.default_rng([seed, epoch]).permutation(num_examples)
        loss_sum, num_correct = 0.0, 0
        for X, y in batches(train_data, order, batch_size):
            with autograd.record():
                y_hat = net(X)
                l = loss(y_hat, y)
            l.backward()
            # The loss is one number per example; `step` averages their gradients.
            trainer.step(len(y))
            loss_sum += l.sum()
            num_correct += (y_hat.argmax(axis=1).astype("int32") == y).sum()
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
    train_data, test_data = read_data(args.folder)
    print(f"test acc {evaluate_accuracy(net, test_data):.3f} before training")
    train(net, train_data, test_data, args.epochs, lr, batch_size, seed)
