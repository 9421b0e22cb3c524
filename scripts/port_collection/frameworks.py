"""The frameworks, their imports in an order that works, and the output of a network of any of them."""

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import keras
import mxnet
import numpy as np
import torch
from mxnet.util import np_array, np_shape

mxnet.npx.reset_np()  # the model zoo and gluoncv2 are written for the older arrays
# torchvision's wheel is built for PyTorch with CUDA, and its operators are missing here. No classifier runs them, but
# torchvision describes them on import. A library is valid as long as the object lives.
VISION = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms", "roi_align", "qroi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
    for name in (operator, f"_{operator}_backward"):
        VISION.define(f"{name}(Tensor x) -> Tensor")

BUILDERS: WeakKeyDictionary[Any, Callable[[], Any]] = WeakKeyDictionary()


def framework_of(net: Any) -> str:
    """`torch`, `keras` or `gluon`."""
    if isinstance(net, torch.nn.Module):
        return "torch"
    return "keras" if isinstance(net, keras.layers.Layer) else "gluon"


def keras_network(build: Callable[[], Any]) -> Any:
    """Build a Keras model, and remember how: only a new model computes in float64."""
    net = build()
    BUILDERS[net] = build
    return net


def is_np(net: Any) -> bool:
    """Whether a Gluon network is written for `mx.np`, and not for the older `mx.nd`."""
    parameters = net.collect_params().values()
    return any(isinstance(parameter.data(), mxnet.np.ndarray) for parameter in parameters)


@contextmanager
def numpy_arrays(active: bool = True) -> Iterator[None]:
    """Build or run Gluon blocks with `mx.np`."""
    with np_shape(active), np_array(active):
        yield


@contextmanager
def numpy_mode(*nets: Any) -> Iterator[None]:
    """MXNet as the author of these networks runs it: with `npx.set_np()` if one is written for `mx.np`."""
    if any(framework_of(net) == "gluon" and is_np(net) for net in nets):
        mxnet.npx.set_np()
    try:
        yield
    finally:
        mxnet.npx.reset_np()


def gluon_array(net: Any, X: np.ndarray) -> Any:
    return (mxnet.np if is_np(net) else mxnet.nd).array(X, dtype=X.dtype)


def run(net: Any, X: np.ndarray) -> np.ndarray:
    """A network's output in inference mode on images of shape (N, C, H, W), channels first."""
    match framework_of(net):
        case "torch":
            with torch.no_grad():
                return net.eval()(torch.from_numpy(X)).numpy()
        case "keras":
            return np.asarray(net(np.moveaxis(X, 1, -1), training=False))
    with numpy_arrays(is_np(net)):
        return net(gluon_array(net, X)).asnumpy()


def run_float64(net: Any, X: np.ndarray) -> np.ndarray:
    """As `run`, in float64."""
    X = X.astype(np.float64)
    match framework_of(net):
        case "torch":
            return run(copy.deepcopy(net).double(), X)
        case "keras":
            return run(keras_float64(net), X)
    with numpy_arrays(is_np(net)):
        net.cast("float64")
    try:
        return run(net, X)
    finally:
        with numpy_arrays(is_np(net)):
            net.cast("float32")


def keras_float64(net: Any) -> Any:
    """A float64 twin of a model, with its weights and its norms' epsilons."""
    try:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        twin = BUILDERS[net]()
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    twin.set_weights(net.get_weights())
    for layer, other in zip(net._flatten_layers(), twin._flatten_layers(), strict=True):
        if hasattr(layer, "epsilon"):
            other.epsilon = layer.epsilon
    return twin


def relative_error(reference: np.ndarray, port: np.ndarray) -> float:
    """The largest difference, as a fraction of the reference's largest value; infinite for unlike numbers of values."""
    if reference.size != port.size:
        return float("inf")
    return float(np.abs(reference.ravel() - port.ravel()).max() / np.abs(reference).max())


def check_agree(reference: Any, port: Any, X: np.ndarray, exactly: bool = True) -> None:
    """Check that the outputs agree in float64, up to constants such as a slope that a framework keeps in float32.

    Args:
        exactly: whether in float64; if not, in float32, for the largest networks and where an operator lacks float64.

    Raises:
        AssertionError: when they do not.
    """
    compute, allowed = (run_float64, 1e-6) if exactly else (run, 1e-4)
    error = relative_error(compute(reference, X), compute(port, X))
    assert error < allowed, f"the outputs differ by {error:.1e}"


def free_memory() -> None:
    """Give back what the frameworks keep after a case."""
    keras.backend.clear_session()
    gc.collect()
