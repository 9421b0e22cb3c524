"""Trains the runs of a comparison on a Ray cluster, or with a Ray that is started on this machine.

`ray_driver` runs in a process of its own and talks to Ray; `ray_task` runs on the nodes. The files of a run come home
through them, and only this process writes to the comparison's folder.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Pipe
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from lenet_multi.comparison.case_runs import Case, Finished, report_complete
from lenet_multi.comparison.progress import Progress
from lenet_multi.comparison.ray_task import PACKAGE, Files, RemoteCase, Setup, Terms, files_of
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT
from lenet_multi.runs.outputs import locked_run
from lenet_multi.runs.tensorboard import EVENTS
from lenet_multi.runs.weights import weights_file
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.child_processes import ON_POSIX, SHUTDOWN_SECONDS, ChildProcess
from lenet_multi.system.machine import version_of
from lenet_multi.system.signals import exit_on_termination, ignore_sigint

CONNECT_SECONDS = 4  # for the port of a cluster to answer
START_SECONDS = 60  # for Ray to start
JOIN_SECONDS = 20  # for a cluster to take a driver; it takes about two
# A Ray of this machine listens on 127.0.0.1 only with the setting that Ray has for Windows and macOS. The token keeps
# other users of this machine out.
LOCAL_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "error"}

Message = tuple[str, str, Any]


def require_ray(address: str | None) -> None:
    """Check that Ray is installed, and that something listens at the address.

    Raises:
        UserError: when not.
    """
    if not ON_POSIX:
        raise UserError("--engine ray needs Linux or macOS: use --jobs")
    if version_of("ray") is None:
        raise UserError('--engine ray needs Ray: pip install "lenet-multi[ray]"')
    if address is None or address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16) or "/" in host:
        raise UserError(f"--address '{address}', expected auto or HOST:PORT, as in 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as problem:
        raise UserError(
            f"--address {address}: no Ray cluster can be reached there ({problem.strerror or problem}): start one with "
            "'ray start --head', or omit --address"
        ) from problem


class RayCluster:
    """A connection to Ray: a context manager that ends it, and a Ray that it has started.

    Args:
        jobs: how many cases run at a time; None for as many as there are cores.
        address: of a running cluster; None to start Ray on this machine.
        digest: of the data.

    Raises:
        UserError: when Ray does not start, or the cluster cannot be reached.
    """

    def __init__(self, jobs: int | None, address: str | None, digest: str) -> None:
        self._setup = Setup(jobs, address, Terms(digest, version_of(PACKAGE)))
        self._where = "on this machine" if address is None else f"at {address}"
        self._messages: Queue[Message | None] = Queue()
        self._session = ""

    def __enter__(self) -> RayCluster:
        self._connection, theirs = Pipe()
        local = LOCAL_RAY | {"RAY_AUTH_TOKEN": secrets.token_hex(32)} if self._setup.address is None else {}
        command = [sys.executable, "-m", "lenet_multi.comparison.ray_driver", str(theirs.fileno())]
        self._driver = ChildProcess(command, QUIET | local, pass_fds=[theirs.fileno()])
        theirs.close()
        self._reader = threading.Thread(target=self._driver.read_all, daemon=True)
        self._receiver = threading.Thread(target=self._receive_all, daemon=True)
        try:
            self._reader.start()
            self._receiver.start()
            self._connection.send(self._setup)
            kind, told, _ = self._receive(JOIN_SECONDS if self._setup.address else START_SECONDS)
            if kind == "failed":
                raise self._lost(told)
            self._session = told
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.kill(with_group=True)
        for thread in (self._reader, self._receiver):
            if thread.is_alive():
                thread.join(1)
        self._connection.close()
        self._driver.close()
        if self._session:
            shutil.rmtree(self._session, ignore_errors=True)

    def train(self, cases: Sequence[Case], finished: Finished) -> None:
        """Train the cases as tasks of Ray, and show how many have ended."""
        waiting = {case.name: case for case in report_complete(cases, finished)}
        with exit_on_termination(), Progress(len(cases), len(cases) - len(waiting)) as progress:
            self._connection.send([remote_case(case) for case in waiting.values()])
            try:
                while waiting:
                    kind, name, outcome = self._receive()
                    if kind == "started":
                        progress.started()
                        continue
                    case = waiting[name]
                    with ignore_sigint():
                        store(case.folder, outcome.files)
                        del waiting[name]
                    progress.ended(name, outcome.reason, outcome.printed)
                    finished(case, outcome.reason)
                self._receive(CONNECT_SECONDS)  # that all is over: then the driver leaves the cluster
                self._reader.join(CONNECT_SECONDS)
            except (KeyboardInterrupt, SystemExit):
                self._stop(waiting)
                raise

    def _stop(self, running: dict[str, Case]) -> None:
        """Stop the cases that run, and keep what they have saved."""
        deadline = time.monotonic() + SHUTDOWN_SECONDS + CONNECT_SECONDS  # the nodes wait for the first
        with suppress(OSError, UserError):
            self._connection.send("stop")
            while True:
                kind, name, outcome = self._receive(max(0.0, deadline - time.monotonic()))
                if kind == "over":
                    return
                if kind == "ended" and name in running:
                    store(running[name].folder, outcome.files)

    def _receive_all(self) -> None:
        """Take the messages of the driver, in a thread: an interrupt cannot cut one of them in two."""
        with suppress(EOFError, OSError):
            while True:
                self._messages.put(self._connection.recv())
        self._messages.put(None)

    def _receive(self, seconds: float | None = None) -> Message:
        """The next message of the driver.

        Raises:
            UserError: when there is none in time, or the driver has ended.
        """
        try:
            message = self._messages.get(timeout=seconds)
        except Empty:
            raise self._lost(f"no answer within {seconds:.0f} s") from None
        if message is None:
            self._reader.join(1)
            raise self._lost(self._driver.failure() or "its process has ended")
        return message

    def _lost(self, reason: str) -> UserError:
        advice = "use --jobs" if self._setup.address is None else "check 'ray status', or use --jobs"
        return UserError(f"Ray {self._where} failed ({reason}): {advice}")


def remote_case(case: Case) -> RemoteCase:
    """A case as it travels: with the files that its options name, and those of the run that it resumes."""
    options = dict(text.removeprefix("--").partition("=")[::2] for text in case.arguments)
    weights = weights_file(options["weights"]) if "weights" in options else None
    if "data-dir" in options:
        options["data-dir"] = str(Path(options["data-dir"]).absolute())
    return RemoteCase(
        case.name,
        str(case.folder),
        [
            f"--{name}={value}" if value else f"--{name}"
            for name, value in options.items()
            if name not in ("out", "weights")
        ],
        files_of(case.folder) if "resume" in options else {},
        (weights.name, content_of(weights)) if weights else None,
        options.get("device") != "cpu",
    )


@cache
def content_of(path: Path) -> bytes:
    """The content of a file, which many cases may share."""
    return path.read_bytes()


def store(folder: Path, files: Files) -> None:
    """Write the files of a run: a new run as a whole, one that was resumed so that its checkpoint is old or new."""
    if not files:
        return
    if not folder.exists():
        temporary = folder.with_name(f".{folder.name[:50]}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        _write(temporary, files)
        temporary.rename(folder)
        return
    with locked_run(folder):
        _write(folder, files)


def _write(folder: Path, files: Files) -> None:
    # As `train` does: first the events, then the checkpoint, then what is derived from it.
    def rank(name: str) -> tuple[bool, bool]:
        return not name.startswith(EVENTS), name != CHECKPOINT

    for name in sorted(files, key=rank):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, files[name])
