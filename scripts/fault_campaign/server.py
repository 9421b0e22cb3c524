"""Downloads from a hostile server on this machine: each ends in time, with an error of one line, and leaves no file."""

import gzip
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fault_campaign.commands import ENVIRONMENT, Row, finish

MEMORY = 2**30  # bytes of address space that a download may add to those of an import

# The command, with both mirrors on this machine.
PROGRAM = """
import dataclasses, resource, sys
from pathlib import Path
from lenet_multi import evaluate, train
from lenet_multi.data import published

own = dataclasses.replace(published.FASHION_MNIST, mirrors=(sys.argv[1],))
published.PUBLISHED["fashion-mnist"] = own
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(train.main(["--dataset", "fashion-mnist", "--data-dir", sys.argv[2], "--epochs", "1"]))
"""

Write = Callable[[bytes], object]


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


BODIES = [drip, endless, bomb, cut, wrong]
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


def hostile_server(folder: Path) -> Iterator[Row]:
    """A row for all ways of the server to answer."""
    row = Row("downloads from a hostile server")
    ways = [*itertools.product(ANSWERS, BODIES), *((answer, None) for answer in ALONE)]
    for number, (answer, body) in enumerate(ways):
        target = folder / f"downloaded-{number}"
        process = download(answer, body, target)
        faults = finish(process, expected=(2,))
        faults += [f"{path.name} left" for path in target.rglob("*") if path.is_file()]
        row.note([f"{answer[:40]!r} {body.__name__ if body else ''}: {fault}" for fault in faults])
    yield row


def download(answer: bytes, body: Callable[[Write], None] | None, target: Path) -> subprocess.Popen:
    """A process that downloads from a server with this answer, and has ended when this function returns."""

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            try:
                self.rfile.readline()
                self.wfile.write(answer)
                if body:
                    body(self.wfile.write)
            except OSError:  # the other side has hung up
                pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arguments = [f"http://127.0.0.1:{server.server_port}/", str(target), str(MEMORY)]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            start_new_session=True,
            env=ENVIRONMENT | {"NO_PROXY": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.wait()
        server.shutdown()
    return process
