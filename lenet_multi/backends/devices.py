"""Which device a word like `auto` or `gpu` stands for."""

from __future__ import annotations

import re

from lenet_multi.errors import UserError


def parse_device(device: str) -> str:
    """Check the form of a device's name: `auto`, `cpu`, `gpu`, `gpu:1`; imports no framework.

    Raises:
        UserError: for anything else.
    """
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", device):
        raise UserError(
            f"device '{device}', expected auto, cpu, gpu, or gpu:N as in gpu:1: take one of these"
        )
    return device


def choose_device(device: str, available: list[str], framework: str) -> str:
    """The canonical name, `cpu` or `gpu:N`, of what `device` asks for among the `available`.

    Raises:
        UserError: when it is not there; it says what is.
    """
    if parse_device(device) == "auto":
        return available[0]
    wanted = "gpu:0" if device == "gpu" else device
    if wanted not in available:
        raise UserError(
            f"device '{device}', expected one that {framework} sees here ({', '.join(available)}): "
            "choose one of these, or auto"
        )
    return wanted
