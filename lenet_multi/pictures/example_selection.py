"""Selects examples of the test set by class or by index."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lenet_multi.data import Dataset
from lenet_multi.errors import UserError

MAX_EXAMPLES = 20  # in one picture

# Other names of Fashion-MNIST's classes, normalized by `_normalized`.
OTHER_NAMES = {
    "tshirt": "T-shirt/top",
    "top": "T-shirt/top",
    "pant": "trouser",
    "sweater": "pullover",
    "jumper": "pullover",
    "dresse": "dress",
    "trainer": "sneaker",
    "boot": "ankle boot",
}


def _normalized(name: str) -> str:
    """A name without case, punctuation and plural s: `T-Shirts` as `tshirt`."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")


def class_label(name: str, class_names: Sequence[str]) -> int:
    """The label of a class, given by its name or number.

    Case, spaces, hyphens and a plural do not matter. Fashion-MNIST's classes have other common names too.

    Raises:
        UserError: for an unknown class; it lists the known ones.
    """
    plain = [_normalized(known) for known in class_names]
    for wanted in (_normalized(name), _normalized(OTHER_NAMES.get(_normalized(name), ""))):
        if wanted and wanted in plain:
            return plain.index(wanted)
    if name.strip().isdecimal() and int(name) < len(class_names):
        return int(name)
    numbers = f"a number from 0 to {len(class_names) - 1}"
    named = any(not known.isdecimal() for known in class_names)
    known = f"one of {', '.join(class_names)}, or {numbers}" if named else numbers
    raise UserError(f"unknown class '{name}': choose {known}")


def select_examples(
    dataset: Dataset, classes: Sequence[str] = (), examples: Sequence[int] = (), per_class: int = 1
) -> list[int]:
    """Indices in the test set: the first `per_class` examples of each class, then `examples`, without duplicates.

    Raises:
        UserError: when a class is unknown or has too few examples, an index is out of range, or the number of examples
            is 0 or above `MAX_EXAMPLES`.
    """
    labels = dataset.test.labels
    indices: list[int] = []
    for label in dict.fromkeys(class_label(name, dataset.class_names) for name in classes):
        found = np.flatnonzero(labels == label)
        if len(found) < per_class:
            raise UserError(
                f"class '{dataset.class_names[label]}' has only {len(found)} test examples in '{dataset.name}', not "
                f"{per_class}: choose fewer, or another class"
            )
        indices += found[:per_class].tolist()
    for index in examples:
        if not 0 <= index < len(labels):
            raise UserError(
                f"example {index} is not in the test set of '{dataset.name}': choose an index from 0 to "
                f"{len(labels) - 1}"
            )
    indices = list(dict.fromkeys([*indices, *examples]))
    if not indices:
        raise UserError(
            "nothing to draw: pass --classes with some of "
            f"{', '.join(dataset.class_names)}, or --examples with indices of test images"
        )
    if len(indices) > MAX_EXAMPLES:
        raise UserError(f"{len(indices)} examples, but a picture holds at most {MAX_EXAMPLES}: draw several pictures")
    return indices
