"""What the book's three programs share and their readers would not look at: options, data in memory, the clock."""

import argparse
import json
import time

from lenet_multi.data import load_dataset
from lenet_multi.process import peak_rss_mb, seconds_since_process_start


def arguments():
    """The options, and Fashion-MNIST as arrays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return args, load_dataset("fashion-mnist")


def timed(train, *arguments, **settings):
    """Train; what it gave (loss, train accuracy, test accuracy), and seconds."""
    startup_seconds = seconds_since_process_start()
    began = time.perf_counter()
    loss, train_acc, test_acc = train(*arguments, **settings)
    return {
        "loss": loss,
        "train_acc": train_acc,
        "test_acc": test_acc,
        "wall_seconds": time.perf_counter() - began,
        "startup_seconds": startup_seconds,
    }


def report(args, found):
    """One line of JSON on standard output."""
    print(json.dumps(found | {"epochs": args.epochs, "peak_rss_mb": peak_rss_mb()}))
