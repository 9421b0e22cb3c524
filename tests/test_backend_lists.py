"""A list of the backends comes from `BACKENDS`. This finds lists that are written down and lack one of them.

A list is a literal of Python, the cases of a `match`, or names in a row in any text. It names backends by name, by
alias or by the title of the framework. In the code of the package and of the scripts two names make a list; in tests
and texts three do, because these choose pairs.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenet_multi.backends import ALIASES, BACKENDS

ROOT = Path(__file__).parent.parent
FOLDERS = ["lenet_multi", "scripts", "tests", "docs", "*.md", "*.toml", "*file", ".ci", ".devcontainer"]
# Where a list may lack a backend, and why.
ALLOWED = {
    "lenet_multi/backends/__init__.py": "the registry: what holds for some frameworks only",
    "lenet_multi/distributed/": "training with several workers, which the backends in WORKER_VARIABLES have",
    "tests/test_distributed.py": "as above",
    "tests/test_cluster.py": "as above",
    "docs/scale.md": "as above",
    "scripts/port_collection/": "mistakes in ports, each between two frameworks",
    "tests/test_flax_ports.py": "ports between Flax and each of the others",
    "lenet_multi/exporting/exporter.py": "file formats, one of them for each framework that has its own",
    "tests/test_export.py": "as above",
}
# Tables of scripts that lack a backend, and why. What was not measured yet, the pages say.
WITHOUT_ROWS = {
    "docs/scale.md, scaling": "training with several workers",
    "README.md, speed": "JAX has a table of its own, from another machine",
    "docs/performance.md, ways": "as above",
    "docs/performance.md, ablation, plain": "not measured with JAX yet",
    "docs/performance.md, ablation, fast": "as above",
    "docs/performance.md, presets": "as above",
    "docs/performance.md, busy": "as above",
    "docs/performance.md, parts": "as above",
    "docs/exercises.md, pooling": "as above",
    "docs/exercises.md, modern": "as above",
    "docs/data.md, own data": "as above",
}

# What a text may call a backend.
BACKEND_OF = {name: name for name in BACKENDS} | ALIASES
BACKEND_OF |= {BACKENDS.get(name, name.capitalize()): backend for name, backend in BACKEND_OF.items()}
NAME = rf"\b(?:{'|'.join(BACKEND_OF)})\b"
# Between two names of a list: commas, quotes and other signs, but no words except these.
BETWEEN = r"(?:[^\w.]|\band\b|\bor\b|\bthen\b)+"
NAMES_IN_A_ROW = re.compile(rf"{NAME}(?:{BETWEEN}{NAME})+")

Found = tuple[int, set[str]]  # a line, and the backends that a list there names


def lists_in_text(text: str) -> Iterator[Found]:
    """Names in a row, in whatever language: `torch|mxnet`, `PyTorch, Keras and Gluon`, `["torch", "mxnet"]`."""
    for row in NAMES_IN_A_ROW.finditer(text):
        yield text.count("\n", 0, row.start()) + 1, {BACKEND_OF[name] for name in re.findall(NAME, row[0])}


def lists_in_code(source: str) -> Iterator[Found]:
    """Literals and `match` statements of Python, of which the elements or their first parts are texts of names only."""
    for node in ast.walk(ast.parse(source)):
        for elements in elements_of(node):
            assert isinstance(node, ast.expr | ast.stmt)  # the others have no line
            yield node.lineno, {backend for element in elements for backend in backends_of(element)}


def elements_of(node: ast.AST) -> list[list[ast.expr]]:
    """What could be a list in a node of the syntax tree: the elements of a literal, or a dict's keys or values."""
    match node:
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements) | ast.Call(args=elements):
            return [elements]
        case ast.Dict(keys=keys, values=values):
            return [[key for key in keys if key], values]
        case ast.Match(cases=cases):
            patterns = [pattern for case in cases for pattern in ast.walk(case.pattern)]
            return [[pattern.value for pattern in patterns if isinstance(pattern, ast.MatchValue)]]
        case ast.Constant():
            return [[node]]
    return []


def backends_of(element: ast.expr) -> set[str]:
    """The backends that an element names, as `"torch"`, `"torch,mxnet"`, `("torch", ...)` or `param("torch", ...)`."""
    match element:
        case ast.Constant(value=str(text)):
            words = re.split(r"[\s,]+", text)
            return {BACKEND_OF[word] for word in words} if set(words) <= set(BACKEND_OF) else set()
        case ast.Tuple(elts=[ast.Constant() as first, *_]) | ast.List(elts=[ast.Constant() as first, *_]):
            return backends_of(first)
        case ast.Call(args=[ast.Constant() as first, *_]):
            return backends_of(first)
    return set()


