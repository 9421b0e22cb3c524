"""LeNet-5 in Gluon the book's way, as a reader of the chapter would write it. `scripts/bench` measures it.

    python scripts/benchmarks/book_mxnet.py --epochs 1

`transform_first(ToTensor())` and a DataLoader with four workers process the examples one by one. The network is not
hybridized, and each step reads its loss and accuracy. The only addition is the alias `numpy.bool`, because MXNet cannot
be imported with a current NumPy without it. OMP_NUM_THREADS keeps MXNet's default.
"""

import numpy
from common import arguments, report, timed

numpy.bool = numpy.bool_
from mxnet import autograd, gluon, init, npx  # noqa: E402
from mxnet import np as mx_np  # noqa: E402
from mxnet.gluon import nn  # noqa: E402

npx.set_np()


def accuracy(y_hat, y):
    """Return the number of correct predictions."""
    return float((y_hat.argmax(axis=1).astype(y.dtype) == y).astype(y.dtype).sum())


def evaluate(net, test_iter):
    right, seen = 0.0, 0
    for X, y in test_iter:
        right += accuracy(net(X), y)
        seen += y.size
    return right / seen


def train(net, train_iter, test_iter, num_epochs, lr):
    net.initialize(force_reinit=True, init=init.Xavier())
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": lr})
    for _ in range(num_epochs):
        loss_sum, right, seen = 0.0, 0.0, 0
        for X, y in train_iter:
            with autograd.record():
                y_hat = net(X)
                l = loss(y_hat, y)
            l.backward()
            trainer.step(X.shape[0])
            loss_sum += float(l.sum())
            right += accuracy(y_hat, y)
            seen += X.shape[0]
        test_acc = evaluate(net, test_iter)
    return loss_sum / seen, right / seen, test_acc


def batches(split, shuffle):
    images = mx_np.array(split.images.transpose(0, 2, 3, 1), dtype="uint8")
    dataset = gluon.data.ArrayDataset(images, split.labels.astype("int32"))
    to_tensor = gluon.data.vision.transforms.ToTensor()
    return gluon.data.DataLoader(dataset.transform_first(to_tensor), 256, shuffle=shuffle, num_workers=4)


def main():
    args, dataset = arguments()
    npx.random.seed(args.seed)
    net = nn.Sequential()
    net.add(
        nn.Conv2D(channels=6, kernel_size=5, padding=2, activation="sigmoid"),
        nn.AvgPool2D(pool_size=2, strides=2),
        nn.Conv2D(channels=16, kernel_size=5, activation="sigmoid"),
        nn.AvgPool2D(pool_size=2, strides=2),
        nn.Dense(120, activation="sigmoid"),
        nn.Dense(84, activation="sigmoid"),
        nn.Dense(10),
    )
    train_iter, test_iter = batches(dataset.train, shuffle=True), batches(dataset.test, shuffle=False)
    report(args, timed(train, net, train_iter, test_iter, args.epochs, lr=0.9))


if __name__ == "__main__":
    main()
