"""The environment variables with which the processes of a run find each other."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence

from lenet_multi.errors import UserError
from lenet_multi.system.option_parser import positive_float

Variables = dict[str, str]
LOCAL = "127.0.0.1"
ADDRESS_VARIABLES = {
    "torch": ("MASTER_ADDR", "MASTER_PORT"),
    "tensorflow": ("TF_CONFIG",),
    "mxnet": ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NODE_HOST"),
}
JOIN_SECONDS = "LENET_MULTI_JOIN_SECONDS"


def seconds_to_join() -> float:
    """How long a worker waits for the others to start.

    Raises:
        UserError: if the variable for it holds no such number.
    """
    try:
        return positive_float(os.environ.get(JOIN_SECONDS, "300"))
    except ArgumentTypeError as problem:
        raise UserError(f"{JOIN_SECONDS}: {problem}") from None


def environments(
    backend_name: str, hosts: Sequence[str], ports: Sequence[int]
) -> list[tuple[str, str, Variables]]:
    """The processes of a run: for each its name, its host, and the variables that it needs.

    Args:
        backend_name: canonical name.
        hosts: the host of each worker, in the order of their ranks; MXNet chooses the ranks itself.
        ports: of PyTorch's first worker; of each of TensorFlow's workers; of MXNet's scheduler.
    """
    return {"torch": _torch, "tensorflow": _tensorflow, "mxnet": _mxnet}[backend_name](
        hosts, ports
    )


def _torch(
    hosts: Sequence[str], ports: Sequence[int]
) -> list[tuple[str, str, Variables]]:
    shared = {
        "MASTER_ADDR": hosts[0],
        "MASTER_PORT": str(ports[0]),
        "WORLD_SIZE": str(len(hosts)),
    }
    if set(hosts) == {LOCAL}:
        # Else Gloo listens at the address that the host's name has.
        shared["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    return [
        (
            f"worker {rank}",
            host,
            shared | {"RANK": str(rank), "LOCAL_RANK": str(hosts[:rank].count(host))},
        )
        for rank, host in enumerate(hosts)
    ]


def _tensorflow(
    hosts: Sequence[str], ports: Sequence[int]
) -> list[tuple[str, str, Variables]]:
    cluster = {
        "worker": [f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
    }
    return [
        (
            f"worker {rank}",
            host,
            {
                "TF_CONFIG": _json(
                    cluster=cluster, task={"type": "worker", "index": rank}
                )
            },
        )
        for rank, host in enumerate(hosts)
    ]


def _json(**values: Mapping[str, object]) -> str:
    return json.dumps(values)


def _mxnet(
    hosts: Sequence[str], ports: Sequence[int]
) -> list[tuple[str, str, Variables]]:
    shared = {
        "DMLC_PS_ROOT_URI": hosts[0],
        "DMLC_PS_ROOT_PORT": str(ports[0]),
        "DMLC_NUM_WORKER": str(len(hosts)),
        "DMLC_NUM_SERVER": "1",
    }
    roles = [
        ("scheduler", hosts[0]),
        ("server", hosts[0]),
        *(("worker", host) for host in hosts),
    ]
    names = ["scheduler", "server", *(f"worker {rank}" for rank in range(len(hosts)))]
    return [
        (name, host, shared | {"DMLC_ROLE": role, "DMLC_NODE_HOST": host})
        for name, (role, host) in zip(names, roles, strict=True)
    ]
