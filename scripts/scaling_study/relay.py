"""A relay between two network devices, which holds each packet for a while before it passes it on.

The Linux kernel has such a delay, `netem`, but not every kernel is built with it. This one works with TUN devices: what
one network namespace sends to its device is read here, and written to the device of the other.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from contextlib import suppress

LARGEST_PACKET = 70_000  # bytes: the kernel hands over up to 64 KiB at a time, and a header


class Relay:
    """Passes packets on in both directions, in order and unchanged, while a block runs.

    A packet is written `delay` seconds after it was read, however many come in between: the delay does not limit the
    bandwidth. `delay` may change while the relay runs.

    Args:
        ends: two file descriptors of which each read gives one packet, and each write takes one.
        delay: in seconds, at least, for each direction.
    """

    def __init__(self, ends: tuple[int, int], delay: float = 0.0) -> None:
        self.ends = ends
        self.delay = delay
        self._waiting: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}  # by where they go
        self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop[1], b"x")
        self._thread.join()
        for descriptor in self._stop:
            os.close(descriptor)

    def _run(self) -> None:
        # First on a busy core, or the delay would be that of the workers' time slices. This is the thread's priority.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        while True:
            readable, _, _ = select.select([*self.ends, self._stop[0]], [], [], self._seconds_to_wait())
            if self._stop[0] in readable:
                return
            for source in readable:
                target = self.ends[1 - self.ends.index(source)]
                packet = os.read(source, LARGEST_PACKET)
                self._waiting[target].append((time.monotonic() + self.delay, packet))
            for target, packets in self._waiting.items():
                while packets and packets[0][0] <= time.monotonic():
                    os.write(target, packets.popleft()[1])

    def _seconds_to_wait(self) -> float | None:
        """The time until the next packet is due; None if there is none."""
        due = [packets[0][0] for packets in self._waiting.values() if packets]
        return max(0.0, min(due) - time.monotonic()) if due else None
