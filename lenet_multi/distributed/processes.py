"""The processes of a run on one machine: starting them, passing on what they print, and ending all if one fails."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Queue

from lenet_multi.backends.sharing import cores_each, thread_variables
from lenet_multi.distributed import LOST_CONNECTION
from lenet_multi.distributed.environment import LOCAL, Variables
from lenet_multi.system.parent_watch import PARENT_PIPE
from lenet_multi.system.process import child_environment

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


def in_shell(variables: Variables, words: Sequence[str] = ()) -> str:
    """Variables, and a command that they are set for, as a shell takes them."""
    return " ".join(
        [
            *(f"{name}={shlex.quote(value)}" for name, value in variables.items()),
            *map(shlex.quote, words),
        ]
    )


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


def run_workers(
    processes: Sequence[tuple[str, str, Variables]],
    arguments: Sequence[str],
    report: Callable[[str], None],
    advice: str,
) -> int:
    """Start processes, wait until all have ended, and end the others if one fails.

    Args:
        processes: from `environments`: name, host and variables of each. All run on this machine.
        arguments: of Python, the same for all.
        report: called with each line that tells what happens: the variables, and what the processes print to standard
            error.
        advice: what to do when the run is interrupted, or a process is killed.

    Returns:
        The exit status: 0, that of the first one that failed, or 1 if it was killed.
    """
    num_workers = sum(name.startswith("worker") for name, _, _ in processes)
    shares = thread_variables(cores_each(num_workers))
    parent_pipe = os.pipe()
    started: list[WorkerProcess] = []
    printer = ErrorPrinter(report)
    try:
        for name, _, variables in processes:
            report(f"{name}: {in_shell(variables | shares)}")
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                process_group=0,  # Ctrl-C reaches this process only, which passes it on once
                pass_fds=parent_pipe[:1],
                env=child_environment()
                | shares
                | variables
                | {PARENT_PIPE: str(parent_pipe[0])},
            )
            started.append(WorkerProcess(name, process))
            printer.follow(process)
        return wait_for_all(started, printer, report, advice)
    except (KeyboardInterrupt, SystemExit) as end:
        printer.expect_the_end()
        for each in started:
            each.process.send_signal(
                signal.SIGINT if isinstance(end, KeyboardInterrupt) else signal.SIGTERM
            )
        end_all(started)
        printer.finish()
        if isinstance(end, KeyboardInterrupt):
            raise KeyboardInterrupt(advice) from None
        raise
    finally:
        end_all(started, at_once=True)
        for descriptor in parent_pipe:
            os.close(descriptor)


def wait_for_all(
    started: Sequence[WorkerProcess],
    printer: ErrorPrinter,
    report: Callable[[str], None],
    advice: str,
) -> int:
    """Wait until all processes have ended, or one has failed: then end the others, and say which one."""
    ended: Queue[WorkerProcess] = Queue()

    def wait_for(each: WorkerProcess) -> None:
        each.process.wait()
        ended.put(each)

    for each in started:
        threading.Thread(target=wait_for, args=(each,), daemon=True).start()
    for _ in started:
        first = ended.get()
        if first.process.returncode == 0:
            continue
        # The others only miss one that was killed, and may have ended before it was seen.
        codes = {each.name: each.process.poll() for each in started}
        killed = {
            name: -code for name, code in codes.items() if code is not None and code < 0
        }
        if killed:
            printer.mute()
        for each in started:
            if codes[each.name] is None:
                each.process.terminate()
        end_all(started)
        printer.finish()
        if killed:
            name, number = next(iter(killed.items()))
            reason = f"{name} was killed by {signal.Signals(number).name}"
            report(f"error: {reason}, and the others were ended: {advice}")
        return FAILED_STATUS if killed else first.process.returncode
    printer.finish()
    return 0


def end_all(started: Sequence[WorkerProcess], at_once: bool = False) -> None:
    """Wait for workers that end, and kill those that do not, and MXNet's scheduler and server, which save nothing."""
    deadline = time.monotonic() + (0 if at_once else END_SECONDS)
    for each in started:
        try:
            each.process.wait(
                max(0.0, deadline - time.monotonic()) if each.is_worker else 0
            )
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()


class ErrorPrinter:
    """Passes on what the processes print to standard error, and of several `error:` lines those that say most.

    A line that several processes print is passed on once, and that of a lost connection only if no other says why.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._errors: list[str] = []
        self._lost = ""
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._is_muted = False
        self._is_ending = False

    def follow(self, process: subprocess.Popen[str]) -> None:
        thread = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                with self._lock:
                    self._take(line.rstrip("\n"))

    def _take(self, line: str) -> None:
        if line.startswith(f"error: {LOST_CONNECTION}"):
            self._lost = line
        elif line.startswith("error: "):
            if not self._is_muted and line not in self._errors:
                self._report(line)
            self._errors.append(line)
        elif line == "interrupted":
            pass  # the caller says so itself
        elif line.startswith("interrupted") or not self._is_ending:
            self._report(line)

    def mute(self) -> None:
        """Print no more `error:` lines."""
        self._is_muted = True

    def expect_the_end(self) -> None:
        """Pass on only errors, and what was saved: all processes are being ended.

        One that first loses its connection and is then interrupted while it ends can print a trace.
        """
        self._is_ending = True

    def finish(self) -> None:
        """Wait until all is printed that the processes wrote before they ended."""
        for thread in self._threads:
            thread.join(5)
        is_told = self._errors or self._is_muted or self._is_ending
        if self._lost and not is_told:
            self._report(self._lost)
        self._lost = ""
