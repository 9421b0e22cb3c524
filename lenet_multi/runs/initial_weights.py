"""Writes the initial weights of a run, in a separate process.

    python -m lenet_multi.runs.initial_weights FILE SPEC

SPEC is JSON: backend, architecture, seed and device. `lenet_multi.comparison` starts this for `--same-start`: a
framework sets environment variables when it is imported, which the runs that a comparison starts would inherit. The
file holds no description of the network, because networks that differ in activation or pooling share it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lenet_multi.architecture import Architecture
from lenet_multi.backends import load_backend
from lenet_multi.errors import UserError
from lenet_multi.runs.weights import save_weights


def main(argv: Sequence[str] | None = None) -> int:
    file, text = sys.argv[1:] if argv is None else argv
    spec = json.loads(text)
    try:
        backend = load_backend(spec["backend"])  # the fast one builds the same network
        net = backend.LeNet(Architecture.from_dict(spec["architecture"]), spec["seed"], spec["device"])
        save_weights(Path(file), backend.get_parameters(net), {})
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
