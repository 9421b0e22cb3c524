"""The entry point of `lenet-multi COMMAND ...` and `python -m lenet_multi COMMAND ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from lenet_multi.errors import UserError
from lenet_multi.system.command import run_command

COMMANDS = {
    "train": "train LeNet on Fashion-MNIST in one of the frameworks",
    "launch": "train with several worker processes that compute the run of one",
    "evaluate": "evaluate trained parameters on the test set",
    "predict": "classify pictures with a trained network",
    "compare": "train in several frameworks, or with several settings, and compare",
    "parity": "compare every backend with a float64 reference, from shapes to training runs",
    "shapes": "compare every layer's output shape across the frameworks",
    "compare_port": "compare a network with its port to another framework, layer by layer",
    "activations": "draw the feature maps of a trained network, or their difference between two frameworks",
    "playground": "write a page on which trained networks react to what you draw, layer by layer",
    "diagram": "draw a network from its description",
    "export": "export a network to ONNX, to a framework's file format, or as a program",
}


def command(argv: Sequence[str] | None = None) -> int:
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: lenet-multi COMMAND [OPTIONS]\n")
        print("\n".join(f"  {known:13}{what}" for known, what in COMMANDS.items()))
        print("\nRun lenet-multi COMMAND --help for the options of a command.")
        return 0
    if name == "--version":
        print(f"lenet-multi {version('lenet-multi')}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"unknown command '{name}': choose one of {', '.join(COMMANDS)}")
    return import_module(f"lenet_multi.{name}").main(rest)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
