"""Measures a link between two hosts: the time of a byte to and fro, and the bandwidth.

    python scripts/scaling_study/probe.py serve 10.200.0.1
    python scripts/scaling_study/probe.py measure 10.200.0.1

The message is as long as the gradients of LeNet-5, and the second program prints its figures as JSON.
"""

import json
import socket
import sys
import time
from statistics import median

PORT = 29400
NUM_BYTES = 4 * 61_706
ROUND_TRIPS, TRANSFERS = 30, 5
PATIENCE = 30  # seconds


def receive(connection: socket.socket, count: int) -> None:
    while count:
        received = len(connection.recv(min(count, 1 << 20)))
        if not received:
            raise ConnectionError("the other side has closed the connection")
        count -= received


def serve(listener: socket.socket) -> None:
    """Answer each message of one connection with a byte."""
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for count in [1] * ROUND_TRIPS + [NUM_BYTES] * TRANSFERS:
            receive(connection, count)
            connection.sendall(b"x")


def measure(connection: socket.socket) -> dict[str, float]:
    """The delay of one direction in ms, and the bandwidth in Mbit/s."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def seconds(count: int) -> float:
        message = bytes(count)
        began = time.perf_counter()
        connection.sendall(message)
        receive(connection, 1)
        return time.perf_counter() - began

    round_trip = median(seconds(1) for _ in range(ROUND_TRIPS))
    transfer = min(seconds(NUM_BYTES) for _ in range(TRANSFERS))
    return {"delay_ms": 500 * round_trip, "mbit": NUM_BYTES * 8 / 1e6 / max(transfer - round_trip, 1e-6)}


def connect(address: str) -> socket.socket:
    """Connect to the other program, which may not listen yet."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((address, PORT), PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def main() -> None:
    role, address = sys.argv[1:]
    if role == "serve":
        with socket.create_server((address, PORT)) as listener:
            listener.settimeout(PATIENCE)
            serve(listener)
    else:
        with connect(address) as connection:
            print(json.dumps(measure(connection)))


if __name__ == "__main__":
    main()
