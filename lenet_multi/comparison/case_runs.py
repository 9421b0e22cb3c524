"""How the runs of a comparison are trained: one after the other, or several at a time on this machine.

`ray_engine` is another way. Each takes the cases and a function, and calls the function when a case has ended, in the
thread that it was called in: only that thread writes to the comparison's folder.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from lenet_multi.backends.sharing import cores_each, job_variables
from lenet_multi.comparison.progress import Progress
from lenet_multi.runs.checkpoint import Run
from lenet_multi.system import child_processes
from lenet_multi.system.child_processes import ChildProcess, stop_all
from lenet_multi.system.option_parser import option_words
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say

ENGINES = ("processes", "ray")


@dataclass(frozen=True)
class SweepEngine:
    """What trains the runs.

    Args:
        name: one of `ENGINES`.
        jobs: how many runs to train at a time; None for one, or for as many as Ray has cores.
        address: of the Ray cluster; None to start Ray on this machine.
    """

    name: str = "processes"
    jobs: int | None = None
    address: str | None = None

    @property
    def words(self) -> list[str]:
        """The options of the command that select it."""
        words = [] if self.name == "processes" else ["--engine", self.name]
        words += ["--jobs", str(self.jobs)] if self.jobs else []
        return words + (option_words("address", self.address) if self.address else [])


IN_TURN = SweepEngine()


@dataclass(frozen=True)
class Case:
    """A run of the comparison that may have to be trained.

    Args:
        name: of the run.
        folder: of the run.
        arguments: of `train`, as `--name=value`, or `--name` for an option without a value.
        complete: the run, if it has all its epochs: it is not trained.
    """

    name: str
    folder: Path
    arguments: list[str]
    complete: Run | None

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "lenet_multi.train", *self.arguments]


Finished = Callable[[Case, "str | None"], None]  # takes a case and the reason why it failed, or None
TrainCases = Callable[[Sequence[Case], Finished], None]


def train_in_turn(cases: Sequence[Case], finished: Finished) -> None:
    """Train one case after the other, and show what each prints."""
    for number, case in enumerate(cases):
        say(f"[{number + 1}/{len(cases)}] {case.name}")
        if case.complete:
            say(f"epochs done: {case.complete.epochs_done} of {case.complete.settings.epochs}")
        reason = None if case.complete else child_processes.run_in_process(case.command)
        if reason:
            say(f"failed: {reason}")
        finished(case, reason)


def train_side_by_side(cases: Sequence[Case], finished: Finished, jobs: int) -> None:
    """Train several cases at a time, each in a process with its share of the cores, and show how many have ended.

    Args:
        cases: all of them.
        finished: called in this thread.
        jobs: how many processes run at a time.
    """
    waiting = report_complete(cases, finished)
    variables = job_variables(cores_each(jobs), jobs)
    running: dict[str, tuple[ChildProcess, threading.Thread]] = {}
    ended: Queue[Case] = Queue()

    def read(case: Case, child: ChildProcess) -> None:
        child.read_all()
        ended.put(case)

    with exit_on_termination(), Progress(len(cases), len(cases) - len(waiting)) as progress:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    case = waiting.pop(0)
                    child = ChildProcess(case.command, variables)
                    reader = threading.Thread(target=read, args=(case, child), daemon=True)
                    reader.start()
                    running[case.name] = child, reader
                    progress.started()
                case = ended.get()
                with running.pop(case.name)[0] as child:
                    reason = child.failure()
                progress.ended(case.name, reason, child.printed)
                finished(case, reason)
        except BaseException:
            stop_all([child for child, _ in running.values()], [reader for _, reader in running.values()])
            raise


def report_complete(cases: Sequence[Case], finished: Finished) -> list[Case]:
    """Report the cases that are complete already, and return the others."""
    for case in cases:
        if case.complete:
            finished(case, None)
    return [case for case in cases if not case.complete]
