"""The measurement of several workers: its model, its relay, and how it reads what the workers report."""

import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from queue import Queue

import pytest
from conftest import INSTALLED

from lenet_multi.errors import UserError

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
model, network, probe, processes, relay, tables = (
    import_module(f"scaling_study.{name}") for name in ("model", "network", "probe", "processes", "relay", "tables")
)
GRADIENT_BYTES = 4 * 61_706


# The model


@pytest.mark.parametrize(
    ("num_workers", "num_bytes", "num_messages"),
    [(2, GRADIENT_BYTES, 2), (4, 1.5 * GRADIENT_BYTES, 6), (64, 2 * 63 / 64 * GRADIENT_BYTES, 126)],
)
def test_a_ring_sends_almost_twice_the_gradients_in_two_rounds_of_messages(num_workers, num_bytes, num_messages):
    assert model.ring(num_workers) == model.Exchange(pytest.approx(num_bytes), num_messages)


def test_a_server_receives_the_gradients_of_all_workers_and_returns_the_last_array_after_them():
    """Compared with a simulation: each direction carries one array of one worker at a time."""
    for num_workers in (1, 2, 5):
        received = returned = 0.0
        for size in model.SIZES:
            received += 4 * size * num_workers  # all shares of the array are there
            returned = max(returned, received) + 4 * size * num_workers
        exchange = model.server(num_workers)
        assert exchange.num_messages == 2
        assert exchange.num_bytes == returned > num_workers * GRADIENT_BYTES


def test_the_server_that_runs_beside_a_worker_serves_one_less_over_its_link():
    assert model.exchange("mxnet", 2, shared_host=True) == model.server(1)
    assert model.exchange("mxnet", 8) == model.server(8)
    assert model.exchange("torch", 2, shared_host=True) == model.exchange("tensorflow", 2) == model.ring(2)


@pytest.mark.parametrize("name", ["torch", "mxnet"])
def test_one_worker_sends_nothing(name):
    assert model.step_ms(7.0, model.exchange(name, 1), model.Link(10, 5.0)) == 7.0


def test_a_step_computes_sends_and_waits():
    link = model.Link(mbit=8, delay_ms=10.0)  # 1 kB per ms
    exchange = model.Exchange(num_bytes=3000, num_messages=2)
    assert model.step_ms(5.0, exchange, link) == pytest.approx(5 + 3 + 20)
    assert model.step_ms(5.0, exchange, link, num_batches=4) == pytest.approx(5 + 3 + 20 + 20 / 4)


def test_the_probe_sends_as_much_as_the_gradients():
    assert probe.NUM_BYTES == model.FLOAT_BYTES * model.NUM_PARAMETERS == GRADIENT_BYTES


# The relay


def packet_sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep the bounds of packets, as a TUN device does."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


@pytest.fixture
def relayed():
    """A relay, and the two sockets that it connects."""
    (a, inner_a), (b, inner_b) = packet_sockets(), packet_sockets()
    for each in (a, b):
        each.settimeout(30)
    with a, b, inner_a, inner_b, relay.Relay((inner_a.fileno(), inner_b.fileno())) as running:
        yield running, a, b


@pytest.mark.parametrize("delay", [0.0, 0.003])
def test_a_relay_passes_packets_on_unchanged_in_order_in_both_directions(relayed, delay):
    running, a, b = relayed
    running.delay = delay
    packets = [os.urandom(size) for size in (1, 40, 1500, 60_000, 1, 700)]
    for source, target in ((a, b), (b, a)):
        for packet in packets:
            source.send(packet)
        assert [target.recv(100_000) for _ in packets] == packets
    a.send(b"to b")
    b.send(b"to a")
    assert (a.recv(100), b.recv(100)) == (b"to a", b"to b")


def test_a_relay_holds_each_packet_for_as_long_as_asked_at_least(relayed):
    running, a, b = relayed
    running.delay = 0.02
    for source, target in ((a, b), (b, a)):
        sent = []
        for number in range(5):
            sent.append(time.monotonic())
            source.send(bytes([number]))
        for began in sent:
            target.recv(100)
            assert time.monotonic() - began >= running.delay


def test_a_relay_holds_many_packets_at_the_same_time(relayed):
    """The first has not arrived when the last one is taken: a delay does not limit the bandwidth."""
    running, a, b = relayed
    running.delay = 3600
    for number in range(50):
        a.send(bytes([number]))
    waiting = running._waiting[running.ends[1]]
    deadline = time.monotonic() + 30
    while len(waiting) < 50:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    b.setblocking(False)
    with pytest.raises(BlockingIOError):
        b.recv(100)
    b.settimeout(30)
    running.delay = 0
    due = [packet for _, packet in waiting]
    assert due == [bytes([number]) for number in range(50)]


def test_a_relay_that_is_left_relays_no_more():
    (a, inner_a), (b, inner_b) = packet_sockets(), packet_sockets()
    with a, b, inner_a, inner_b:
        with relay.Relay((inner_a.fileno(), inner_b.fileno())):
            a.send(b"1")
            assert b.recv(10) == b"1"
        a.send(b"2")
        b.setblocking(False)
        with pytest.raises(BlockingIOError):
            b.recv(10)
        assert inner_a.recv(10) == b"2"


