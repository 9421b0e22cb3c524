"""Imports run one way: CONTRIBUTING.md lists the places of the package, each above the places that import it."""

import ast
import re
import subprocess
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
# Modules that a file names as text: a fast backend is imported by its name, and commands are started as processes.
NAMED = {
    ("lenet_multi.backends", "lenet_multi.fast"),
    ("lenet_multi.comparison.case_runs", "lenet_multi.train"),
    ("lenet_multi.comparison.plan", "lenet_multi.compare"),
    ("lenet_multi.comparison.ray_task", "lenet_multi.train"),
    ("lenet_multi.comparison.runner", "lenet_multi.compare"),
    ("lenet_multi.launch", "lenet_multi.train"),
    ("lenet_multi.runs.trainer", "lenet_multi.train"),
}
# These import modules by name; `compare_port` those of its user.
IMPORT_BY_NAME = {
    "lenet_multi",
    "lenet_multi.__main__",
    "lenet_multi.backends",
    "lenet_multi.compare_port",
    "lenet_multi.distributed",
    "lenet_multi.exporting.dialects",
}
MOST_LINES = 370


def rows(text: str) -> list[list[str]]:
    """The places in each row of the table, without slashes."""
    cells = re.findall(r"^\| (`[^|]*`) \|", text, flags=re.M)
    return [[name.rstrip("/") for name in re.findall(r"`([^`]+)`", cell)] for cell in cells]


def place(module: str) -> str:
    """The folder or top-level file that a module belongs to."""
    return module.split(".")[1] if module != "lenet_multi" else "__init__"


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """Every module of the package that a file imports, in functions and for types too, or names as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lenet_multi"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            if node.module and node.module.split(".")[0] == "lenet_multi":
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    yield name if name in FILES else node.module
        elif isinstance(node, ast.Constant) and re.fullmatch(r"lenet_multi(\.\w+)+", str(node.value)):
            yield str(node.value)


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
        for module, target in edges
        if place(module) != place(target) and rank[place(target)] >= rank[place(module)]
    )


@pytest.fixture(scope="module")
def order():
    return rows((ROOT / "CONTRIBUTING.md").read_text())


def test_the_table_names_every_place_once(order):
    named = [name for names in order for name in names]
    assert sorted(named) == sorted({place(module) for module in FILES})


def test_no_file_imports_from_a_row_below(order):
    assert upward(edges() - NAMED, order) == []


def test_modules_that_are_named_as_text_are_named_so():
    assert NAMED - edges() == set()


def test_no_other_file_imports_by_name():
    calls = re.compile(r"import_module|__import__|importlib\.(?!metadata)|import importlib\b")
    assert {module for module, path in FILES.items() if calls.search(path.read_text())} == IMPORT_BY_NAME


def test_no_file_imports_a_private_name_of_another():
    private = [
        f"{module}: {alias.name}"
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lenet_multi")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert private == []


def test_git_tracks_every_file():
    """A file that .gitignore hides is missing from a clone, and from the wheel."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "lenet_multi"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert {str(path.relative_to(ROOT)) for path in FILES.values()} <= set(listed)


def test_files_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {}
    for module, target in edges() - NAMED:
        graph.setdefault(module, set()).add(target)
    TopologicalSorter(graph).prepare()


def test_the_package_itself_is_imported_by_no_file():
    assert [module for module, target in edges() if target == "lenet_multi"] == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("lenet_multi.system.process", "from lenet_multi.data import Split", "lenet_multi.data"),
        ("lenet_multi.data.idx", "def f():\n    import lenet_multi.runs.weights", "lenet_multi.runs.weights"),
        ("lenet_multi.train", "from lenet_multi import evaluate", "lenet_multi.evaluate"),
        ("lenet_multi.fast.torch", "import_module('lenet_multi.checks.fixture')", "lenet_multi.checks.fixture"),
    ],
)
def test_an_import_from_a_row_below_is_found(module, line, found, order):
    """Known wrong imports, for the checker itself."""
    assert list(imported(module, ast.parse(line))) == [found]
    assert upward({(module, found)}, order) == [f"{module} imports {found}"]


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_no_file_is_too_long_to_read():
    assert [module for module, path in FILES.items() if len(path.read_text().splitlines()) > MOST_LINES] == []
