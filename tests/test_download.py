"""The download code, tested against a local server with good and bad behavior."""

import gzip
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest
from conftest import write_folder

from lenet_multi.data import load_dataset, published
from lenet_multi.data.idx import FILE_NAMES


class Mirror:
    """A local mirror. `behavior` selects its answer to each request; `requests` lists the requested files."""

    def __init__(self, payloads: dict[str, bytes]) -> None:
        mirror = self
        self.behavior = "good"
        self.requests: list[str] = []
        self.release = threading.Event()

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
                truncated = mirror.behavior in ("truncated", "stalled")
                self.send_response(200)
                if mirror.behavior != "truncated, no length":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if truncated or "no length" in mirror.behavior else body)
                self.wfile.flush()
                if mirror.behavior == "stalled":
                    mirror.release.wait(30)

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
    urls = tuple(mirror.url for mirror in mirrors)
    small = published.Published("Fashion-MNIST", urls, digests, published.FASHION_MNIST.class_names)
    monkeypatch.setitem(published.PUBLISHED, "fashion-mnist", small)
    monkeypatch.setattr(published, "STALL_TIMEOUT", 0.3)
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
    "stalled": "stalled for 0.3 s",
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


def test_a_mirror_must_answer_within_a_few_seconds(mirrors, monkeypatch):
    timeouts = []

    class Downloader(pooch.HTTPDownloader):
        def __init__(self, **settings):
            timeouts.append(settings["timeout"])
            super().__init__(**settings)

    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    load_dataset("fashion-mnist")
    assert timeouts == [(published.CONNECT_TIMEOUT, published.STALL_TIMEOUT)] * 4
    assert published.CONNECT_TIMEOUT <= 5


def test_the_error_names_a_folder_that_cannot_be_written(mirrors, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(published.DownloadError, match=r"cannot be written"):
        load_dataset("fashion-mnist", tmp_path / "file")