# The probe


def test_the_probe_measures_a_connection(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(probe, "PORT", listener.getsockname()[1])
        server = threading.Thread(target=probe.serve, args=(listener,))
        server.start()
        with probe.connect("127.0.0.1") as connection:
            figures = probe.measure(connection)
        server.join()
    assert set(figures) == {"delay_ms", "mbit"}
    assert all(value > 0 for value in figures.values())


def test_the_probe_notices_a_connection_that_ends():
    a, b = socket.socketpair()
    with a, b:
        b.sendall(b"123")
        b.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            probe.receive(a, 4)


# The workers


@pytest.fixture
def importable(monkeypatch):
    """Processes that start with a script find the package in this checkout."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize("where", ["alone", "two workers"])
def test_the_workers_report_every_epoch(where, importable, small_folder):
    name = INSTALLED[0]
    starts = processes.alone() if where == "alone" else processes.on_this_machine(name, 2)
    seen: list[tuple[int, float]] = []
    tasks = [(40, 2, 2), (20, 3, 1)]
    processes.train(name, starts, tasks, lambda epoch, ms: seen.append((epoch, ms)), str(small_folder))
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert all(ms > 0 for _, ms in seen)


def test_a_worker_that_fails_ends_the_measurement(importable, small_folder, capfd):
    with pytest.raises(UserError, match="worker 0 failed: see its messages above"):
        processes.train(INSTALLED[0], processes.alone(), [(100, 3, 2)], lambda *_: None, str(small_folder))
    assert "error: 3 batches of 100 are more than 200 examples" in capfd.readouterr().err


def reports(**second: int) -> list[dict]:
    first = {"rank": 0, "batch_size": 256, "epoch": 1, "step_ms": 3.0}
    return [first, first | {"rank": 1, "step_ms": 4.0} | second]


def test_a_step_takes_as_long_as_the_slowest_worker():
    assert processes.slowest("torch", reports()) == 4.0


@pytest.mark.parametrize("wrong", [{"epoch": 2}, {"batch_size": 128}, {"rank": 0}, {"rank": 2}])
def test_workers_that_do_not_train_together_are_noticed(wrong):
    with pytest.raises(UserError, match="the workers do not train together"):
        processes.slowest("torch", reports(**wrong))


def test_the_next_report_is_parsed_and_an_end_is_an_error():
    queue: Queue[tuple[str, str]] = Queue()
    queue.put(("worker 1", '{"rank": 1}\n'))
    queue.put(("worker 1", ""))
    assert processes.next_report("torch", queue) == {"rank": 1}
    with pytest.raises(UserError, match="torch: worker 1 failed"):
        processes.next_report("torch", queue)


# The tables

LINKS = {name: {"mbit": 100.0, "delay_ms": 0.5} for name in (*tables.LINKS, *tables.DELAYS)}


def record() -> dict:
    """A record with made-up times: a worker computes an example in 0.1 ms, and a step of two takes 5 ms longer."""
    samples = []
    for repeat in range(3):
        for size in tables.SHARES:
            samples.append({"where": "alone", "batch_size": size, "step_ms": 0.1 * size + repeat})
        for size in tables.BATCH_SIZES:
            samples.append(
                {"where": tables.LOCAL, "batch_size": size, "step_ms": 0.05 * size + 5 * (size // 256) ** 0.5 + repeat}
            )
        for where in (*tables.LINKS, *tables.DELAYS):
            delay = 1000 * tables.DELAYS.get(where, 0)
            step_ms = 40.0 + 3 * delay + repeat
            samples.append(
                {"where": where, "batch_size": 256, "step_ms": step_ms, "sent_kb": 250.0, "received_kb": 251.0}
            )
    samples = [sample | {"engine": "torch", "repeat": 0} for sample in samples]
    made = {"engines": ["torch"], "repeats": 3, "epochs": 2, "network_batches": 20, "links": LINKS, "samples": samples}
    return made | {"sections": ["workers", "links", "delays"], "machine": "a machine"}


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| PyT")]


def test_the_speedup_is_the_ratio_of_the_medians():
    small, large = rows(tables.workers_table(record()))
    assert small == ["PyTorch", "256", "26.6 (25.6 to 27.6)", "18.8 (17.8 to 19.8)", "**1.41**", "71%"]
    ratio = (409.6 + 1) / (204.8 + 20 + 1)
    assert large[-2:] == [f"**{ratio:.2f}**", f"{ratio / 2:.0%}"]


def test_measured_steps_are_compared_with_the_model():
    row = rows(tables.links_table(record()))[0]
    compute = 0.1 * 128 + 1
    expected = compute + GRADIENT_BYTES * 8 / 100_000 + 2 * 0.5 * (1 + 1 / 20)
    assert row[:4] == ["PyTorch", "no limit", "100", "0.50"]
    assert row[4:6] == [f"{compute:.1f}", "250 / 251"]
    assert row[-3:] == [f"{expected:.1f}", "41.0 (40.0 to 42.0)", f"**{41 / expected:.2f}**"]


def test_the_delays_of_a_step_are_counted():
    assert [row[-2:] for row in rows(tables.delays_table(record()))] == [["", "2"], ["3.0", "2"], ["3.0", "2"]]


def test_a_prediction_adds_the_engines_own_time():
    text = tables.predictions_table(record())
    assert text.startswith("**Predictions of the model, not measurements**")
    row = next(row for row in rows(text) if row[1:4] == ["256", "10 Gbit/s", "8"])
    network_ms = 2 * 7 / 8 * GRADIENT_BYTES * 8 / 1e7 + 14 * 0.1
    share, own, one = 0.1 * 32 + 1, (0.05 * 256 + 6) - (0.1 * 128 + 1), 0.1 * 256 + 1
    best, real = one / (share + network_ms), one / (share + network_ms + own)
    assert row[4:7] == [f"{share:.1f}", f"{network_ms:.1f}", f"{share + network_ms:.1f}"]
    assert row[7:] == [f"{best:.1f}", f"{own:.1f}", f"{real:.1f}", f"{real / 8:.0%}"]
    assert {row[8] for row in rows(text)} == {f"{own:.1f}"}  # the same for every batch


# The command and the network


def scaling(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "scaling"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=SCRIPTS.parent)


def test_a_record_is_read_and_all_its_tables_are_printed(tmp_path):
    (tmp_path / "record.json").write_text(json.dumps(record()))
    done = scaling("--read", str(tmp_path / "record.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Machine: a machine; 3 repeats of 2 epochs")
    for words in ("| speedup | efficiency |", "measured / model", "delays in a step", "Predictions"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["link"], "unknown section 'link': choose one of workers, links, delays"),
        (["--write", "--repeats", "2"], "--write with --repeats 2, expected at least 3"),
        (["--backends", "caffe"], "unknown backend 'caffe'"),
        (["--read", "missing.json"], "'missing.json': no such file"),
        (["--json", "scaling.txt"], "--json: invalid value 'scaling.txt'"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, told):
    done = scaling(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_a_missing_tool_and_a_missing_right_are_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None if name == "tc" else f"/sbin/{name}")
    with pytest.raises(UserError, match="links and delays need Linux's 'tc': install iproute2"):
        network.require_namespaces(delays=False)
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UserError, match="which only root can make: start the script as root"):
        network.require_namespaces(delays=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(network, "TUN", Path("/missing/tun"))
    network.require_namespaces(delays=False)
    with pytest.raises(UserError, match="delays need '/missing/tun'"):
        network.require_namespaces(delays=True)


def test_the_bucket_of_a_slow_link_holds_two_packets_and_that_of_a_fast_one_a_moment():
    assert network.bucket(None) == ""
    assert network.bucket(10) == "tbf rate 10mbit burst 4000 latency 50ms"
    assert network.bucket(1000) == "tbf rate 1000mbit burst 25000 latency 50ms"


def test_the_namespaces_are_removed_however_the_block_ends(monkeypatch):
    """With commands that are noted in place of run: a test needs no root."""
    commands = []

    def noted(command: str, may_fail: bool = False) -> str:
        commands.append(command)
        return "lenet-scaling-1-0\nlenet-scaling-999999999-1\n" if command == "ip netns list" else ""

    monkeypatch.setattr(network, "run", noted)
    monkeypatch.setattr(network, "tun_device", lambda name: os.eventfd(0))  # nothing to read

    def interrupted() -> None:
        with network.network() as two_hosts:
            two_hosts.set_rate(10)
            two_hosts.set_rate(None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    added = [line.split()[-1] for line in commands if line.startswith("ip netns add")]
    removed = [line.split()[-1] for line in commands if line.startswith("ip netns del")]
    assert len(added) == 2
    assert removed == ["lenet-scaling-999999999-1", *reversed(added)]  # first that of a process that is no more
    for name in added:
        assert f"tc -n {name} qdisc replace dev wire root tbf rate 10mbit burst 4000 latency 50ms" in commands
        assert f"tc -n {name} qdisc del dev wire root " in commands


# The measurement of sweeps


@pytest.fixture(scope="module")
def sweep():
    return runpy.run_path(str(SCRIPTS / "sweep"))


def test_the_table_of_sweeps_has_medians_and_ratios_to_the_first_way(sweep):
    times = sweep["Times"]
    found = sweep["times_table"](
        {"in turn": [times(10, 12), times(30, 31), times(20, 25)], "two at a time": [times(12, 14)]}
    )
    assert found.splitlines()[2:] == [
        "| in turn | 20.0 s (10.0 to 30.0) | 1.00 | 25.0 s |",
        "| two at a time | 12.0 s | 0.60 | 14.0 s |",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"), [(["--cases", "1"], "expected at least 2"), (["--write"], "add --repeats 3")]
)
def test_a_sweep_that_cannot_be_published_is_refused(arguments, told, sweep):
    with pytest.raises(UserError, match=told):
        sweep["command"](arguments)
