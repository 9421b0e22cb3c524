"""Shared fixtures and helpers: every installed backend, small data sets, and the real data if it is available.

Most tests use PyTorch, the default backend. A test that is about a backend that is not installed is skipped, and the
head of the report names that backend. Set LENET_MULTI_REQUIRE_BACKENDS=torch,mxnet to refuse to run without these.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from small_folder import write_folder

from lenet_multi.backends import (
    ALIASES,
    BACKENDS,
    LOOPS,
    installed_backends,
    load_backend,
    packages_of,
    require_installed,
    why_missing,
)
from lenet_multi.data import Dataset, Split, load_dataset, synthetic
from lenet_multi.data.idx import FILE_NAMES, to_idx
from lenet_multi.distributed import WORKER_VARIABLES
from lenet_multi.errors import UserError
from lenet_multi.system.machine import available_cores

# Some tests compare this process with child processes bit for bit, so all of them need the same number of threads.
os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))

# By default JAX compiles anew in each process. The processes of a session share what they compile.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = TemporaryDirectory(prefix="compiled-by-jax-")  # until the session ends; other processes inherit its path
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# A shell's background job, as these tests may be, and nohup hand down signals to ignore. A signal with a handler is not
# handed down, and processes that the tests start shall have the system's own. (A `preexec_fn` for it would fork this
# process, which may hold JAX's threads.)
for name in ("SIGINT", "SIGHUP"):
    if (number := getattr(signal, name, None)) and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

INSTALLED = installed_backends()
# The error for a name that no backend has.
UNKNOWN_BACKEND = f"unknown backend 'caffe': choose one of {', '.join([*BACKENDS, *ALIASES])}"
LEFT_OUT = ", ".join(f"{name} ({why_missing(name)})" for name in BACKENDS if name not in INSTALLED)
ENGINES = tuple(name for name in INSTALLED if name in WORKER_VARIABLES)  # which train with several workers
SECOND = ("torch", *ENGINES)[-1]  # a backend besides PyTorch, if there is one
EVERY_LOOP = [pytest.param((name, loop), id=f"{name}-{loop}") for name in INSTALLED for loop in LOOPS]


def pytest_configure():
    """Refuse to run without the backends that `LENET_MULTI_REQUIRE_BACKENDS` names."""
    for name in filter(None, os.environ.get("LENET_MULTI_REQUIRE_BACKENDS", "").split(",")):
        try:
            require_installed(name)
        except UserError as problem:
            raise pytest.UsageError(f"LENET_MULTI_REQUIRE_BACKENDS: {problem}") from None


def pytest_report_header() -> str:
    return f"backends: {', '.join(INSTALLED)}" + (f"; left out: {LEFT_OUT}" if LEFT_OUT else "")


def needs(name: str) -> pytest.MarkDecorator:
    """Marks a test or a parameter that is about a backend: it is skipped where this backend is not installed."""
    return pytest.mark.skipif(name not in INSTALLED, reason=f"needs the {name} backend ({why_missing(name)})")


def about(*rows: tuple[Any, ...]) -> list[Any]:
    """Parameters of a test, each about the backend that it names first."""
    return [pytest.param(*row, marks=needs(row[0])) for row in rows]


def with_installed(text: str) -> str:
    """A command or program of the documentation, with an installed backend in place of each one that is not."""
    absent = "|".join(name for name in BACKENDS if name not in INSTALLED)
    return re.sub(rf"\b({absent})\b", SECOND, text) if absent else text


def imported_frameworks() -> str:
    """Python for a child process: a sorted list of the frameworks' packages that it has imported."""
    return f"sorted({set(packages_of(*BACKENDS))!r} & set(sys.modules))"


class Absent:
    """Stands for the module of a framework that is not installed: a test that uses it is skipped."""

    def __init__(self, name: str) -> None:
        self._reason = needs(name).kwargs["reason"]

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # asked for by pytest when it collects the tests
            raise AttributeError(attribute)
        pytest.skip(self._reason)


def framework(name: str, module: str) -> Any:
    """A framework's module, after its backend has prepared it, or an `Absent`."""
    if name not in INSTALLED:
        return Absent(name)
    load_backend(name)
    return import_module(module)


# Marks a test that compares frameworks.
needs_two = pytest.mark.skipif(len(INSTALLED) < 2, reason=f"needs two backends; left out: {LEFT_OUT}")


def load(backend_and_loop: tuple[str, str]):
    name, loop = backend_and_loop
    return load_backend(name, fast=loop == "fast")


@pytest.fixture(params=EVERY_LOOP)
def backend(request):
    """Each backend in turn, with the plain loop and with the fast loop."""
    return load(request.param)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="session")
def small_data(small_folder) -> Dataset:
    return load_dataset(str(small_folder))


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory) -> Path:
    """A user's cache with a small synthetic data set, so that every command finishes soon."""
    cache = tmp_path_factory.mktemp("cache")
    folder = cache / "lenet_multi" / f"synthetic-v{synthetic.VERSION}"
    folder.mkdir(parents=True)
    for name, array in zip(FILE_NAMES.values(), synthetic.generate(200, 50), strict=True):
        (folder / name).write_bytes(to_idx(array))
    return cache


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    """An empty user cache, with no data folder in the environment: no data set is on disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LENET_MULTI_DATA", raising=False)
    return tmp_path / "cache" / "lenet_multi"


@pytest.fixture(scope="session")
def fashion_mnist() -> Dataset:
    """The real data set. Skips the test if it is not on disk, unless `LENET_MULTI_REQUIRE_DATA` is set."""
    root = os.environ.get("LENET_MULTI_DATA")
    if not root and not os.environ.get("LENET_MULTI_REQUIRE_DATA"):
        pytest.skip("needs Fashion-MNIST: set LENET_MULTI_DATA to a folder that contains fashion-mnist/")
    return load_dataset("fashion-mnist", root)


def subset(dataset: Dataset, num_train: int, num_test: int) -> Dataset:
    return Dataset(dataset.name, dataset.train.subset(num_train), dataset.test.subset(num_test), dataset.class_names)


def random_split(num_examples: int, shape: tuple[int, int, int], seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num_examples, *shape), dtype=np.uint8)
    return Split(images, rng.integers(0, 10, num_examples, dtype=np.uint8))


def is_locked(folder: Path) -> bool:
    """Whether someone holds the lock of a folder."""
    import fcntl  # Windows has none

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def listening_addresses(pids: Iterable[int]) -> set[str]:
    """The addresses at which processes listen for TCP connections, on Linux."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):  # closed meanwhile
                sockets.add(str(descriptor.readlink()))
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                raw = bytes.fromhex(local.partition(":")[0])
                packed = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                found.add(socket.inet_ntop(family, packed).removeprefix("::ffff:"))
    return found
