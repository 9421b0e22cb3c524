"""Find or download Fashion-MNIST and MNIST, and check their files.

The check compares the SHA-256 of the decompressed payload, so it accepts a recompressed copy and refuses a damaged one.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lenet_multi.data.idx import FILE_NAMES, DataError, find_file, read_payload
from lenet_multi.system.atomic_files import CreatedFolder

CONNECT_TIMEOUT, STALL_TIMEOUT = 4.0, 20.0  # seconds a mirror may take to answer, and to send more data


@dataclass(frozen=True)
class Published:
    """A published data set: its mirrors, and the SHA-256 of the decompressed payload of each file."""

    title: str
    mirrors: tuple[str, ...]
    digests: dict[str, str]
    class_names: tuple[str, ...]


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


def _digest_problem(payload: bytearray, expected: str) -> str | None:
    digest = hashlib.sha256(payload).hexdigest()
    return None if digest == expected else f"content has SHA-256 {digest[:12]}..., expected {expected[:12]}..."


def _download(published: Published, folder: Path) -> None:
    """Download the missing files. After the first failure of a mirror, try the next one."""
    failures: list[str] = []
    for mirror in published.mirrors:
        try:
            with CreatedFolder(folder):
                for file_name in FILE_NAMES.values():
                    if find_file(folder, file_name) is None:
                        _fetch(f"{mirror}{file_name}.gz", folder, file_name, published.digests[file_name])
            return
        except OSError as problem:  # requests' exceptions are OSErrors too
            failures.append(f"{mirror}: {_reason(problem)}")
        except DataError as problem:
            failures.append(f"{mirror}: {problem}")
    raise DownloadError(
        f"{published.title} was not found on disk and could not be downloaded ({'; '.join(failures)}): "
        f"put its four IDX files ({', '.join(FILE_NAMES.values())}, plain or .gz) into {folder}"
    )


def _fetch(url: str, folder: Path, file_name: str, digest: str) -> None:
    """Download one file. pooch saves it under a temporary name until it is complete and checked."""
    import pooch  # imports requests: import it only for a download

    class CheckedDownload:
        def __call__(self, url: str, output_file: str, _: object) -> None:
            pooch.HTTPDownloader(
                progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=(CONNECT_TIMEOUT, STALL_TIMEOUT)
            )(url, output_file, None)
            payload = read_payload(Path(output_file))
            problem = _digest_problem(payload, digest)
            if problem:
                raise DataError(f"{file_name}: {problem}")
            # Save it decompressed: reading it then takes a tenth of the time.
            Path(output_file).write_bytes(payload)

    pooch.get_logger().setLevel(logging.WARNING)
    pooch.retrieve(url, known_hash=None, fname=file_name, path=folder, downloader=CheckedDownload())


def _reason(problem: OSError) -> str:
    """The reason for a failed download, in a few words."""
    import requests

    match problem:
        case requests.HTTPError(response=response) if response is not None:
            return f"HTTP {response.status_code}"
        case requests.ConnectTimeout():
            return f"no answer within {CONNECT_TIMEOUT:g} s"
        case requests.ReadTimeout():
            return f"stalled for {STALL_TIMEOUT:g} s"
        case requests.exceptions.ChunkedEncodingError():
            return "connection closed before the end"
        case requests.ConnectionError():
            # requests also raises this for a stall within the body.
            return f"stalled for {STALL_TIMEOUT:g} s" if "Read timed out" in str(problem) else "cannot be reached"
        case requests.RequestException():
            return type(problem).__name__
    return f"{problem.filename}: cannot be written ({problem.strerror})" if problem.filename else str(problem)
