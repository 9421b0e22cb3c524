"""LeNet-5 in Flax the book's way, as a reader of the chapter would write it. `scripts/bench` measures it.

    python scripts/benchmarks/book_jax.py --epochs 1

The book's current edition takes its batches from `tf.data`, as NumPy arrays, so this program needs TensorFlow too. It
shuffles the batches, not the examples. Only the loss is compiled: JAX differentiates the compiled function, and the
update of each parameter is a separate operation. After each epoch it evaluates. The edition plots the loss and the test
accuracy; this program sums them instead, and reads them after each epoch.
"""

import jax
import optax
import tensorflow as tf
from common import arguments, report, timed
from flax import linen as nn
from flax.training.train_state import TrainState

XAVIER = nn.initializers.xavier_uniform()


class LeNet(nn.Module):
    def setup(self):
        self.net = nn.Sequential(
            [
                nn.Conv(features=6, kernel_size=(5, 5), padding="SAME", kernel_init=XAVIER),
                nn.sigmoid,
                lambda x: nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2)),
                nn.Conv(features=16, kernel_size=(5, 5), padding="VALID", kernel_init=XAVIER),
                nn.sigmoid,
                lambda x: nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2)),
                lambda x: x.reshape((x.shape[0], -1)),
                nn.Dense(features=120, kernel_init=XAVIER),
                nn.sigmoid,
                nn.Dense(features=84, kernel_init=XAVIER),
                nn.sigmoid,
                nn.Dense(features=10, kernel_init=XAVIER),
            ]
        )

    def __call__(self, X):
        return self.net(X)


@jax.jit
def loss(params, state, X, y):
    y_hat = state.apply_fn({"params": params}, X)
    return optax.softmax_cross_entropy_with_integer_labels(y_hat, y).mean(), y_hat


@jax.jit
def accuracy(y_hat, y):
    """Return the number of correct predictions."""
    return (y_hat.argmax(axis=1) == y).sum()


def batches(split, shuffle):
    X = tf.expand_dims(split.images[:, 0], axis=3) / 255
    y = tf.cast(split.labels, dtype="int32")
    dataset = tf.data.Dataset.from_tensor_slices((tf.cast(X, tf.float32), y)).batch(256)
    return dataset.shuffle(len(split) if shuffle else 1)


def train(net, train_iter, test_iter, num_epochs, lr, seed):
    X, _ = next(train_iter.as_numpy_iterator())
    params = net.init(jax.random.key(seed), X)["params"]
    state = TrainState.create(apply_fn=net.apply, params=params, tx=optax.sgd(lr))
    for _ in range(num_epochs):
        loss_sum, right, seen = 0.0, 0, 0
        for X, y in train_iter.as_numpy_iterator():
            (l, y_hat), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, state, X, y)
            state = state.apply_gradients(grads=gradients)
            loss_sum += l * len(y)
            right += accuracy(y_hat, y)
            seen += len(y)
        test_right, test_seen = 0, 0
        for X, y in test_iter.as_numpy_iterator():
            _, y_hat = loss(state.params, state, X, y)
            test_right += accuracy(y_hat, y)
            test_seen += len(y)
        test_acc = int(test_right) / test_seen
    return float(loss_sum) / seen, int(right) / seen, test_acc


def main():
    args, dataset = arguments()
    tf.random.set_seed(args.seed)
    train_iter, test_iter = batches(dataset.train, shuffle=True), batches(dataset.test, shuffle=False)
    report(args, timed(train, LeNet(), train_iter, test_iter, args.epochs, lr=0.9, seed=args.seed))


if __name__ == "__main__":
    main()
