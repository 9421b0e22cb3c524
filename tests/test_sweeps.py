"""Sweeps: several runs of a comparison at a time, in processes of this machine and as tasks of Ray."""

import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import listening_addresses, needs, write_folder

from lenet_multi import compare
from lenet_multi.backends.sharing import CORES, cores_each, job_variables, jobs_at_a_time, node_name, thread_variables
from lenet_multi.comparison import ray_engine
from lenet_multi.comparison.progress import ERASE, Progress
from lenet_multi.comparison.ray_driver import gpu_share, threads_of_cluster
from lenet_multi.comparison.ray_engine import store
from lenet_multi.comparison.ray_task import Outcome, RemoteCase, Terms, files_of, train_case
from lenet_multi.data import load_dataset
from lenet_multi.distributed.processes import free_ports
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint
from lenet_multi.runs.weights import load_weights, save_weights
from lenet_multi.system import child_processes
from lenet_multi.system.machine import available_cores, version_of
from lenet_multi.system.process import child_environment

EPOCHS = 40  # some seconds: a run must not end before the other has begun
SEEDS = (0, 1)
PATIENCE = 120  # seconds until a process that does not get anywhere fails the test
needs_ray = pytest.mark.skipif(version_of("ray") is None, reason="needs Ray")
pytestmark = needs("torch")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The same number of threads in all processes, and few: several of them share the machine here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> list[str]:
    data = write_folder(tmp_path_factory.mktemp("data") / "some", num_train=1000)
    network = ["--conv-channels=2", "--dense-units=12", "--activation=tanh"]
    return [f"--dataset={data}", "--batch-size=16", "--lr=0.05", "--device=cpu", *network]


@pytest.fixture(scope="module")
def long(options) -> list[str]:
    """The options of a comparison that takes long enough to be interrupted."""
    return [*options, f"--epochs={EPOCHS}", f"--vary=seed={','.join(map(str, SEEDS))}"]


