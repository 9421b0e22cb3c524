"""Train with several worker processes that compute the run of one.

    python -m lenet_multi.launch --workers 2 -- train --backend torch --out runs/two
    python -m lenet_multi.launch --workers 4 --hosts a,b -- train --backend torch --out runs/four

On this machine it starts the workers, and ends them all if one fails. With `--hosts` it prints the commands to start on
each. Each framework's own tools can start the workers too: this command sets the variables that they set, and says
which. `docs/scale.md` explains them.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from itertools import cycle, islice

from lenet_multi.backends import require_installed
from lenet_multi.distributed import require_engine
from lenet_multi.distributed.environment import LOCAL, environments
from lenet_multi.distributed.processes import free_ports, in_shell, run_workers
from lenet_multi.errors import UserError
from lenet_multi.runs.options import run_parser
from lenet_multi.runs.selection import selected_backend
from lenet_multi.system.child_processes import ON_POSIX
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, name_list, positive_int
from lenet_multi.system.signals import exit_on_termination
from lenet_multi.system.stderr import say

FIRST_PORT = 29500  # on several hosts; torchrun's default
AGAIN = "start again, with --resume if the run has --out"


def parser() -> Parser:
    made = Parser(
        "python -m lenet_multi.launch", "Train with several workers: launch [OPTIONS] -- train [OPTIONS OF TRAIN]"
    )
    made.add_argument(
        "--workers", type=positive_int, metavar="N", help="worker processes (default: one for each host, or 2)"
    )
    made.add_argument(
        "--hosts",
        type=name_list,
        metavar="A,B",
        help="print the commands that start the workers on these hosts, in turn; nothing is started",
    )
    return made


def command(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    at = words.index("--") if "--" in words else len(words)
    example = "as in: launch --workers 2 -- train --backend torch"
    if at == len(words) and "train" in words:
        raise UserError(f"launch needs -- before train, {example}")
    args, rest = parser().parse_args(words[:at]), words[at + 1 :]
    if not rest:
        raise UserError(f"launch needs a command after --, {example}")
    if rest[0] != "train":
        raise UserError(f"launch runs train only, not '{rest[0]}': pass it after --, {example}")
    backend_name = backend_of(rest[1:])
    num_workers = args.workers or (len(args.hosts) if args.hosts else 2)
    hosts = list(islice(cycle(args.hosts or [LOCAL]), num_workers))
    training = ["-m", "lenet_multi.train", *rest[1:]]
    if args.hosts:
        require_addresses(backend_name, hosts)
        ports = [FIRST_PORT + i for i in range(num_workers)]
        for name, host, variables in environments(backend_name, hosts, ports):
            print(f"# {name}, on {host}\n{in_shell(variables, ['python', *training])}")
        return 0
    if not ON_POSIX:
        raise UserError("launch cannot start workers on Windows: set the variables that --hosts shows, and run train")
    with exit_on_termination():
        return run_workers(environments(backend_name, hosts, free_ports(num_workers)), training, say, AGAIN)


def backend_of(words: Sequence[str]) -> str:
    """The backend that `train` runs with these options.

    Raises:
        UserError: if they are wrong, or this backend does not train with several workers.
    """
    args = run_parser("python -m lenet_multi.train", "").parse_args(words)
    if args.loop == "fast":
        raise UserError("the fast loop runs in one process: omit --fast")
    name = require_installed(selected_backend(args))
    require_engine(name)
    return name


def require_addresses(backend_name: str, hosts: Sequence[str]) -> None:
    """Refuse names of hosts for MXNet, which listens at addresses only."""
    for host in hosts if backend_name == "mxnet" else ():
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise UserError(f"--hosts: MXNet needs addresses, such as 192.168.0.2, not names such as {host}") from None


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
