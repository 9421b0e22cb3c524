"""The error that a comparison raises, and the reason of a framework's exception."""

from __future__ import annotations

import re

from lenet_multi.errors import UserError


class PortError(UserError):
    """Two networks cannot be compared."""


def error_reason(problem: Exception) -> str:
    """Return the first informative line of an exception's message; Keras and MXNet put other lines before it."""
    lines = [re.sub(r"\x1b\[\d+m", "", line).strip() for line in str(problem).splitlines()]
    skipped = ("Traceback", "File ", "Exception encountered")
    return next((line for line in lines if line and not line.startswith(skipped)), type(problem).__name__)
