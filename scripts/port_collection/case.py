"""The cases of the collection: right ports and planted mistakes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

Networks = tuple[Any, Any, np.ndarray]  # the reference, the port and X, shape (N, C, H, W)


@dataclass(frozen=True)
class Finding:
    """What a useful answer says of one mistake.

    Attributes:
        layers: names of the reference's layers at which it may be said to differ, or the last parts of their paths.
        hint: a pattern that a useful hint, or a printed setting, contains.
    """

    layers: frozenset[str]
    hint: re.Pattern[str]

    def is_at(self, layer: str) -> bool:
        """Whether a name from a report is one of the layers, such as `pool:2` for the second call of `pool`."""
        path = re.sub(r":\d+$", "", layer).replace("/", ".")
        return any(f".{path}".endswith(f".{name}") for name in self.layers)


@dataclass(frozen=True)
class Case:
    """A reference and a port of it.

    Attributes:
        name: unique in the collection.
        category: `pair` for a right port, otherwise the kind of mistake.
        build: returns the networks and their input; raises an AssertionError if what should agree does not.
        findings: the planted mistakes, from the input on; none if the networks agree.
    """

    name: str
    category: str
    build: Callable[[], Networks]
    findings: tuple[Finding, ...] = ()

    @property
    def is_pair(self) -> bool:
        """Whether it is a right port, and not a planted mistake."""
        return self.category == "pair"

    @property
    def held_back(self) -> bool:
        """Whether the case belongs to the third that is not looked at until the end."""
        return int.from_bytes(sha256(self.name.encode()).digest()[:4], "big") % 3 == 0


def finding(layers: str, hint: str) -> Finding:
    """A finding from names that are separated by blanks, and a pattern; upper and lower case are the same."""
    return Finding(frozenset(layers.split()), re.compile(hint, re.IGNORECASE))
