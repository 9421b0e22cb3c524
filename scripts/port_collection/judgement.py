"""Judges what `compare_networks` says of a case."""

import re
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lenet_multi.ports import PortError, compare_networks
from lenet_multi.ports.hints import EXPLAINED
from port_collection.case import Case, Finding
from port_collection.frameworks import free_memory, numpy_mode

VERDICTS = (
    "right",
    "right layer, no useful hint",
    "wrong hint",
    'false "differs"',
    'false "agrees"',
    "refused",
    "crash",
)
PLACE = re.compile("operations between|inputs? .*differ")  # says where the networks differ, not why
# Given only where the layer agrees with the reference's values, so never where they are equal.
VALUES = "the port's values differ"
NOT_BUILT = "not built"  # the collection's own fault


@dataclass(frozen=True)
class Result:
    """A case's verdict, what it rests on in one line, and the seconds that the comparison took."""

    case: Case
    verdict: str
    detail: str
    seconds: float


class OutOfTimeError(BaseException):
    """Not an Exception: `compare_networks` reports those of a network as its own."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise an OutOfTimeError after some seconds."""

    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"no result after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judge(case: Case, limit: int) -> Result:
    """Build a case, compare its networks and judge the report."""
    try:
        with time_limit(limit):
            networks = case.build()
    except (Exception, OutOfTimeError) as problem:
        return Result(case, NOT_BUILT, one_line(problem), 0)
    start = time.perf_counter()
    try:
        with time_limit(limit), numpy_mode(*networks[:2]):
            report = compare_networks(*networks)
        verdict, detail = judge_report(case, report)
    except PortError as problem:
        verdict, detail = "refused", str(problem)
    except (Exception, OutOfTimeError) as problem:
        verdict, detail = "crash", f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - start
    del networks
    free_memory()
    return Result(case, verdict, one_line(detail), seconds)


def one_line(text: object) -> str:
    """The start of a text, in one line and without a terminal's colours."""
    return " ".join(re.sub(r"\x1b\[\d+m", "", str(text)).split())[:300]


def judge_report(case: Case, report: Any) -> tuple[str, str]:
    """A verdict and its reason.

    A hint that names another cause is wrong, whatever settings are printed beside it. A mistake may be in many layers:
    at each further layer that is said to differ, the hint or the settings must tell of a mistake of the case, or of
    values that differ. Otherwise the verdict is `false "differs"`. Layers that are too many for hints are not judged.
    """
    first = report.first_divergence
    if first is None:
        return ("right", "") if not case.findings else ('false "agrees"', "")
    hint, settings = texts(report, first)
    told = f"at {first.reference}: {hint or settings or 'no hint'}"
    if not case.findings or not case.findings[0].is_at(first.reference):
        return 'false "differs"', told
    names_a_cause = hint and not PLACE.search(hint)
    if not case.findings[0].hint.search(hint if names_a_cause else f"{hint} {settings}"):
        return ("wrong hint" if names_a_cause else "right layer, no useful hint"), told
    others = [layer for layer in report.layers if not layer.agrees][:EXPLAINED]
    surplus = next((layer for layer in others if not is_told(layer, case.findings)), None)
    if surplus:
        return 'false "differs"', f"{told}; and at {surplus.reference}: {surplus.hint or surplus.settings or 'no hint'}"
    missed = next((other for other in case.findings[1:] if not is_found(other, report)), None)
    if missed:
        return "right layer, no useful hint", f"{told}; silent at {', '.join(sorted(missed.layers))}"
    return "right", told


def texts(report: Any, layer: Any) -> tuple[str, str]:
    """The hints that a report gives for its first difference, and the settings that it prints there."""
    hints = [report.hint or "", layer.hint or ""]
    return " ".join(dict.fromkeys(hint for hint in hints if hint)), layer.settings or ""


def is_told(layer: Any, findings: Iterable[Finding]) -> bool:
    """Whether a layer's own hint or settings tell of one of the mistakes, or it is the place of one."""
    text = own_text(layer)
    return VALUES in text or any(found.is_at(layer.reference) or found.hint.search(text) for found in findings)


def is_found(finding: Finding, report: Any) -> bool:
    """Whether some layer's own hint or settings tell of a mistake behind the first."""
    return any(finding.is_at(layer.reference) and finding.hint.search(own_text(layer)) for layer in report.layers)


def own_text(layer: Any) -> str:
    return f"{layer.hint or ''} {layer.settings or ''}"
