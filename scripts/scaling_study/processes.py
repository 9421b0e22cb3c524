"""Starts the processes of a measurement, and tells them when to go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from scaling_study import probe
from scaling_study.network import ADDRESSES, LINK, Network

from lenet_multi.backends import THREAD_VARIABLES
from lenet_multi.distributed.environment import LOCAL, Variables, environments
from lenet_multi.distributed.processes import free_ports
from lenet_multi.errors import UserError
from lenet_multi.system.parent_watch import PARENT_PIPE
from lenet_multi.system.process import child_environment

FOLDER = Path(__file__).parent
FIRST_PORT = 29500
PATIENCE = 120  # seconds for an epoch, and for the start before it
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES.values(), "1")
Task = tuple[int, int, int]  # batch size, batches in an epoch, epochs
Start = tuple[str, list[str], Variables]  # the name of a process, the words before its command, its variables
AfterEpoch = Callable[[int, float], None]  # gets the epochs done, of all tasks, and the time of a step in ms


def alone() -> list[Start]:
    """One process, which trains with the plain loop."""
    return [("worker 0", [], {})]


def on_this_machine(backend_name: str, num_workers: int) -> list[Start]:
    hosts = [LOCAL] * num_workers
    return [(name, [], variables) for name, _, variables in environments(backend_name, hosts, free_ports(num_workers))]


def on_two_hosts(backend_name: str, network: Network, device: str = LINK) -> list[Start]:
    """A worker in each namespace, connected by one of the devices. MXNet's server runs beside the first worker."""
    hosts = ADDRESSES[device]
    gloo = {"GLOO_SOCKET_IFNAME": device, "TORCH_CPP_LOG_LEVEL": "ERROR"}  # it warns that the hosts have no names
    return [
        (name, network.words(hosts.index(host)), variables | gloo)
        for name, host, variables in environments(backend_name, hosts, [FIRST_PORT, FIRST_PORT + 1])
    ]


def train(
    backend_name: str,
    starts: Sequence[Start],
    tasks: Sequence[Task],
    after_epoch: AfterEpoch,
    dataset_name: str = "fashion-mnist",
) -> None:
    """Train with the program `worker.py`, and call a function after each epoch, while the workers wait.

    Raises:
        UserError: when a process fails, or no epoch ends for a long time.
    """
    program = [sys.executable, str(FOLDER / "worker.py"), backend_name, json.dumps(tasks), dataset_name]
    reports: Queue[tuple[str, str]] = Queue()
    parent_pipe = os.pipe()
    processes: list[subprocess.Popen[str]] = []
    workers: list[subprocess.Popen[str]] = []
    try:
        for name, words, variables in starts:
            process = subprocess.Popen(
                [*words, *program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if name.startswith("worker") else subprocess.DEVNULL,
                text=True,
                process_group=0,  # Ctrl-C reaches this process only, which ends them
                pass_fds=parent_pipe[:1],
                env=child_environment() | ONE_THREAD | variables | {PARENT_PIPE: str(parent_pipe[0])},
            )
            processes.append(process)
            if name.startswith("worker"):
                workers.append(process)
                threading.Thread(target=pass_lines, args=(name, process, reports), daemon=True).start()
        for epoch in range(1, sum(epochs for _, _, epochs in tasks) + 1):
            after_epoch(epoch, slowest(backend_name, [next_report(backend_name, reports) for _ in workers]))
            for process in workers:
                assert process.stdin is not None
                process.stdin.write("go on\n")
                process.stdin.flush()
        for process in processes:
            if process.wait(PATIENCE):
                raise UserError(f"{backend_name}: a process failed at its end: see its messages above")
    except (BrokenPipeError, subprocess.TimeoutExpired):
        raise UserError(f"{backend_name}: a process has ended early, or does not end") from None
    finally:
        for process in processes:
            process.kill()
            process.wait()
            with suppress(OSError):  # what was written for a process that has ended
                assert process.stdin is not None
                process.stdin.close()
        for descriptor in parent_pipe:
            os.close(descriptor)


def pass_lines(name: str, process: subprocess.Popen[str], reports: Queue[tuple[str, str]]) -> None:
    """Put what a worker prints into a queue, and an empty text at its end."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            reports.put((name, line))
    reports.put((name, ""))


def next_report(backend_name: str, reports: Queue[tuple[str, str]]) -> dict[str, Any]:
    """What a worker reports next.

    Raises:
        UserError: when it has ended, or reports nothing.
    """
    try:
        name, line = reports.get(timeout=PATIENCE)
    except Empty:
        raise UserError(f"{backend_name}: the workers report nothing for {PATIENCE} s") from None
    if not line:
        raise UserError(f"{backend_name}: {name} failed: see its messages above")
    return json.loads(line)


def slowest(backend_name: str, reports: Sequence[dict[str, Any]]) -> float:
    """The time of a step in ms, which is that of the slowest worker.

    Raises:
        UserError: when the workers are not at the same epoch, or two of them are the same.
    """
    places = {(report["batch_size"], report["epoch"]) for report in reports}
    ranks = sorted(report["rank"] for report in reports)
    if len(places) != 1 or ranks != list(range(len(reports))):
        raise UserError(f"{backend_name}: the workers do not train together: they report {list(reports)}")
    return max(report["step_ms"] for report in reports)


def probe_link(network: Network, device: str) -> dict[str, float]:
    """Measure one of the devices as it is set now.

    Raises:
        UserError: when that fails.
    """
    program = [sys.executable, str(FOLDER / "probe.py")]
    address = ADDRESSES[device][0]
    server = subprocess.Popen([*network.words(0), *program, "serve", address])
    try:
        done = subprocess.run(
            [*network.words(1), *program, "measure", address], stdout=subprocess.PIPE, text=True, timeout=PATIENCE
        )
        if done.returncode or server.wait(probe.PATIENCE):
            raise UserError(f"the device {device} cannot be measured: see the messages above")
        return json.loads(done.stdout)
    finally:
        server.kill()
        server.wait()
