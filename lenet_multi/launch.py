"""Train with several worker processes that compute the run of one.

    python -m lenet_multi.launch --workers 2 -- train --backend torch --out runs/two
    python -m lenet_multi.launch --workers 4 --hosts a,b -- train --backend torch --out runs/four

On this machine it starts the workers, and ends them all if one fails. With `--hosts` it prints the commands to start on
each. Each framework's own tools can start the workers too: this command sets the variables that they set, and says
which. `docs/scale.md` explains them.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from queue import Queue

from lenet_multi.backends import require_installed
from lenet_multi.distributed.environment import Variables, environments
from lenet_multi.errors import UserError
from lenet_multi.runs.options import run_parser
from lenet_multi.runs.selection import selected_backend
from lenet_multi.system.child_processes import ON_POSIX
from lenet_multi.system.command import run_command
from lenet_multi.system.machine import available_cores
from lenet_multi.system.option_parser import Parser, name_list, positive_int
from lenet_multi.system.parent_watch import PARENT_PIPE
from lenet_multi.system.process import child_environment
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say

FIRST_PORT = 29500  # on several hosts; torchrun's default
LOCAL = "127.0.0.1"
END_SECONDS = 10  # for the others to end, after one has failed
FAILED_STATUS = 1


@dataclass
class WorkerProcess:
    """A process of the run, by its name. MXNet has a scheduler and a server besides its workers."""

    name: str
    process: subprocess.Popen[str]

    @property
    def is_worker(self) -> bool:
        return self.name.startswith("worker")


def parser() -> Parser:
    made = Parser(
        "python -m lenet_multi.launch", "Train with several workers: launch [OPTIONS] -- train [OPTIONS OF TRAIN]"
    )
    made.add_argument(
        "--workers", type=positive_int, metavar="N", help="worker processes (default: one for each host, or 2)"
    )
    made.add_argument(
        "--hosts",
        type=name_list,
        metavar="A,B",
        help="print the commands that start the workers on these hosts, in turn; nothing is started",
    )
    return made


def command(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    at = words.index("--") if "--" in words else len(words)
    args, rest = parser().parse_args(words[:at]), words[at + 1 :]
    if not rest or rest[0] != "train":
        raise UserError("launch needs a command after --, as in: launch --workers 2 -- train --backend torch")
    backend_name = backend_of(rest[1:])
    num_workers = args.workers or (len(args.hosts) if args.hosts else 2)
    hosts = list(islice(cycle(args.hosts or [LOCAL]), num_workers))
    training = ["-m", "lenet_multi.train", *rest[1:]]
    if args.hosts:
        require_addresses(backend_name, hosts)
        ports = [FIRST_PORT + i for i in range(num_workers)]
        for name, host, variables in environments(backend_name, hosts, ports):
            print(f"# {name}, on {host}\n{in_shell(variables, ['python', *training])}")
        return 0
    if not ON_POSIX:
        raise UserError("launch cannot start workers on Windows: set the variables that --hosts shows, and run train")
    with exit_on_termination():
        return run_workers(environments(backend_name, hosts, free_ports(num_workers)), training)


def backend_of(words: Sequence[str]) -> str:
    """The backend that `train` runs with these options.

    Raises:
        UserError: if they are wrong.
    """
    args = run_parser("python -m lenet_multi.train", "").parse_args(words)
    if args.loop == "fast":
        raise UserError("the fast loop runs in one process: omit --fast")
    return require_installed(selected_backend(args))


def require_addresses(backend_name: str, hosts: Sequence[str]) -> None:
    """Refuse names of hosts for MXNet, which listens at addresses only."""
    for host in hosts if backend_name == "mxnet" else ():
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise UserError(f"--hosts: MXNet needs addresses, such as 192.168.0.2, not names such as {host}") from None


def in_shell(variables: Variables, words: Sequence[str] = ()) -> str:
    """Variables, and a command that they are set for, as a shell takes them."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), *map(shlex.quote, words)])


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOCAL, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def run_workers(processes: Sequence[tuple[str, str, Variables]], training: Sequence[str]) -> int:
    """Start processes, wait until all have ended, and end the others if one fails.

    Returns:
        The exit status: 0, that of the first one that failed, or 1 if it was killed.
    """
    threads = str(max(1, available_cores() // sum(name.startswith("worker") for name, _, _ in processes)))
    shares = {name: os.environ.get(name, threads) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    parent_pipe = os.pipe()
    started: list[WorkerProcess] = []
    printer = ErrorPrinter()
    try:
        for name, _, variables in processes:
            say(f"{name}: {in_shell(variables | shares)}")
            process = subprocess.Popen(
                [sys.executable, *training],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                process_group=0,  # Ctrl-C reaches this process only, which passes it on once
                pass_fds=parent_pipe[:1],
                env=child_environment() | shares | variables | {PARENT_PIPE: str(parent_pipe[0])},
            )
            started.append(WorkerProcess(name, process))
            printer.follow(process)
        return wait_for_all(started, printer)
    except (KeyboardInterrupt, SystemExit) as end:
        for each in started:
            each.process.send_signal(signal.SIGINT if isinstance(end, KeyboardInterrupt) else signal.SIGTERM)
        end_all(started)
        printer.finish()
        raise
    finally:
        end_all(started, at_once=True)
        for descriptor in parent_pipe:
            os.close(descriptor)


def wait_for_all(started: Sequence[WorkerProcess], printer: ErrorPrinter) -> int:
    """Wait until all processes have ended, or one has failed: then end the others, and say which one."""
    ended: Queue[WorkerProcess] = Queue()

    def wait_for(each: WorkerProcess) -> None:
        each.process.wait()
        ended.put(each)

    for each in started:
        threading.Thread(target=wait_for, args=(each,), daemon=True).start()
    for _ in started:
        first = ended.get()
        status = first.process.returncode
        if status == 0:
            continue
        if status < 0:
            printer.mute()  # the others only miss this one
        for each in started:
            if each.process.poll() is None:
                each.process.terminate()
        end_all(started)
        printer.finish()
        if status < 0:
            say(
                f"error: {first.name} was killed by {signal.Signals(-status).name}, and the others were ended: start "
                "again, with --resume if the run has --out"
            )
        return status if status > 0 else FAILED_STATUS
    printer.finish()
    return 0


def end_all(started: Sequence[WorkerProcess], at_once: bool = False) -> None:
    """Wait for workers that end, and kill those that do not, and MXNet's scheduler and server, which save nothing."""
    deadline = time.monotonic() + (0 if at_once else END_SECONDS)
    for each in started:
        try:
            each.process.wait(max(0.0, deadline - time.monotonic()) if each.is_worker else 0)
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()


class ErrorPrinter:
    """Passes on what the processes print to standard error, and an `error:` line of several of them once."""

    def __init__(self) -> None:
        self._printed: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._is_muted = False

    def follow(self, process: subprocess.Popen[str]) -> None:
        thread = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                with self._lock:
                    is_error = line.startswith("error: ")
                    is_repeated = is_error and (self._is_muted or line in self._printed)
                    self._printed.add(line)
                    if not is_repeated:
                        say(line.rstrip("\n"))

    def mute(self) -> None:
        """Print no more `error:` lines."""
        self._is_muted = True

    def finish(self) -> None:
        """Wait until all is printed that the processes wrote before they ended."""
        for thread in self._threads:
            thread.join(5)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
