"""A server that sends garbage, too much, too little or nothing, redirects or stalls, on this machine.

Each download must end with its own error, within a limit on memory that an honest download of the real size keeps, and
leave no file.
"""

import gzip
import hashlib
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from fault_campaign.commands import ENVIRONMENT, Row, finish, row_of, start_words

from lenet_multi.data.idx import FILE_NAMES, to_idx
from lenet_multi.data.published import FASHION_MNIST, SIZES

LARGEST = max(SIZES.values())  # bytes, of the training images
MEMORY = 3 * LARGEST  # bytes of address space that a download may add to those of the imports
SILENCE = 90  # seconds: a download waits for 60

# Loads Fashion-MNIST as a command does, from one mirror. Threads share an arena: a new one reserves 64 MB.
PROGRAM = """
import dataclasses, json, resource, sys
from pathlib import Path
import requests
from lenet_multi.data import load_dataset, published
from lenet_multi.system.command import run_command

url, folder, memory, digests = sys.argv[1:]
own = dataclasses.replace(published.FASHION_MNIST, mirrors=(url,), digests=json.loads(digests))
published.PUBLISHED["fashion-mnist"] = own
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(memory)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

def command(argv):
    load_dataset("fashion-mnist", folder)

sys.exit(run_command(command))
"""

Write = Callable[[bytes], object]
Way = tuple[bytes, Callable[[Write], object] | None]  # the start of an answer, and what writes the rest
NO_OTHER_SOURCE = {"NO_PROXY": "127.0.0.1", "LENET_MULTI_DATA": "", "XDG_CACHE_HOME": "/dev/null"}
JOBS = 8  # most downloads only wait


def drip(write: Write) -> None:
    """One byte a second."""
    while True:
        write(b"x")
        time.sleep(1)


def endless(write: Write) -> None:
    """A body without end."""
    while True:
        write(b"\0" * 2**20)


def bomb(write: Write) -> None:
    """A gzip file of ten megabytes that holds ten gigabytes."""
    part = gzip.compress(b"\0" * 10 * 2**20, compresslevel=9)
    for _ in range(1000):
        write(part)


def cut(write: Write) -> None:
    """A few bytes, then nothing."""
    write(gzip.compress(b"\0" * 1000)[:20])


def wrong(write: Write) -> None:
    """The file of somebody else."""
    write(gzip.compress(b"\0" * 1000))


BODIES = [cut, wrong, endless, bomb, drip]  # from quick to slow
ANSWERS = [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
ALONE = [
    b"",
    b"HTTP/1.1 404 Not Found\r\n\r\n",
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 99999999999\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\nnot gzipped",
    b"\0" * 1000,
]


def hostile_server(count: int, folder: Path) -> Iterator[Row]:
    """A row for an honest server, and one for the first `count` ways of a hostile one to answer."""
    ways: list[Way] = [*((answer, None) for answer in ALONE), *itertools.product(ANSWERS, BODIES)]

    def faults_of(numbered: tuple[int, Way]) -> list[str]:
        number, (answer, body) = numbered
        target = folder / f"downloaded-{number}"
        faults = download(lambda _: (answer, body), FASHION_MNIST.digests, target, expected=2)
        faults += [f"{path.name} left" for path in target.rglob("*") if path.is_file()]
        return [f"{answer[:40]!r} {body.__name__ if body else ''}: {fault}" for fault in faults]

    yield row_of("download from an honest server", [folder / "downloaded"], honest_faults, 1)
    yield row_of("downloads from a hostile server", enumerate(ways[:count]), faults_of, JOBS)


def honest_faults(target: Path) -> list[str]:
    """What is wrong with a download of files of Fashion-MNIST's sizes, which are compressed about as well."""
    rng = np.random.default_rng(0)
    files = {}
    for what, shape in (("train", (60_000, 28, 28)), ("test", (10_000, 28, 28))):
        files[FILE_NAMES[f"{what} images"]] = to_idx(rng.integers(0, 16, shape, dtype=np.uint8))
        files[FILE_NAMES[f"{what} labels"]] = to_idx(rng.integers(0, 10, shape[:1], dtype=np.uint8))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}

    def answer_to(path: str) -> Way:
        compressed = gzip.compress(files[path.strip("/").removesuffix(".gz")], compresslevel=1)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(compressed)}\r\n\r\n"
        return head.encode(), lambda write: write(compressed)

    faults = download(answer_to, digests, target, expected=0)
    return faults + [f"no {name}" for name in files if not (target / "fashion-mnist" / name).exists()]


def download(answer_to: Callable[[str], Way], digests: Mapping[str, str], target: Path, expected: int) -> list[str]:
    """The faults of a process that downloads from a server on this machine.

    Args:
        answer_to: what the server sends for a path.
        digests: of the files that it should send, by name.
        target: where the files go.
        expected: the exit status.
    """

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            try:
                answer, body = answer_to(self.rfile.readline().split()[1].decode())
                while self.rfile.readline().strip():  # else the system discards the answer with the rest of the head
                    pass
                self.wfile.write(answer)
                if body:
                    body(self.wfile.write)
            except OSError:  # the other side has hung up
                pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arguments = [f"http://127.0.0.1:{server.server_port}/", str(target), str(MEMORY), json.dumps(dict(digests))]
        env = ENVIRONMENT | NO_OTHER_SOURCE | {"MALLOC_ARENA_MAX": "1"}
        process = start_words([sys.executable, "-c", PROGRAM, *arguments], env=env)
        faults = finish(process, (expected,), saying="could not be downloaded", silence=SILENCE)
        server.shutdown()
    return faults
