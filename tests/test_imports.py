"""Imports run one way: CONTRIBUTING.md lists the places of the package, each above the places that import it."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lenet_multi"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# `load_backend` imports a module of `fast/` by a name that it builds. That is the one exception.
BY_NAME = "fast, by name"
EXCEPTIONS = {("lenet_multi.backends", BY_NAME)}
MOST_LINES = 370  # of a file that does not say why it is longer


def rows(text: str) -> list[list[str]]:
    """The places in each row of the table, without slashes."""
    cells = re.findall(r"^\| (`[^|]*`) \|", text, flags=re.M)
    return [[name.rstrip("/") for name in re.findall(r"`([^`]+)`", cell)] for cell in cells]


def place(module: str) -> str:
    """The folder or top-level file that a module belongs to."""
    return module.split(".")[1] if module != "lenet_multi" else "__init__"


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """Every module of the package that a file imports, in functions and for types too, or names for `import_module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lenet_multi"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            if node.module and node.module.split(".")[0] == "lenet_multi":
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    yield name if name in FILES else node.module
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from re.findall(r"lenet_multi\.\w+", ast.unparse(node))
        elif isinstance(node, ast.JoinedStr | ast.Constant) and module == "lenet_multi.backends":
            for folder in re.findall(r"'(\w+)' if fast", ast.unparse(node)):
                yield f"{folder}, by name"


def edges() -> set[tuple[str, str]]:
    return {
        (module, target)
        for module, path in FILES.items()
        for target in imported(module, ast.parse(path.read_text()))
        if target != module
    }


def upward(edges: set[tuple[str, str]], order: list[list[str]]) -> list[str]:
    """The imports from a row below, and those between commands."""
    rank = {name: number for number, names in enumerate(order) for name in names}
    return sorted(
        f"{module} imports {target}"
        for module, target in edges - EXCEPTIONS
        if place(module) != place(target) and rank[place(target)] >= rank[place(module)]
    )


@pytest.fixture(scope="module")
def order():
    return rows((ROOT / "CONTRIBUTING.md").read_text())


def test_the_table_names_every_place_once(order):
    named = [name for names in order for name in names]
    assert sorted(named) == sorted({place(module) for module in FILES})


def test_no_file_imports_from_a_row_below(order):
    assert upward(edges(), order) == []


def test_files_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {}
    for module, target in edges() - EXCEPTIONS:
        graph.setdefault(module, set()).add(target)
    TopologicalSorter(graph).prepare()


def test_the_package_itself_is_imported_by_no_file():
    assert [module for module, target in edges() if target == "lenet_multi" and module != "lenet_multi.__main__"] == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("lenet_multi.system.process", "from lenet_multi.data import Split", "lenet_multi.data"),
        ("lenet_multi.data.idx", "def f():\n    import lenet_multi.runs.weights", "lenet_multi.runs.weights"),
        ("lenet_multi.train", "from lenet_multi import evaluate", "lenet_multi.evaluate"),
        ("lenet_multi.fast.torch", "import_module(f'lenet_multi.checks.{name}')", "lenet_multi.checks"),
    ],
)
def test_an_import_from_a_row_below_is_found(module, line, found, order):
    """Known wrong imports, for the checker itself."""
    assert list(imported(module, ast.parse(line))) == [found]
    assert upward({(module, found)}, order) == [f"{module} imports {found}"]


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_long_files_give_a_reason():
    """A longer file says in its docstring why it is one file."""
    for module, path in FILES.items():
        text = path.read_text()
        if len(text.splitlines()) > MOST_LINES:
            assert "one file" in (ast.get_docstring(ast.parse(text)) or ""), module