def incomplete(found: Iterator[Found], least: int) -> list[int]:
    """The lines of the lists that name at least so many backends, but not all."""
    return sorted({line for line, backends in found if least <= len(backends) < len(BACKENDS)})


def incomplete_lists(path: str, text: str) -> list[int]:
    """The lines of the incomplete lists in a file."""
    is_python = path.endswith(".py") or text.startswith("#!/usr/bin/env python3")
    is_code = path.startswith(("lenet_multi/", "scripts/"))
    in_code = incomplete(lists_in_code(text), 2 if is_code else 3) if is_python else []
    return sorted({*in_code, *incomplete(lists_in_text(text), 3)})


def files() -> dict[str, str]:
    """The text files that git tracks, by path."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *FOLDERS]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [path for path in listed.split("\0") if path and (ROOT / path).is_file()]
    return {path: (ROOT / path).read_text(errors="replace") for path in paths if not path.endswith(".png")}


def test_every_list_of_the_backends_names_all():
    here = str(Path(__file__).relative_to(ROOT))
    found = [
        f"{path}:{line}" for path, text in files().items() if path != here for line in incomplete_lists(path, text)
    ]
    unexpected = [line for line in found if not line.startswith(tuple(ALLOWED))]
    assert unexpected == [], "these lists lack a backend: take them from BACKENDS, or give a reason in ALLOWED"
    unused = [place for place in ALLOWED if not any(line.startswith(place) for line in found)]
    assert unused == [], "these need no exception any more"


def test_every_table_of_the_scripts_has_rows_for_all():
    """A script writes between the markers of a page, or the whole page."""
    written = {
        f"{path}, {name}": tables
        for path, text in files().items()
        if path.endswith(".md")
        for name, tables in re.findall(r"<!-- (.+) -->\n(.*?)<!-- end of \1 -->", text, flags=re.DOTALL)
    }
    written["docs/results.md"] = (ROOT / "docs" / "results.md").read_text()
    titles = {
        place: {title for title in BACKENDS.values() if re.search(rf"\| {title} \|", tables)}
        for place, tables in written.items()
    }
    compared = {place: found for place, found in titles.items() if len(found) >= 2}
    assert len(compared) >= 10
    lacking = {place: set(BACKENDS.values()) - found for place, found in compared.items()}
    assert {place for place, titles in lacking.items() if titles} == set(WITHOUT_ROWS)


@pytest.mark.parametrize(
    "text",
    [
        'names = ["torch", "tensorflow", "mxnet"]',
        'versions = describe_machine("torch", "mxnet", "numpy")',
        'TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow"}',
        'ORDER = {1: "keras", 2: "gluon"}',
        'rows = [("torch", 1), ("flax", 2)]',
        'CASES = [pytest.param("torch", 1), pytest.param("mxnet", 2)]',
        'default = "torch,tensorflow"',
        'match name:\n    case "torch":\n        pass\n    case "jax":\n        pass',
        '"""In PyTorch, Keras or Gluon."""',
        "# torch, then tensorflow, then mxnet",
    ],
)
def test_a_list_in_python_that_lacks_a_backend_is_found(text):
    assert incomplete_lists("lenet_multi/made_up.py", text) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "for backend in torch tensorflow mxnet; do",
        "torch | tensorflow | mxnet) train ;;",
        'new Map([["torch", "PyTorch"], ["tensorflow", "TensorFlow"], ["mxnet", "MXNet"]]);',
        "The lines of `PyTorch`, **Keras**\nand Gluon coincide.",
    ],
)
def test_a_list_in_another_language_that_lacks_a_backend_is_found(text):
    assert incomplete_lists("docs/made_up", text) == [1]


@pytest.mark.parametrize(
    "text",
    [
        f"names = {list(BACKENDS)}",
        f"titles = {BACKENDS}",
        f"'''In {', '.join(BACKENDS.values())}.'''",
        'layouts = ("channels first", "torch")',
        'packages = ["tensorflow", "keras"]',
        "'''PyTorch puts the channels first, Keras last, and Gluon first.'''",
    ],
)
def test_a_list_of_all_backends_or_of_one_is_none_of_these(text):
    assert incomplete_lists("lenet_multi/made_up.py", text) == []