@pytest.fixture(scope="module")
def in_turn(long, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("in-turn") / "out"
    assert compare.main([*long, "--out", str(out)]) == 0
    return out


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts comparisons; none outlives its test."""
    processes = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "lenet_multi.compare", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**child_environment(), **variables},
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def epochs_done(folder: Path) -> int:
    """The epochs of a run that may not have begun, or be gone."""
    try:
        return load_checkpoint(folder)[0].epochs_done
    except (UserError, OSError):
        return 0


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process has started, and those that they have started: their start times by their ids."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            parents[int(status.parent.name)] = int(fields[1]), fields[19]
    found: dict[int, str] = {}
    level = {pid}
    while level:
        level = {child for child, (parent, _) in parents.items() if parent in level}
        found |= {child: parents[child][1] for child in level}
    return found


def is_running(pid: int, started: str) -> bool:
    """Whether a process is still there, and not only its exit status."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and fields[19] == started


def require_all_end(processes: dict[int, str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid, started in processes.items() if is_running(pid, started)]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
        time.sleep(0.02)


def require_same_runs(out: Path, expected: Path) -> None:
    """The folders of two comparisons hold the same runs, bit for bit."""
    for seed in SEEDS:
        (run, parameters), (other, others) = (load_checkpoint(folder / f"seed-{seed}") for folder in (out, expected))
        assert run.points == other.points
        for name, value in others.items():
            np.testing.assert_array_equal(parameters[name], value)
    assert {path.name for path in out.iterdir()} == {path.name for path in expected.iterdir()}


def stored(out: Path) -> dict:
    return json.loads((out / "compare.json").read_text())


# Several processes


def test_a_process_gets_its_share_of_the_cores_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    assert thread_variables(2) == {"OMP_NUM_THREADS": "2", "TF_NUM_INTRAOP_THREADS": "5", "PJRT_NPROC": "2"}
    assert cores_each(10**6) == 1
    cores = available_cores()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "6")
    for name, value in job_variables(1, 3, "node").items():
        monkeypatch.setenv(name, value)
    assert (os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["MALLOC_TRIM_THRESHOLD_"]) == (str(2**25), "6")
    assert (available_cores(), jobs_at_a_time(), node_name()) == (1, 3, "node")
    monkeypatch.setenv(CORES, str(10**5))
    assert available_cores() == cores
    for wrong in ("0", "-1", "x", ""):
        monkeypatch.setenv("LENET_MULTI_JOBS", wrong)
        monkeypatch.setenv(CORES, wrong)
        assert (available_cores(), jobs_at_a_time()) == (cores, 1)


def test_interrupted_and_resumed_runs_side_by_side_are_those_in_turn(start, long, in_turn, tmp_path):
    out = tmp_path / "out"
    process = start(*long, "--jobs=2", "--out", str(out))
    wait_for(lambda: all(epochs_done(out / f"seed-{seed}") for seed in SEEDS), process)
    children = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    require_all_end(children)
    words = [sys.executable, "-m", "lenet_multi.compare", "--resume", "--out", str(out), "--jobs", "2"]
    assert errors == f"interrupted: '{out}' keeps what was trained; continue with: {' '.join(words)}\n"
    assert [run["state"] for run in stored(out)["runs"]] == ["waiting"] * 2
    assert all((out / f"seed-{seed}" / "summary.json").exists() for seed in SEEDS)  # they have ended as asked

    resumed = start(*words[3:])
    printed, errors = resumed.communicate(timeout=PATIENCE)
    assert resumed.returncode == 0, errors
    require_same_runs(out, in_turn)
    lines = errors.splitlines()
    assert sorted(line.partition(": ")[2] for line in lines[:2]) == ["seed=0", "seed=1"]
    assert [line.partition(":")[0] for line in lines[:2]] == [
        "done 1, running 1, failed 0 of 2",
        "done 2, running 0, failed 0 of 2",
    ]
    for row in printed.splitlines()[1:3]:
        assert row.count("*") == 3
    assert "note: * measured on a shared machine, with up to 2 runs at a time" in printed


def test_speed_on_a_shared_machine_is_marked_also_when_the_run_is_used_again(options, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    sweep = [*options, "--epochs=1", "--vary=seed=0,1", "--out", str(out)]
    assert compare.main([*sweep, "--jobs=2"]) == 0
    report, described = (out / "report.html").read_text(), stored(out)
    marked = capsys.readouterr().out
    assert [run["shared"] for run in described["runs"]] == [True, True]
    assert [run["summary"]["segments"][-1]["jobs"] for run in described["runs"]] == [2, 2]
    assert report.count("*</td>") == 6
    assert "Note: * measured on a shared machine" in report
    # A run alone, beside the two: it is not marked.
    assert compare.main(["--resume", "--vary=seed=0,1,2", "--out", str(out)]) == 0
    assert [run["shared"] for run in stored(out)["runs"]] == [True, True, False]
    monkeypatch.setattr(child_processes, "run_in_process", lambda command: pytest.fail(f"ran {command}"))
    capsys.readouterr()
    assert compare.main(["--resume", "--vary=seed=0,1", "--out", str(out)]) == 0
    assert capsys.readouterr().out == marked
    # The checkpoint of an earlier version does not say how many runs there were.
    for seed in (0, 1):
        parameters, metadata = load_weights(out / f"seed-{seed}")
        for segment in metadata["run"]["segments"]:
            del segment["jobs"], segment["node"]
        save_weights(out / f"seed-{seed}" / CHECKPOINT, parameters, metadata)
    assert compare.main(["--resume", "--out", str(out)]) == 0
    assert "*" not in capsys.readouterr().out


def test_from_python_a_case_that_fails_leaves_the_others(options, tmp_path, capsys):
    given = dict(option.removeprefix("--").split("=") for option in options if "--lr" not in option)
    named = {name.replace("-", "_"): value for name, value in given.items()}
    result = compare.compare(tmp_path / "out", vary={"lr": ["3e38", "0.1"]}, jobs=2, epochs=1, **named)
    assert result.failed
    assert [result.run is not None for result in result.results] == [False, True]
    assert "try a smaller --lr" in str(result.results[0].reason)
    errors = capsys.readouterr().err
    assert f"failed: lr=3e38: {result.results[0].reason}\n" in errors
    assert "done 1, running 0, failed 1 of 2" in errors
    assert [run["state"] for run in stored(tmp_path / "out")["runs"]] == ["failed", "done"]
    assert compare.main(["--resume", "--jobs=2", "--out", str(tmp_path / "out")]) == 1


def test_a_killed_comparison_leaves_no_process(start, long, tmp_path):
    out = tmp_path / "out"
    process = start(*long, "--epochs=5000", "--jobs=2", "--out", str(out))
    wait_for(lambda: all(epochs_done(out / f"seed-{seed}") for seed in SEEDS), process)
    children = descendants(process.pid)
    assert len(children) == 2
    process.kill()
    process.wait(PATIENCE)
    require_all_end(children)
    assert not any((out / f"seed-{seed}" / "summary.json").exists() for seed in SEEDS)  # they ended at once


# The progress line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_that_is_drawn_anew(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(24, done=11) as progress:
        progress.started()
        progress.started()
        progress.ended("a", None, "epoch 1\nwarning: no curves\nwarnings: 3\n")
        progress.ended("b", "out of memory")
    lines = [line.rpartition(ERASE)[2] for line in screen.getvalue().split("\n")]
    assert lines == [
        "warning: a: no curves",
        "failed: b: out of memory",
        "done 12, running 0, failed 1 of 24",
        "",
    ]
    assert screen.getvalue().startswith(f"done 11, running 1, failed 0 of 24{ERASE}done 11, running 2, failed 0 of 24")


def test_elsewhere_each_run_that_ends_is_a_line(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with Progress(2) as progress:
        progress.started()
        progress.ended("a", None)
    assert written.getvalue() == "done 1, running 0, failed 0 of 2: a\n"


# Ray


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for the names of Ray's sockets."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@needs_ray
def test_interrupted_on_ray_runs_keep_their_epochs_and_go_on_without_ray(start, long, in_turn, short_folder, tmp_path):
    out, nodes = tmp_path / "out", short_folder
    process = start(*long, "--engine=ray", "--jobs=2", "--same-start", "--out", str(out), TMPDIR=str(nodes))
    wait_for(lambda: len([run for run in nodes.glob("lenet_multi-*/run") if epochs_done(run)]) == 2, process)
    assert not any((out / f"seed-{seed}").exists() for seed in SEEDS)
    processes = descendants(process.pid)
    listening = listening_addresses(processes)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    require_all_end(processes)
    assert [path for path in nodes.iterdir() if path.name.startswith("lenet_multi-")] == []
    (line,) = errors.splitlines()[1:]  # the first one is about the weights that all start from
    assert line.endswith(f"--resume --out {out} --engine ray --jobs 2")
    assert listening
    assert listening == {"127.0.0.1"}
    before = [epochs_done(out / f"seed-{seed}") for seed in SEEDS]
    assert all(0 < done < EPOCHS for done in before)

    assert compare.main(["--resume", "--out", str(out)]) == 0
    for seed, done in zip(SEEDS, before, strict=True):
        first, second = load_checkpoint(out / f"seed-{seed}")[0].segments
        assert (first.epochs_done, first.jobs, first.node) == (done, 2, "")
        assert (second.first_epoch, second.epochs_done, second.jobs) == (done, EPOCHS, 1)
    # The first run starts from its own weights with --same-start too.
    found, expected = (load_checkpoint(folder / "seed-0")[0].points for folder in (out, in_turn))
    assert found == expected


def test_an_address_that_others_can_reach_is_seen():
    """A known wrong address, for the test above."""
    with socket.create_server(("", 0)), socket.create_server(("127.0.0.1", 0)):
        assert {"0.0.0.0", "127.0.0.1"} <= listening_addresses([os.getpid()])


class Cluster:
    """A Ray cluster of nodes with one core, all on this machine. Each has a folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.add("--head", f"--port={self.port}", "--include-dashboard=false")
        self.add(f"--address=127.0.0.1:{self.port}")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def temporary(self, number: int) -> Path:
        return self.folder / str(number)

    def add(self, *arguments: str) -> None:
        temporary = self.temporary(len(self.nodes))
        temporary.mkdir()
        log = temporary / "log.txt"
        words = ["start", "--block", "--num-cpus=1", f"--temp-dir={self.folder}", "--node-ip-address=127.0.0.1"]
        code = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        with log.open("wb") as file:
            node = subprocess.Popen(
                [sys.executable, "-c", code, *words, *arguments, "--min-worker-port=0", "--max-worker-port=0"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
                env=child_environment() | {"TMPDIR": str(temporary), "RAY_USAGE_STATS_ENABLED": "0"} | self.access,
            )
        self.nodes.append(node)
        deadline = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self, number: int) -> None:
        processes = descendants(self.nodes[number].pid)
        with suppress(ProcessLookupError):
            os.killpg(self.nodes[number].pid, signal.SIGKILL)
        self.nodes[number].wait(PATIENCE)
        require_all_end(processes)


@pytest.fixture
def cluster(short_folder) -> Iterator[Cluster]:
    made = Cluster(short_folder)
    yield made
    for number in reversed(range(len(made.nodes))):
        made.kill(number)


@needs_ray
def test_the_case_of_a_lost_node_is_run_again_and_none_twice(cluster, start, long, in_turn, tmp_path):
    out = tmp_path / "out"
    process = start(*long, "--engine=ray", "--address", cluster.address, "--out", str(out), **cluster.access)
    runs = [cluster.temporary(number) for number in (0, 1)]
    wait_for(lambda: all(any(map(epochs_done, run.glob("lenet_multi-*/run"))) for run in runs), process)
    cluster.kill(1)
    assert list(runs[1].glob("lenet_multi-*/run"))  # the node was lost in the middle of a case
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert [line.split(":")[0] for line in errors.splitlines()[:2]] == [
        "done 1, running 1, failed 0 of 2",
        "done 2, running 0, failed 0 of 2",
    ]
    assert len(errors.splitlines()) == 4  # nothing of Ray's own
    require_same_runs(out, in_turn)
    for seed in SEEDS:
        (segment,) = load_checkpoint(out / f"seed-{seed}")[0].segments
        assert (segment.first_epoch, segment.epochs_done, segment.node) == (0, EPOCHS, socket.gethostname())
    assert f"note: all runs were trained on nodes of a Ray cluster ({socket.gethostname()})" in printed


@pytest.fixture
def remote(options) -> RemoteCase:
    return RemoteCase("seed=0", "out/seed-0", [*options, "--epochs=1"], {}, None, uses_gpu=False)


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (Terms("0" * 64, version_of("lenet-multi")), "the data set differs from that of the comparison"),
        (Terms("0" * 64, "0.0.7"), "but 0.0.7 where compare runs"),
    ],
)
def test_a_node_with_other_data_or_another_version_is_named(terms, told, remote):
    outcome = train_case(remote, terms, "id")
    assert outcome.files == {}
    assert str(outcome.reason).startswith(f"node {socket.gethostname()}: ")
    assert told in str(outcome.reason)


def test_a_case_that_fails_on_a_node_is_told_as_it_is_here(remote, options):
    """Its reason is a result, which Ray does not retry."""
    data = load_dataset(options[0].removeprefix("--dataset="))
    failing = replace(remote, arguments=[*remote.arguments, "--lr=3e38"])
    outcome = train_case(failing, Terms(data.digest, version_of("lenet-multi"), jobs=1), "id")
    assert "try a smaller --lr; 'out/seed-0' holds the run after epoch 0 of 1" in str(outcome.reason)
    assert CHECKPOINT in outcome.files


def test_a_file_of_weights_travels_with_its_case(options, in_turn, tmp_path):
    case = ray_engine.Case("a", tmp_path / "a", [*options, f"--weights={in_turn / 'seed-0'}", "--data-dir=x"], None)
    remote = ray_engine.remote_case(case)
    assert remote.weights == (CHECKPOINT, (in_turn / "seed-0" / CHECKPOINT).read_bytes())
    assert remote.arguments == [*options, f"--data-dir={Path('x').absolute()}"]
    assert (remote.files, remote.uses_gpu) == ({}, False)
    resumed = ray_engine.Case("seed-0", in_turn / "seed-0", ["--resume"], None)
    assert ray_engine.remote_case(resumed).files == files_of(in_turn / "seed-0")
    assert ray_engine.remote_case(resumed).uses_gpu  # by default the first GPU, if there is one


def test_the_files_of_a_new_run_take_their_place_together(tmp_path, monkeypatch):
    written: list[str] = []

    def write(path: Path, content: bytes) -> None:
        if len(written) == 2:
            raise UserError("the disk is full")
        written.append(path.name)
        path.write_bytes(content)

    files = {"curves.png": b"c", CHECKPOINT: b"m", "tensorboard/events": b"e"}
    monkeypatch.setattr(ray_engine, "write_atomically", write)
    with pytest.raises(UserError, match="full"):
        store(tmp_path / "run", files)
    assert not (tmp_path / "run").exists()
    assert written == ["events", CHECKPOINT]  # a run that was resumed has them in this order too
    written[:] = [""] * 3
    store(tmp_path / "run", files)
    store(tmp_path / "run", files | {CHECKPOINT: b"newer"})
    assert files_of(tmp_path / "run") == files | {CHECKPOINT: b"newer"}
    store(tmp_path / "other", Outcome("no files").files)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("num_gpus", "jobs", "share"), [(1, 1, 1.0), (2, 2, 1.0), (2, 3, 0.5), (1, 3, 0.3333), (1, 99, 0.125)]
)
def test_cases_share_a_gpu(num_gpus, jobs, share):
    assert gpu_share(num_gpus, jobs) == share


@pytest.mark.parametrize(
    ("cores", "jobs", "expected"),
    [
        ([4, 4], None, (8, 1)),
        ([4, 4], 2, (2, 4)),
        ([4, 4], 1, (1, 4)),
        ([2, 1], 9, (9, 1)),
        ([8, 8], 3, (3, 4)),
        ([3, 1, 1, 1], 3, (3, 1)),
        ([], None, (1, 1)),
    ],
)
def test_the_cores_of_a_cluster_are_shared_out(cores, jobs, expected):
    assert threads_of_cluster(cores, jobs) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--jobs=0"], "--jobs: invalid value '0'"),
        (["--engine=dask"], "--engine: invalid choice"),
        (["--address=auto"], "--address is the address of a Ray cluster: add --engine ray"),
        pytest.param(["--engine=ray", "--address=here"], "expected auto or HOST:PORT", marks=needs_ray),
        pytest.param(["--engine=ray", "--address=127.0.0.1:{port}"], "no Ray cluster can be reached", marks=needs_ray),
    ],
)
def test_what_is_wrong_is_one_line(arguments, told, options, tmp_path, capsys):
    port = free_ports(1)[0]
    given = [argument.format(port=port) for argument in arguments]
    assert compare.main([*options, *given, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_without_ray_it_says_how_to_install_it(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_engine, "version_of", lambda package: None)
    assert compare.main([*options, "--engine=ray", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == 'error: --engine ray needs Ray: pip install "lenet-multi[ray]"\n'
    assert list(tmp_path.iterdir()) == []


def test_from_python_jobs_is_a_number(tmp_path):
    with pytest.raises(UserError, match=r"jobs 2\.5, expected a whole number of at least 1"):
        compare.compare(tmp_path / "out", jobs=2.5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="engine 'dask', expected one of processes, ray"):
        compare.compare(tmp_path / "out", engine="dask")


@needs_ray
def test_a_port_that_is_not_rays_is_one_line(options, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ray_engine, "JOIN_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert compare.main([*options, "--engine=ray", "--address", address, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: Ray at {address} failed (no answer within 1 s)")
    assert list(tmp_path.iterdir()) == []


@needs_ray
def test_a_killed_comparison_leaves_no_process_of_ray(start, long, short_folder, tmp_path):
    nodes = short_folder
    process = start(
        *long, "--epochs=5000", "--engine=ray", "--jobs=1", "--out", str(tmp_path / "out"), TMPDIR=str(nodes)
    )
    wait_for(lambda: any(map(epochs_done, nodes.glob("lenet_multi-*/run"))), process)
    processes = descendants(process.pid)
    assert len(processes) > 4
    process.kill()
    process.wait(PATIENCE)
    require_all_end(processes)
