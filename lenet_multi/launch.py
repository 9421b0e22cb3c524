"""Train with several worker processes that compute the run of one.

    python -m lenet_multi.launch --workers 2 -- train --backend torch --out runs/two
    python -m lenet_multi.launch --workers 4 --hosts a,b -- train --backend mxnet --out runs/four

On this machine it starts the workers, and ends them all if one fails. With `--hosts` it prints the commands to start on
each. Each framework's own tools can start the workers too: this command sets the variables that they set, and says
which. `docs/scale.md` explains them.
"""

from __future__ import annotations

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

from lenet_multi.backends import require_installed
from lenet_multi.distributed.environment import Variables, environments
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import load_run
from lenet_multi.runs.options import DEFAULTS, run_parser
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
class Started:
    """A process of the run, by its name."""

    name: str
    process: subprocess.Popen[str]


def parser() -> Parser:
    made = Parser(
        "python -m lenet_multi.launch", "Train with several workers: launch [OPTIONS] -- train [OPTIONS OF TRAIN]"
    )
    made.add_argument("--workers", type=positive_int, default=2, metavar="N", help="worker processes (default: 2)")
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
    hosts = [(args.hosts or [LOCAL])[i % len(args.hosts or [LOCAL])] for i in range(args.workers)]
    training = ["-m", "lenet_multi.train", *rest[1:]]
    if args.hosts:
        ports = [FIRST_PORT + i for i in range(args.workers)]
        for name, host, variables in environments(backend_name, hosts, ports):
            print(f"# {name}, on {host}\n{in_shell(variables, ['python', *training])}")
        return 0
    if not ON_POSIX:
        raise UserError("launch cannot start workers on Windows: set the variables that --hosts shows, and run train")
    with exit_on_termination():
        return run_workers(environments(backend_name, hosts, free_ports(args.workers)), training)


def backend_of(words: Sequence[str]) -> str:
    """The backend that `train` runs with these options.

    Raises:
        UserError: if they are wrong.
    """
    args = run_parser("python -m lenet_multi.train", "").parse_args(words)
    name = args.backend
    if name is None:
        name = load_run(args.out).backend if args.resume and args.out else DEFAULTS["backend"]
    if args.loop == "fast":
        raise UserError("the fast loop runs in one process: omit --fast")
    return require_installed(name)


def in_shell(variables: Variables, words: Sequence[str]) -> str:
    """A command with its variables, for a shell."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), shlex.join(words)])


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
    shares = {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads}
    parent_pipe = os.pipe()
    started: list[Started] = []
    printer = ErrorPrinter()
    try:
        for name, _, variables in processes:
            say(f"{name}: {in_shell(variables | shares, [])}")
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
            started.append(Started(name, process))
            printer.follow(process)
        return wait_for_all(started, printer)
    except KeyboardInterrupt:
        for each in started:
            each.process.send_signal(signal.SIGINT)
        end_all(started)
        printer.finish()
        raise
    finally:
        end_all(started, at_once=True)
        for descriptor in parent_pipe:
            os.close(descriptor)


def wait_for_all(started: Sequence[Started], printer: ErrorPrinter) -> int:
    while any(each.process.poll() is None for each in started):
        failed = next((each for each in started if each.process.poll()), None)
        if failed:
            for each in started:
                if each.process.poll() is None:
                    each.process.terminate()
            end_all(started)
            printer.finish()
            status = failed.process.returncode
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            say(f"error: {failed.name} {how}, and the others were ended: start again, with --resume if it has --out")
            return status if status > 0 else FAILED_STATUS
        time.sleep(0.05)
    printer.finish()
    return max(abs(each.process.returncode) for each in started)


def end_all(started: Sequence[Started], at_once: bool = False) -> None:
    """Wait for processes that end, and kill those that do not."""
    deadline = time.monotonic() + (0 if at_once else END_SECONDS)
    for each in started:
        try:
            each.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()


class ErrorPrinter:
    """Passes on what the processes print to standard error, and an `error:` line of several of them once."""

    def __init__(self) -> None:
        self._printed: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def follow(self, process: subprocess.Popen[str]) -> None:
        thread = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                with self._lock:
                    is_new = not line.startswith("error: ") or line not in self._printed
                    self._printed.add(line)
                    if is_new:
                        say(line.rstrip("\n"))

    def finish(self) -> None:
        """Wait until all is printed that the processes wrote before they ended."""
        for thread in self._threads:
            thread.join(5)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
