"""LeNet-5 in Keras the book's way, as a reader of the chapter would write it. `scripts/bench` measures it.

    python scripts/benchmarks/book_tensorflow.py --epochs 1

`tf.data` makes batches from tensor slices, then shuffles the batches. A callback of `fit` evaluates after each epoch.
"""

import tensorflow as tf
from common import arguments, report, timed


class Evaluate(tf.keras.callbacks.Callback):
    def __init__(self, net, test_iter):
        super().__init__()
        self.net, self.test_iter = net, test_iter

    def on_epoch_end(self, epoch, logs=None):
        self.test_acc = self.net.evaluate(self.test_iter, verbose=0, return_dict=True)["accuracy"]


def batches(split, batch_size):
    X = tf.expand_dims(split.images[:, 0], axis=3) / 255
    y = tf.cast(split.labels, dtype="int32")
    dataset = tf.data.Dataset.from_tensor_slices((tf.cast(X, tf.float32), y))
    return dataset.batch(batch_size).shuffle(len(split))


def train(net, train_iter, test_iter, num_epochs, lr):
    optimizer = tf.keras.optimizers.SGD(learning_rate=lr)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    callback = Evaluate(net, test_iter)
    history = net.fit(train_iter, epochs=num_epochs, verbose=0, callbacks=[callback]).history
    return history["loss"][-1], history["accuracy"][-1], callback.test_acc


def main():
    args, dataset = arguments()
    tf.keras.utils.set_random_seed(args.seed)
    net = tf.keras.models.Sequential(
        [
            tf.keras.layers.Conv2D(filters=6, kernel_size=5, activation="sigmoid", padding="same"),
            tf.keras.layers.AvgPool2D(pool_size=2, strides=2),
            tf.keras.layers.Conv2D(filters=16, kernel_size=5, activation="sigmoid"),
            tf.keras.layers.AvgPool2D(pool_size=2, strides=2),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(120, activation="sigmoid"),
            tf.keras.layers.Dense(84, activation="sigmoid"),
            tf.keras.layers.Dense(10),
        ]
    )
    train_iter, test_iter = batches(dataset.train, 256), batches(dataset.test, 256)
    report(args, timed(train, net, train_iter, test_iter, args.epochs, lr=0.9))


if __name__ == "__main__":
    main()
