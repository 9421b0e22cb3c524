"""Resolve device names such as `auto` and `gpu`."""

from __future__ import annotations

import re

from lenet_multi.errors import UserError


def parse_device(device: str) -> str:
    """Check the form of a device name, `auto`, `cpu`, `gpu` or `gpu:N`, and return it. Imports no framework.

    Raises:
        UserError: if the name has another form.
    """
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", device):
        raise UserError(
            f"unknown device '{device}': choose auto, cpu, gpu, or gpu:N as in gpu:1"
        )
    return device


def choose_device(device: str, available: list[str], framework: str) -> str:
    """The canonical name, `cpu` or `gpu:N`, of the requested device.

    Args:
        device: `auto`, `cpu`, `gpu` or `gpu:N`.
        available: canonical names of the framework's devices, GPUs first.
        framework: the framework's name, for the error message.

    Raises:
        UserError: if the device is not available; the message lists those that are.
    """
    if parse_device(device) == "auto":
        return available[0]
    requested = "gpu:0" if device == "gpu" else device
    if requested not in available:
        raise UserError(
            f"device '{device}' is not available in {framework}: choose one of auto, {', '.join(available)}"
        )
    return requested
