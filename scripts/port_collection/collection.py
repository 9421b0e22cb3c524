"""All cases, in the order of the tables."""

from port_collection.book_pairs import BOOK
from port_collection.case import Case
from port_collection.geometry_mistakes import MISTAKES as GEOMETRY
from port_collection.keras_pairs import KERAS, TORCH
from port_collection.loading_mistakes import MISTAKES as LOADING
from port_collection.near_misses import MISTAKES as NEAR_MISSES
from port_collection.norm_mistakes import MISTAKES as NORMS
from port_collection.operation_mistakes import MISTAKES as OPERATIONS
from port_collection.public_mistakes import MISTAKES as PUBLIC
from port_collection.public_pairs import GLUON_ZOO, SAME_AUTHOR
from port_collection.weight_mistakes import MISTAKES as WEIGHTS

PAIRS: tuple[Case, ...] = (*SAME_AUTHOR, *GLUON_ZOO, *KERAS, *TORCH, *BOOK)
MISTAKES: tuple[Case, ...] = (*GEOMETRY, *LOADING, *WEIGHTS, *NORMS, *OPERATIONS, *NEAR_MISSES, *PUBLIC)
CASES = PAIRS + MISTAKES
NAMES = [case.name for case in CASES]
assert len(set(NAMES)) == len(NAMES), f"twice: {[name for name in NAMES if NAMES.count(name) > 1]}"
