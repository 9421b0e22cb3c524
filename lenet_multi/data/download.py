"""Downloads that end: what a server sends is bounded in bytes, and how long it takes in time.

Nothing is written here: a download is held in memory until it is complete, so a killed process leaves no part of it.
"""

from __future__ import annotations

import gzip
import io
import queue
import sys
import threading
import time
import zlib
from collections.abc import Iterator

from tqdm import tqdm

from lenet_multi.data.idx import DataError

CONNECT_TIMEOUT, STALL_TIMEOUT = 4.0, 20.0  # seconds a server may take to answer, and to send more data
# A download ends when it is this many seconds behind a line of this many bytes per second. A slow line that is as fast
# gets every file; a server that sends a byte now and then is left after the grace.
GRACE_SECONDS, MIN_BYTES_PER_SECOND = 60.0, 20_000
EXTRA_BYTES = 1 << 16  # what compression may add to data that it cannot compress
PART_BYTES = 1 << 14


def download(url: str, size: int) -> bytes:
    """The content at a URL, decompressed if it is gzip.

    Args:
        url: http or https. An answer that leads to another address is a failure.
        size: of the content in bytes, decompressed.

    Raises:
        DataError: when the server sends more than that, sends too slowly, or sends damaged gzip data.
        OSError: when it cannot be reached or breaks off; see `reason_of`.
    """
    received = bytearray()
    bar = tqdm(
        desc=url.rpartition("/")[2],
        disable=None if sys.stderr is not None else True,  # None: only on a terminal
        leave=False,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
    )
    with bar:
        for part in _parts(url, size + EXTRA_BYTES, bar):
            received += part
            bar.update(len(part))
    return _decompressed(received, size)


def longest_download(size: int) -> float:
    """The seconds that `download` may take for a file of this size."""
    return GRACE_SECONDS + (size + EXTRA_BYTES) / MIN_BYTES_PER_SECOND


def _parts(url: str, max_bytes: int, bar: tqdm) -> Iterator[bytes]:
    """The body of the answer as it arrives; the bar gets its length, if the server tells it."""
    # A thread waits for the server. The time limits of a socket start anew with each byte, so that only somebody else
    # can see how long the whole takes: to find the address, to send the head and to send the body.
    parts: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    abandoned = threading.Event()
    threading.Thread(target=_receive, args=(url, max_bytes, bar, parts, abandoned), daemon=True).start()
    began, received = time.monotonic(), 0
    try:
        while True:
            remaining = GRACE_SECONDS + received / MIN_BYTES_PER_SECOND - (time.monotonic() - began)
            try:
                part = parts.get(timeout=max(remaining, 0))
            except queue.Empty:
                seconds = time.monotonic() - began
                raise DataError(
                    f"{received} bytes in {seconds:.0f} s, slower than {MIN_BYTES_PER_SECOND:,} bytes/s"
                ) from None
            if isinstance(part, Exception):
                raise part
            if not part:
                return
            received += len(part)
            yield part
    finally:
        abandoned.set()


def _receive(
    url: str, max_bytes: int, bar: tqdm, parts: queue.SimpleQueue[bytes | Exception], abandoned: threading.Event
) -> None:
    """Put the parts of the body into a queue, and at the end an empty one, or the exception that ended it."""
    import requests  # slow to import: only for a download
    import urllib3

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """No redirections: requests reads their whole body into memory, even if it does not follow them."""

    try:
        with Session().get(
            url,
            stream=True,
            timeout=(CONNECT_TIMEOUT, STALL_TIMEOUT),
            headers={"Accept-Encoding": "identity"},
        ) as response:
            if response.status_code != requests.codes.ok:
                raise requests.HTTPError(response=response)
            bar.total = response.raw.length_remaining
            received = 0
            # Not decompressed: that has no limit.
            for part in response.raw.stream(PART_BYTES, decode_content=False):
                received += len(part)
                if received > max_bytes:
                    raise DataError(f"more than {max_bytes:,} bytes, expected fewer")
                if abandoned.is_set():
                    return
                parts.put(part)
        parts.put(b"")
    except urllib3.exceptions.ReadTimeoutError:
        parts.put(DataError(f"stalled for {STALL_TIMEOUT:g} s"))
    except urllib3.exceptions.HTTPError:
        parts.put(DataError("connection closed before the end"))
    except Exception as problem:
        parts.put(problem)


def _decompressed(content: bytearray, size: int) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return bytes(content)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            payload = file.read(size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise DataError("the gzip data is damaged or truncated") from problem
    if len(payload) > size:
        raise DataError(f"more than {size:,} bytes when decompressed, expected {size:,}")
    return payload


def reason_of(problem: OSError) -> str:
    """The reason for a failed download, in a few words."""
    import requests

    match problem:
        case requests.HTTPError(response=response) if response is not None:
            return f"HTTP {response.status_code}"
        case requests.ConnectTimeout():
            return f"no answer within {CONNECT_TIMEOUT:g} s"
        case requests.ReadTimeout():
            return f"stalled for {STALL_TIMEOUT:g} s"
        case requests.ConnectionError():
            return "cannot be reached"
        case requests.RequestException():
            return type(problem).__name__
    return f"{problem.filename}: cannot be written ({problem.strerror})" if problem.filename else str(problem)
