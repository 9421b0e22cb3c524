"""Find or download Fashion-MNIST and MNIST, and check their files.

The check compares the SHA-256 of the decompressed payload, so it accepts a recompressed copy and refuses a damaged one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lenet_multi.data.download import download, longest_download, reason_of
from lenet_multi.data.idx import FILE_NAMES, DataError, find_file, read_payload
from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.folder_lock import FolderInUseError, locked_folder
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say

# Bytes of each decompressed file, the same in both data sets.
SIZES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}


@dataclass(frozen=True)
class Published:
    """A published data set: its mirrors, and the SHA-256 and the size of the decompressed payload of each file."""

    title: str
    mirrors: tuple[str, ...]
    digests: dict[str, str]
    class_names: tuple[str, ...]
    sizes: Mapping[str, int] = field(default_factory=SIZES.copy)


FASHION_MNIST = Published(
    title="Fashion-MNIST",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    digests={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    class_names=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)

MNIST = Published(
    title="MNIST",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    digests={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    class_names=tuple("0123456789"),
)

PUBLISHED = {"fashion-mnist": FASHION_MNIST, "mnist": MNIST}


class DownloadError(DataError):
    """The download failed from all mirrors; the message gives the reason for each."""


def payloads(name: str, roots: Sequence[Path]) -> tuple[Path, dict[str, bytearray]]:
    """The folder of a published data set, and its four checked payloads by file name.

    Searches the subfolder `name` of each root, in order. If none contains all four files, downloads the missing files
    into the subfolder of the first root.

    Raises:
        DataError: if a file on disk is damaged.
        DownloadError: if a file is missing and cannot be downloaded.
    """
    published = PUBLISHED[name]
    folders = [root / name for root in roots]
    for folder in folders:
        if all(find_file(folder, file_name) for file_name in FILE_NAMES.values()):
            return folder, {file_name: _checked(folder, file_name, published) for file_name in FILE_NAMES.values()}
    folder = folders[0]
    _download(published, folder)
    return folder, {file_name: _checked(folder, file_name, published) for file_name in FILE_NAMES.values()}


def _checked(folder: Path, file_name: str, published: Published) -> bytearray:
    path = find_file(folder, file_name)
    assert path is not None
    payload = read_payload(path)
    problem = _digest_problem(payload, published.digests[file_name])
    if problem:
        raise DataError(
            f"{path}: {problem}: the file is damaged or not from {published.title}; delete it and run again"
        )
    return payload


def _digest_problem(payload: bytes | bytearray, expected: str) -> str | None:
    digest = hashlib.sha256(payload).hexdigest()
    return None if digest == expected else f"content has SHA-256 {digest[:12]}..., expected {expected[:12]}..."


def _download(published: Published, folder: Path) -> None:
    """Download the missing files. After the first failure of a mirror, try the next one."""
    failures: list[str] = []
    with exit_on_termination(), ExitStack() as stack:
        _enter_locked(stack, published, folder)
        for mirror in published.mirrors:
            try:
                for file_name in FILE_NAMES.values():
                    if find_file(folder, file_name) is None:  # another process may have downloaded it
                        _fetch(mirror, folder, file_name, published)
                return
            except OSError as problem:  # requests' exceptions are OSErrors too
                failures.append(f"{mirror}: {reason_of(problem)}")
            except UserError as problem:
                failures.append(f"{mirror}: {problem}")
        raise DownloadError(
            f"{published.title} was not found on disk and could not be downloaded ({'; '.join(failures)}): "
            f"put its four IDX files ({', '.join(FILE_NAMES.values())}, plain or .gz) into {folder}"
        )


def _enter_locked(stack: ExitStack, published: Published, folder: Path) -> None:
    """Create and lock the folder. If another process downloads to it, wait as long as that may take."""
    try:
        stack.enter_context(locked_folder(folder, FILE_NAMES.values()))
    except FolderInUseError:
        say(f"note: another process is downloading to '{folder}': waiting for its end")
        patience = len(published.mirrors) * sum(map(longest_download, published.sizes.values()))
        stack.enter_context(locked_folder(folder, FILE_NAMES.values(), patience=patience))
    except UserError as problem:
        raise DownloadError(f"{published.title} was not found on disk, and {problem}") from problem


def _fetch(mirror: str, folder: Path, file_name: str, published: Published) -> None:
    """Download one file, check it, and save it decompressed: reading it then takes a tenth of the time."""
    payload = download(f"{mirror}{file_name}.gz", published.sizes[file_name])
    problem = _digest_problem(payload, published.digests[file_name])
    if problem:
        raise DataError(f"{file_name}: {problem}")
    write_atomically(folder / file_name, payload)
