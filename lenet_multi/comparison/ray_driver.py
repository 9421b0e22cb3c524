"""The process of a comparison that talks to Ray, so that no other has to import it.

Ray sets handlers of signals, prints, and starts processes that outlive their parent. All of that stays in the group of
this process, which ends with the comparison. It takes and sends messages through a pipe: `ray_engine` is at the other
end.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from lenet_multi.backends.sharing import cores_each
from lenet_multi.comparison.ray_task import Outcome, RemoteCase, Setup, Terms, train_case
from lenet_multi.system.parent_watch import end_with_parent

MAX_RETRIES = 3  # of a case whose node was lost
MOST_ON_GPU = 8  # cases that share a GPU: each of them needs a few hundred megabytes for its framework
LOOK_SECONDS = 0.1  # between two looks at the pipe


def gpu_share(num_gpus: int, jobs: int) -> float:
    """The part of a GPU for each of `jobs` cases at a time."""
    cases = min(MOST_ON_GPU, -(-jobs // num_gpus))
    return int(10_000 / cases) / 10_000  # Ray counts in ten-thousandths


def threads_of_cluster(cores: list[int], jobs: int | None) -> tuple[int, int]:
    """How many cases run at a time on nodes with these cores, and the cores of each, so that all find a place."""
    at_a_time = jobs or max(1, sum(cores))
    choices = range(max(cores, default=1), 1, -1)
    return at_a_time, next((n for n in choices if sum(each // n for each in cores) >= at_a_time), 1)


class Driver:
    """Runs cases as tasks of Ray.

    Args:
        ray: the module.
        connection: to the comparison.
        setup: what it asks for.
    """

    def __init__(self, ray: Any, connection: Connection, setup: Setup) -> None:
        self.ray, self.connection = ray, connection
        self.session = ""  # the folder of the logs of a Ray that was started here
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if setup.address is None:
            num_threads = cores_each(setup.jobs) if setup.jobs else 1
            self.jobs = setup.jobs or cores_each(1)
            # As many cores as the cases at a time need, so that Ray starts no more of them.
            started = ray.init(address="local", num_cpus=self.jobs * num_threads, include_dashboard=False, **quiet)
            self.session = started.address_info["session_dir"]
        else:
            ray.init(address=setup.address, **quiet)
        nodes = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
        if setup.address is not None:
            self.jobs, num_threads = threads_of_cluster(list(nodes.values()), setup.jobs)
        self.num_gpus = int(ray.cluster_resources().get("GPU", 0))
        jobs = 0 if setup.address else self.jobs
        self.terms = replace(setup.terms, num_threads=num_threads, jobs=jobs, cores=nodes)

    def submit(self, case: RemoteCase) -> Any:
        """Hand a case over to Ray, and return the reference to its outcome."""
        task = self.ray.remote(run_task).options(
            name=case.name,
            num_cpus=self.terms.num_threads,
            num_gpus=gpu_share(self.num_gpus, self.jobs) if case.uses_gpu and self.num_gpus else None,
            max_retries=MAX_RETRIES,
            scheduling_strategy="SPREAD",
        )
        return task.remote(case, self.terms)

    def outcome(self, reference: Any) -> Outcome:
        """The outcome of a case that has ended, or that Ray has given up."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.TaskCancelledError:
            return Outcome("interrupted")
        except errors.RayTaskError as problem:
            return Outcome(f"Ray could not run it: {last_line(problem)}")
        except errors.RayError as problem:
            return Outcome(f"Ray gave up after {MAX_RETRIES + 1} tries ({type(problem).__name__})")

    def run(self, cases: list[RemoteCase]) -> None:
        """Run all cases, and send what happens; after a message of the comparison, stop those that run."""
        waiting = deque(cases)
        running: dict[Any, str] = {}
        while waiting or running:
            while waiting and len(running) < self.jobs:
                case = waiting.popleft()
                running[self.submit(case)] = case.name
                self.connection.send(("started", case.name, None))
            for reference in self.ray.wait(list(running), timeout=LOOK_SECONDS)[0]:
                self.connection.send(("ended", running.pop(reference), self.outcome(reference)))
            if self.connection.poll():
                self.connection.recv()
                waiting.clear()
                for reference in running:
                    self.ray.cancel(reference)


def run_task(case: RemoteCase, terms: Terms) -> Outcome:
    import ray

    return train_case(case, terms, ray.get_runtime_context().get_node_id())


def last_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1] if lines else type(problem).__name__


def main() -> None:
    end_with_parent(with_group=True)
    connection = Connection(int(sys.argv[1]))
    try:
        import ray

        driver = Driver(ray, connection, connection.recv())
    except Exception as problem:  # whatever Ray raises when it cannot start or connect
        connection.send(("failed", last_line(problem), None))
        return
    connection.send(("ready", driver.session, None))
    driver.run(connection.recv())
    connection.send(("over", "", None))
    ray.shutdown()


if __name__ == "__main__":
    # Ray sends functions of `__main__` by value: use those of the module that the nodes import.
    from lenet_multi.comparison import ray_driver

    ray_driver.main()
