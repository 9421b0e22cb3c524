"""Two network namespaces of Linux: two hosts in one machine, with a link whose bandwidth or delay can be set.

Addresses exist inside of the namespaces only, and there is no route out of them.
"""

import fcntl
import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scaling_study.relay import Relay

from lenet_multi.errors import UserError

TUN = Path("/dev/net/tun")
LINK, RELAYED = "wire", "relayed"  # the names of the devices in both namespaces
ADDRESSES = {LINK: ("10.200.0.1", "10.200.0.2"), RELAYED: ("10.200.1.1", "10.200.1.2")}
PREFIX = "lenet-scaling"
# From linux/if_tun.h: a device for IP packets, whose reads may give packets that the kernel has yet to split, with a
# header that says how.
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02


def require_namespaces(delays: bool) -> None:
    """Check that this machine and this user can make the network.

    Args:
        delays: whether it needs a relay.

    Raises:
        UserError: if not; it says what is missing.
    """
    for tool in ("ip", "tc"):
        if not shutil.which(tool):
            raise UserError(f"links and delays need Linux's '{tool}': install iproute2, or measure workers only")
    if os.geteuid() != 0:
        raise UserError("links and delays need network namespaces, which only root can make: start the script as root")
    if delays and not TUN.exists():
        raise UserError(f"delays need '{TUN}', which this system lacks: measure workers and links only")


class Network:
    """Two namespaces, `names`, with a device named LINK and one named RELAYED in each."""

    def __init__(self, names: tuple[str, str], relay: Relay) -> None:
        self.names = names
        self._relay = relay

    def set_rate(self, mbit: float | None) -> None:
        """Limit the bandwidth of LINK in each direction, in Mbit/s; None for no limit."""
        for name in self.names:
            run(f"tc -n {name} qdisc {'replace' if mbit else 'del'} dev {LINK} root {bucket(mbit)}", may_fail=not mbit)

    def set_delay(self, seconds: float) -> None:
        """Delay what passes through RELAYED, in each direction."""
        self._relay.delay = seconds

    def num_bytes(self, device: str) -> tuple[int, int]:
        """What the first host has sent and received on a device so far, with all headers."""
        (state,) = json.loads(run(f"ip -n {self.names[0]} -statistics -json link show dev {device}"))
        return state["stats64"]["tx"]["bytes"], state["stats64"]["rx"]["bytes"]

    def words(self, number: int) -> list[str]:
        """The words before a command that is to run in one of the namespaces."""
        return ["ip", "netns", "exec", self.names[number]]


def bucket(mbit: float | None) -> str:
    """The arguments of `tc` for a token bucket, which holds what the link carries in 0.2 ms, or two packets."""
    if mbit is None:
        return ""
    return f"tbf rate {mbit:g}mbit burst {max(4000, round(mbit * 1e6 / 8 * 0.0002))} latency 50ms"


@contextmanager
def network() -> Iterator[Network]:
    """Make the namespaces, and remove them and all that is in them at the end of the block, however it ends."""
    remove_abandoned()
    names = f"{PREFIX}-{os.getpid()}-0", f"{PREFIX}-{os.getpid()}-1"
    with ExitStack() as stack:
        for name in names:
            stack.callback(run, f"ip netns del {name}", may_fail=True)
            run(f"ip netns add {name}")
            run(f"ip -n {name} link set lo up")
        run(f"ip link add name {LINK} netns {names[0]} type veth peer name {LINK} netns {names[1]}")
        ends = tuple(tun_device(name) for name in names)
        for end in ends:
            stack.callback(os.close, end)
        for number, name in enumerate(names):
            for device, addresses in ADDRESSES.items():
                run(f"ip -n {name} addr add {addresses[number]}/24 dev {device}")
                run(f"ip -n {name} link set {device} up")
        relay = stack.enter_context(Relay((ends[0], ends[1])))
        yield Network(names, relay)


def tun_device(namespace: str) -> int:
    """Make the device RELAYED in a namespace; the file descriptor of its packets."""
    descriptor = os.open(TUN, os.O_RDWR)
    temporary = f"lenet{os.getpid() % 10**8}"
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", temporary.encode(), flags))
    fcntl.ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    run(f"ip link set {temporary} netns {namespace} name {RELAYED}")
    return descriptor


def remove_abandoned() -> None:
    """Remove the namespaces of processes that were killed."""
    for name, pid in re.findall(rf"^({PREFIX}-(\d+)-\d)\b", run("ip netns list"), flags=re.M):
        if not Path(f"/proc/{pid}").exists():
            run(f"ip netns del {name}", may_fail=True)


def run(command: str, may_fail: bool = False) -> str:
    """Run a command and return what it prints.

    Raises:
        UserError: when it fails and must not.
    """
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode and not may_fail:
        raise UserError(f"'{command}' failed: {done.stderr.strip()}: this system may lack what it needs")
    return done.stdout
