"""The results of parity checks as lines of a text table, as sentences, and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from lenet_multi.checks.measurement import Measurement
from lenet_multi.checks.parity_checks import CheckResult

TITLE_WIDTH, CELL_WIDTH = 38, 20  # the widest headings, such as "torch 2.14.0+cu130", fit


def table_row(title: str, tolerance: str, cells: Sequence[str]) -> str:
    """A line of the table: title, tolerance, and a cell per backend."""
    return f"{title:{TITLE_WIDTH}}{tolerance:>10}{''.join(text.rjust(CELL_WIDTH) for text in cells)}"


def result_row(result: CheckResult, names: Sequence[str], left_out: Collection[str] = ()) -> str:
    """The line of a check, with a cell for each of these backends, some of which are left out of all checks."""
    cells = ["not installed" if name in left_out else cell(result.measurements.get(name)) for name in names]
    return table_row(f"{result.check.number:2} {result.check.title}", f"{result.check.tolerance:g}", cells)


def cell(measurement: Measurement | None) -> str:
    """The error, and `pass` or `FAIL`."""
    if measurement is None:
        return "not measured"
    error = f"{measurement.error:.3g}" if measurement.tolerance else f"{measurement.error:g}"
    return f"{error} {'pass' if measurement.passed else 'FAIL'}"


def failures(result: CheckResult) -> list[str]:
    """A sentence for each backend that fails a check: the first part that fails, and the worst."""
    return [
        f"check {result.check.number}, {name}: {found.first_failing} is off by "
        f"{found.errors[found.first_failing]:.3g}, tolerance {found.tolerance:g}"
        + (f"; worst: {found.worst}, by {found.error:.3g}" if found.worst != found.first_failing else "")
        for name, found in result.measurements.items()
        if found.first_failing is not None
    ]


def as_json(result: CheckResult) -> dict[str, Any]:
    """Every number of a check. NaN and infinity, which JSON lacks, become text."""

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(one) for one in value]
        return value if np.isfinite(value) else str(value)

    return {
        "check": result.check.number,
        "title": result.check.title,
        "tolerance": result.check.tolerance,
        "reason": result.check.reason,
        "backends": {
            name: {
                "error": number(found.error),
                "worst": found.worst,
                "passed": found.passed,
                "first_failing": found.first_failing,
                "errors": {part: number(error) for part, error in found.errors.items()},
                **{what: number(value) for what, value in found.values.items()},
            }
            for name, found in result.measurements.items()
        },
    }
