"""The download code, tested against a local server with good and bad behavior."""

import gzip
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import write_folder

from lenet_multi.data import download, load_dataset, published
from lenet_multi.data.idx import FILE_NAMES
from lenet_multi.system import folder_lock
from lenet_multi.system.folder_lock import locked_folder

BOMB_BYTES = 1 << 28
BOMB = gzip.compress(bytes(1 << 20))
PATIENCE = 60  # seconds until something that does not get anywhere fails the test


class Mirror:
    """A local mirror. `behavior` selects its answer to each request; `requests` lists the requested files."""

    def __init__(self, payloads: dict[str, bytes]) -> None:
        mirror = self
        self.behavior = "good"
        self.requests: list[str] = []
        self.release = threading.Event()
        self.poured = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2].removesuffix(".gz")
                mirror.requests.append(name)
                body = gzip.compress(payloads[name])
                if mirror.behavior == "missing":
                    self.send_error(404)
                    return
                if mirror.behavior == "corrupt":
                    body = gzip.compress(payloads[name][:-1] + b"?")
                if mirror.behavior == "not gzip":
                    body = b"<html>busy, come back later</html>"
                if mirror.behavior == "decompressed":
                    body = payloads[name]
                if mirror.behavior == "bomb":
                    body = BOMB
                if mirror.behavior == "silent":
                    mirror.release.wait(30)
                    return
                if mirror.behavior == "slow head":
                    self.drip(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 10_000)
                    return
                if mirror.behavior == "redirected":
                    self.send_response(302)
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    self.pour()
                    return
                truncated = mirror.behavior in ("truncated", "stalled")
                self.send_response(200)
                if mirror.behavior == "encoded":
                    self.send_header("Content-Encoding", "gzip")
                if "no length" not in mirror.behavior:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if mirror.behavior == "endless, no length":
                    self.pour()
                    return
                if mirror.behavior == "slow":
                    self.drip(body)
                    return
                with suppress(OSError):  # the client may leave before the end
                    self.wfile.write(body[: len(body) // 2] if truncated or "no length" in mirror.behavior else body)
                    self.wfile.flush()
                if mirror.behavior == "stalled":
                    mirror.release.wait(30)

            def drip(self, content):
                """Send a byte now and then, often enough that the connection is never silent for long."""
                with suppress(OSError):
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        if mirror.release.wait(0.05):
                            return

            def pour(self):
                """Send without an end."""
                with suppress(OSError):
                    while not mirror.release.is_set():
                        self.wfile.write(bytes(1 << 16))
                        mirror.poured += 1 << 16

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def payloads(tmp_path):
    folder = write_folder(tmp_path / "original", num_train=200, num_test=20)
    return {name: (folder / name).read_bytes() for name in FILE_NAMES.values()}


@pytest.fixture
def mirrors(payloads, monkeypatch, empty_cache):
    """Two local mirrors of a small data set that replaces Fashion-MNIST."""
    mirrors = [Mirror(payloads), Mirror(payloads)]
    digests = {name: hashlib.sha256(payload).hexdigest() for name, payload in payloads.items()}
    sizes = {name: len(payload) for name, payload in payloads.items()}
    urls = tuple(mirror.url for mirror in mirrors)
    small = published.Published("Fashion-MNIST", urls, digests, published.FASHION_MNIST.class_names, sizes)
    monkeypatch.setitem(published.PUBLISHED, "fashion-mnist", small)
    monkeypatch.setattr(download, "STALL_TIMEOUT", 0.3)
    monkeypatch.setattr(download, "GRACE_SECONDS", 1.0)
    yield mirrors
    for mirror in mirrors:
        mirror.close()


def files_under(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_saved_and_read_from_disk_the_next_time(mirrors, empty_cache, payloads):
    first, again = load_dataset("fashion-mnist"), load_dataset("fashion-mnist")
    assert len(first.train) == len(again.train) == 200
    assert mirrors[0].requests == list(FILE_NAMES.values())
    assert mirrors[1].requests == []
    assert files_under(empty_cache) == sorted(payloads)


def test_a_download_goes_into_the_given_folder(mirrors, tmp_path, empty_cache, payloads):
    load_dataset("fashion-mnist", tmp_path / "mine")
    assert files_under(tmp_path / "mine" / "fashion-mnist") == sorted(payloads)
    assert not empty_cache.exists()


def test_a_mirror_that_sends_decompressed_files_is_accepted(mirrors):
    mirrors[0].behavior = "decompressed"
    assert len(load_dataset("fashion-mnist").train) == 200
    assert mirrors[1].requests == []


BAD = {
    "missing": "HTTP 404",
    "corrupt": "content has SHA-256",
    "not gzip": "content has SHA-256",
    "truncated": "connection closed before the end",
    "truncated, no length": "damaged or truncated",
    "silent": "stalled for 0.3 s",
    "stalled": "stalled for 0.3 s",
    "slow": "slower than 20,000 bytes/s",
    "slow head": "slower than 20,000 bytes/s",
    "endless, no length": "more than 222,352 bytes",
    "bomb": "when decompressed",
    "redirected": "HTTP 302",
}


@pytest.mark.parametrize("behavior", BAD)
def test_after_a_bad_mirror_the_next_one_is_used(mirrors, behavior, empty_cache, payloads):
    mirrors[0].behavior = behavior
    assert len(load_dataset("fashion-mnist").train) == 200
    assert len(mirrors[0].requests) == 1
    assert mirrors[1].requests == list(FILE_NAMES.values())
    assert files_under(empty_cache) == sorted(payloads)


@pytest.mark.parametrize("behavior", BAD)
def test_if_all_mirrors_fail_the_error_gives_each_reason_and_no_file_is_left(mirrors, behavior, empty_cache):
    mirrors[0].behavior, mirrors[1].behavior = behavior, "missing"
    with pytest.raises(published.DownloadError) as raised:
        load_dataset("fashion-mnist")
    message = str(raised.value)
    assert f"{mirrors[0].url}: " in message
    assert BAD[behavior] in message
    assert f"{mirrors[1].url}: HTTP 404" in message
    assert f"into {empty_cache / 'fashion-mnist'}" in message
    assert files_under(empty_cache) == []


def test_a_mirror_that_refuses_connections_cannot_be_reached(mirrors, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        small = published.PUBLISHED["fashion-mnist"]
        alone = published.Published(small.title, (url,), small.digests, small.class_names)
        monkeypatch.setitem(published.PUBLISHED, "fashion-mnist", alone)
        with pytest.raises(published.DownloadError, match=f"{url}: cannot be reached"):
            load_dataset("fashion-mnist")


def test_an_interrupted_download_keeps_complete_files_and_resumes_with_the_others(mirrors, monkeypatch, empty_cache):
    """After Ctrl-C in the third file, the first two stay, and the next run downloads only the others."""
    check = published._digest_problem
    calls = []

    def interrupted(payload, expected):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return check(payload, expected)

    monkeypatch.setattr(published, "_digest_problem", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("fashion-mnist")
    first, second, *others = FILE_NAMES.values()
    assert files_under(empty_cache) == sorted([first, second])
    mirrors[0].requests.clear()
    assert len(load_dataset("fashion-mnist").train) == 200
    assert mirrors[0].requests == others


def test_a_failed_download_leaves_no_folder(mirrors, tmp_path):
    mirrors[0].behavior = mirrors[1].behavior = "missing"
    with pytest.raises(published.DownloadError):
        load_dataset("fashion-mnist", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_slow_line_that_keeps_up_gets_the_file(monkeypatch):
    """Slower than the patience alone allows, but as fast as the slowest line that is served."""
    monkeypatch.setattr(download, "MIN_BYTES_PER_SECOND", 1)
    monkeypatch.setattr(download, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(download, "PART_BYTES", 1)
    mirror = Mirror({"small": bytes(range(40))})
    mirror.behavior = "slow"
    try:
        began = time.monotonic()
        assert download.download(f"{mirror.url}small.gz", 40) == bytes(range(40))
        assert time.monotonic() - began > 1.0
    finally:
        mirror.close()


def test_an_endless_answer_is_read_up_to_its_limit(mirrors):
    mirrors[0].behavior = mirrors[1].behavior = "endless, no length"
    with pytest.raises(published.DownloadError):
        load_dataset("fashion-mnist")
    for mirror in mirrors:
        mirror.release.set()
        assert mirror.poured < 1 << 25  # what the system's buffers hold comes on top


def test_a_gzip_bomb_takes_no_more_memory_than_the_file_that_it_claims_to_be():
    code = (
        "import gzip, resource, sys\n"
        "from lenet_multi.data import download\n"
        f"bomb = bytearray(gzip.compress(bytes({BOMB_BYTES})))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 2**25, -1))\n"
        "try:\n"
        "    download._decompressed(bomb, 1000)\n"
        "except download.DataError as problem:\n"
        "    print(problem)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert process.stdout == "more than 1,000 bytes when decompressed, expected 1,000\n", process.stderr


def test_content_that_a_server_says_is_compressed_is_taken_as_it_was_sent(mirrors, payloads):
    """Servers may describe a gzip file so; then requests would decompress it, without a limit."""
    mirrors[0].behavior = "encoded"
    assert len(load_dataset("fashion-mnist").train) == 200
    assert mirrors[1].requests == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGINT])
def test_a_download_that_is_ended_leaves_no_file(ending, mirrors, tmp_path):
    """And no folder, unless the process is killed."""
    code = (
        "import signal, sys\n"
        "from lenet_multi.data import load_dataset, published\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # nohup hands down that it is ignored
        "known = published.FASHION_MNIST\n"
        "published.PUBLISHED['fashion-mnist'] = published.Published(known.title, (sys.argv[1],), known.digests, ())\n"
        "load_dataset('fashion-mnist', sys.argv[2])\n"
    )
    mirrors[0].behavior = "slow"
    folder = tmp_path / "mine"
    process = subprocess.Popen(
        [sys.executable, "-c", code, mirrors[0].url, str(folder)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not mirrors[0].requests and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(ending)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert mirrors[0].requests == [next(iter(FILE_NAMES.values()))]
    assert files_under(folder) == []
    assert folder.exists() == (ending == signal.SIGKILL)


def test_what_a_download_that_was_killed_while_writing_left_is_removed(mirrors, empty_cache, payloads):
    folder = empty_cache / "fashion-mnist"
    folder.mkdir(parents=True)
    (folder / f".train-images-idx3-ubyte.{'0' * 16}.part").write_bytes(b"half")
    load_dataset("fashion-mnist")
    assert files_under(empty_cache) == sorted(payloads)


def test_of_several_that_start_at_once_one_downloads(mirrors, empty_cache, payloads):
    problems = []

    def load():
        try:
            load_dataset("fashion-mnist")
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert problems == []
    assert files_under(empty_cache) == sorted(payloads)
    assert mirrors[0].requests == list(FILE_NAMES.values())


def test_a_download_of_another_process_is_waited_for(mirrors, empty_cache, payloads, monkeypatch, capsys):
    monkeypatch.setattr(folder_lock, "PATIENCE_SECONDS", 0.0)
    folder, loaded, printed = empty_cache / "fashion-mnist", [], ""
    loading = threading.Thread(target=lambda: loaded.append(load_dataset("fashion-mnist")))
    with locked_folder(folder):
        loading.start()
        deadline = time.monotonic() + PATIENCE
        while "\n" not in printed and time.monotonic() < deadline:
            printed += capsys.readouterr().err
            time.sleep(0.01)
        for name, payload in payloads.items():
            (folder / name).write_bytes(payload)
    loading.join(PATIENCE)
    assert printed == f"note: another process is downloading to '{folder}': waiting for its end\n"
    assert len(loaded[0].train) == 200
    assert [mirror.requests for mirror in mirrors] == [[], []]


def test_a_download_that_takes_longer_than_it_may_is_not_waited_for(mirrors, empty_cache, monkeypatch):
    monkeypatch.setattr(folder_lock, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(published, "longest_download", lambda size: 0.0)
    folder = empty_cache / "fashion-mnist"
    with locked_folder(folder), pytest.raises(folder_lock.FolderInUseError, match="another process is using"):
        load_dataset("fashion-mnist")
    assert [mirror.requests for mirror in mirrors] == [[], []]


def test_without_a_folder_to_write_to_nothing_is_downloaded(mirrors, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(published.DownloadError, match=r"was not found on disk, and folder '.*' cannot be created"):
        load_dataset("fashion-mnist", tmp_path / "file")
    assert [mirror.requests for mirror in mirrors] == [[], []]
