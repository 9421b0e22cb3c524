"""The tables of the measurement, from its record."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from pages import table
from scaling_study.model import Link, exchange, step_ms

from lenet_multi.backends import BACKENDS

BATCH_SIZES = (256, 4096)
PREDICTED_WORKERS = (8, 64)
PREDICTED_LINKS = {"1 Gbit/s": Link(1000, 0.1), "10 Gbit/s": Link(10_000, 0.1)}
LINKS: dict[str, float | None] = {"no limit": None, "1 Gbit/s": 1000, "100 Mbit/s": 100, "10 Mbit/s": 10}
DELAYS = {f"{ms} ms": ms / 1000 for ms in (0, 1, 10)}
ALONE, LOCAL = "alone", "this machine"
# Batches of one worker: whole batches, the shares of two workers, and those of the predictions.
SHARES = sorted({size // num_workers for size in BATCH_SIZES for num_workers in (1, 2, *PREDICTED_WORKERS)})

Record = dict[str, Any]


def steps(record: Record, engine: str, where: str, batch_size: int) -> list[float]:
    """All measured times of a step in ms."""
    key = (engine, where, batch_size)
    return [s["step_ms"] for s in record["samples"] if (s["engine"], s["where"], s["batch_size"]) == key]


def step(record: Record, engine: str, where: str, batch_size: int) -> float:
    return median(steps(record, engine, where, batch_size))


def spread(values: Sequence[float]) -> str:
    """The median, with the minimum and the maximum in parentheses."""
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def workers_table(record: Record) -> str:
    """One worker and two on this machine."""
    rows = []
    for engine in record["engines"]:
        for size in BATCH_SIZES:
            one, two = (steps(record, engine, where, size) for where in (ALONE, LOCAL))
            ratio = median(one) / median(two)
            cells = [spread(one), spread(two), f"**{ratio:.2f}**", f"{ratio / 2:.0%}"]
            rows.append([BACKENDS[engine], f"{size:,}", *cells])
    titles = ["engine", "batch size", "one worker, ms per step", "two workers, ms per step", "speedup", "efficiency"]
    return "\n\n".join(
        [
            "Workers on this machine, with one thread each. The speedup is the ratio of the medians, and the "
            "efficiency is the speedup divided by the number of workers.",
            table(titles, rows),
        ]
    )


def measured_link(record: Record, where: str) -> Link:
    """A link as it was measured; one with a relay has the bandwidth that the relay has without a delay.

    A connection between distant hosts starts slowly, but a delay does not limit its bandwidth.
    """
    bandwidth = record["links"][next(iter(DELAYS)) if where in DELAYS else where]["mbit"]
    return Link(bandwidth, record["links"][where]["delay_ms"])


def traffic(record: Record, engine: str, where: str) -> str:
    """The kB of a step that the first host has sent and received."""
    samples = [s for s in record["samples"] if (s["engine"], s["where"]) == (engine, where)]
    return " / ".join(f"{median(s[key] for s in samples):.0f}" for key in ("sent_kb", "received_kb"))


NETWORK_TITLES = ["engine", "link", "measured Mbit/s", "measured delay, ms", "share alone, ms", "kB sent / received"]
NETWORK_TITLES += ["kB in sequence", "model, ms per step", "measured, ms per step", "measured / model"]


def network_row(record: Record, engine: str, where: str) -> tuple[list[str], float]:
    """Measured and modelled time of a step of two workers on two hosts; the cells, and the measured median."""
    link, size = measured_link(record, where), BATCH_SIZES[0]
    compute, gradients = step(record, engine, ALONE, size // 2), exchange(engine, 2, shared_host=True)
    measured = steps(record, engine, where, size)
    model = step_ms(compute, gradients, link, record["network_batches"])
    cells = [BACKENDS[engine], where, f"{link.mbit:,.0f}", f"{link.delay_ms:.2f}", f"{compute:.1f}"]
    cells += [traffic(record, engine, where), f"{gradients.num_bytes / 1000:.0f}", f"{model:.1f}"]
    return [*cells, spread(measured), f"**{median(measured) / model:.2f}**"], median(measured)


def links_table(record: Record) -> str:
    """Two workers on two hosts, and the bandwidth."""
    rows = [network_row(record, engine, where)[0] for engine in record["engines"] for where in LINKS]
    return "\n\n".join(
        [
            f"Two workers in two network namespaces, batches of {BATCH_SIZES[0]}, with the bandwidth of the link "
            "limited in each direction. The kB are those of the first host in a step, with all headers. The model adds "
            "three times: computing a share, as measured in one process that has the machine for itself; the bytes "
            "that must pass one after the other, at the bandwidth measured with a message as long as the gradients; "
            "and the delay of each message that waits for another.",
            table(NETWORK_TITLES, rows),
        ]
    )


def delays_table(record: Record) -> str:
    """Two workers on two hosts, and the delay."""
    rows = []
    first, *others = DELAYS
    for engine in record["engines"]:
        cells, base = network_row(record, engine, first)
        rows.append([*cells, "", f"{exchange(engine, 2, shared_host=True).num_messages}"])
        for where in others:
            cells, measured = network_row(record, engine, where)
            waits = (measured - base) / (1000 * DELAYS[where])
            rows.append([*cells, f"{waits:.1f}", f"{exchange(engine, 2, shared_host=True).num_messages}"])
    titles = [*NETWORK_TITLES, "delays in a step", "in the model"]
    return "\n\n".join(
        [
            "The same with a relay between the namespaces, which holds each packet for the given time, in each "
            "direction. The delays in a step are what a step takes longer than without delay, divided by the delay.",
            table(titles, rows),
        ]
    )


def predictions_table(record: Record) -> str:
    """What the model says of more workers and other networks. Nothing of it is measured."""
    rows = []
    small = BATCH_SIZES[0]
    for engine in record["engines"]:
        # Of the small batch: with a large one, two workers on one machine mostly take memory bandwidth from each other.
        own = max(0.0, step(record, engine, LOCAL, small) - step(record, engine, ALONE, small // 2))
        for size in BATCH_SIZES:
            one = step(record, engine, ALONE, size)
            for name, link in PREDICTED_LINKS.items():
                for num_workers in PREDICTED_WORKERS:
                    compute = step(record, engine, ALONE, size // num_workers)
                    model = step_ms(compute, exchange(engine, num_workers), link)
                    cells = [f"{compute:.1f}", f"{model - compute:.1f}", f"{model:.1f}", f"{one / model:.1f}"]
                    cells += [f"{own:.1f}", f"{one / (model + own):.1f}", f"{one / (model + own) / num_workers:.0%}"]
                    rows.append([BACKENDS[engine], f"{size:,}", name, str(num_workers), *cells])
    titles = [
        "engine",
        "batch size",
        "network",
        "workers",
        "share alone, ms",
        "network, ms",
        "step, ms",
        "speedup at best",
    ]
    titles += ["engine's own time, ms", "speedup with it", "efficiency with it"]
    return "\n\n".join(
        [
            "**Predictions of the model, not measurements**: each worker and MXNet's server on a host of its own, each "
            "with one thread, and a delay of 0.1 ms. The engine's own time is what a step of two workers on this "
            f"machine, with batches of {small}, takes longer than a share alone. It is assumed not to grow with the "
            "number of workers, which favors many.",
            table(titles, rows),
        ]
    )
