"""Right ports of the book's networks between PyTorch, Keras and Gluon."""

from typing import Any

import mxnet
import numpy as np

from port_collection import book_gluon, book_keras, book_torch
from port_collection.case import Case, Networks
from port_collection.frameworks import check_agree, keras_network, numpy_arrays
from port_collection.moving import move, randomise

SIZES = {
    "lenet": 28,
    "batch_norm_lenet": 28,
    "alexnet": 67,
    "vgg": 32,
    "nin": 67,
    "googlenet": 48,
    "resnet18": 64,
    "densenet": 32,
}


def images(name: str) -> np.ndarray:
    """Two images with one channel for a network."""
    return np.random.default_rng(1).normal(0, 1, (2, 1, SIZES[name], SIZES[name])).astype(np.float32)


def book_network(framework: str, name: str) -> Any:
    """One of the book's networks with its initial parameters."""
    if framework == "keras":
        return keras_network(getattr(book_keras, name))
    if framework == "torch":
        return getattr(book_torch, {"alexnet": "AlexNet"}.get(name, name))()
    with numpy_arrays():
        net = getattr(book_gluon, name)()
        net.initialize()
        net(mxnet.np.array(images(name)))
    return net


def book_port(name: str, reference: str, port: str) -> Networks:
    """A network in two frameworks, with the same random parameters."""
    networks = book_network(reference, name), book_network(port, name)
    X = images(name)
    # Keras has the layers of the others, and only the others can be filled layer by layer.
    source, target = networks[::-1] if reference == "keras" else networks
    randomise(source, X)
    move(source, target, X)
    check_agree(*networks, X)
    return *networks, X


def book_pair(name: str, reference: str, port: str) -> Case:
    return Case(f"book {name}: {reference} -> {port}", "pair", lambda: book_port(name, reference, port))


BOOK = (
    book_pair("lenet", "torch", "keras"),
    book_pair("lenet", "gluon", "torch"),
    book_pair("batch_norm_lenet", "keras", "gluon"),
    book_pair("batch_norm_lenet", "torch", "keras"),
    book_pair("alexnet", "torch", "keras"),
    book_pair("alexnet", "keras", "gluon"),
    book_pair("vgg", "gluon", "torch"),
    book_pair("vgg", "torch", "keras"),
    book_pair("nin", "keras", "torch"),
    book_pair("nin", "torch", "gluon"),
    book_pair("googlenet", "torch", "keras"),
    book_pair("googlenet", "keras", "gluon"),
    book_pair("resnet18", "torch", "keras"),
    book_pair("resnet18", "gluon", "keras"),
    book_pair("resnet18", "torch", "gluon"),
    book_pair("densenet", "keras", "torch"),
    book_pair("densenet", "gluon", "keras"),
)
