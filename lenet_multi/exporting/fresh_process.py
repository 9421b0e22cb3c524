"""Runs an exported file in a fresh process, with a program of `loading/`, and compares what it computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lenet_multi.backends import WITHOUT_GPU
from lenet_multi.checks.measurement import relative_error
from lenet_multi.errors import UserError
from lenet_multi.system.process import child_environment

LOADING = Path(__file__).parent / "loading"
TOLERANCE = 1e-5  # relative to the largest expected number, or to 1


def outputs_of(program: str, file: Path, X: np.ndarray, *arguments: object) -> dict[str, np.ndarray]:
    """What a program of `loading/` computes with an exported file, by name.

    Args:
        program: the name of the program's file.
        file: the exported file.
        X: images (N, C, H, W), float32 in [0, 1].
        arguments: further ones of the program.

    Raises:
        UserError: if the file cannot be loaded or run.
    """
    with TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npy", Path(folder) / "outputs.npz"
        np.save(inputs, X)
        # -P: the folder of the program is not searched for modules.
        command = [sys.executable, "-P", LOADING / program, file, inputs, outputs, *arguments]
        # Without a GPU: it may round the inputs of products, and the reference is exact.
        environment = child_environment() | WITHOUT_GPU | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]
            raise UserError(f"the exported file cannot be run ({reason}): nothing was written; report this")
        with np.load(outputs) as arrays:
            return dict(arrays)


def require_equal(what: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Check that an exported file computes what it should, and return the largest difference.

    Raises:
        UserError: if it does not.
    """
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        raise UserError(f"the network's {what} are not finite in float32: choose other weights")
    difference = relative_error(found, expected, least=1.0)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the {what} of the exported file differ by {difference:.1e}, expected at most {TOLERANCE:.0e}: nothing "
            "was written; report this"
        )
    return difference
