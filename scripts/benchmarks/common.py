"""Shared by the book's programs: command-line options, data in memory, and time measurement."""

import argparse
import json
import time

from lenet_multi.data import load_dataset
from lenet_multi.system.process import peak_rss_mb, seconds_since_process_start


def arguments():
    """Parse the options. Returns them, and Fashion-MNIST as arrays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return args, load_dataset("fashion-mnist")


def timed(train, *arguments, **settings):
    """Call `train` and return its results (loss, train accuracy, test accuracy) and durations in seconds."""
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


def report(args, results):
    """Print the results as one line of JSON."""
    print(json.dumps(results | {"epochs": args.epochs, "peak_rss_mb": peak_rss_mb()}))
