"""Structure of the package: rooms at the root, no new import loops, class names that mean one thing.

The exceptions below are exact: a test also fails when one of them is no longer needed.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

PACKAGE = Path(__file__).parents[1] / "compress"

ROOT_FILES = {"__init__.py", "__main__.py", "py.typed"}

LOOPS: list[list[str]] = []
"""Files that import each other in a loop, without `compress.`."""

SHARED_CLASS_NAMES: list[str] = ["Quantity", "Sidecar", "TensorLayout"]
"""Class names that stand in several files: stand-ins of the agent for two modules bear the names of the originals."""


@cache
def _modules() -> dict[str, ast.Module]:
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


def _imports(node: ast.AST) -> Iterator[str]:
    """Full names that are imported at run time, those in functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for statement in child.orelse:
                yield from _imports(statement)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        else:
            yield from _imports(child)


def _imported_modules(module: str) -> set[str]:
    names = set(_imports(_modules()[module]))
    return {name if name in _modules() else name.rpartition(".")[0] for name in names} & _modules().keys() - {module}


def _strongly_connected(graph: dict[str, set[str]]) -> list[list[str]]:
    nodes = sorted(graph)
    edges = [(nodes.index(source), nodes.index(target)) for source in nodes for target in graph[source]]
    rows, columns = np.array(edges, dtype=int).reshape(-1, 2).T
    matrix = csr_array((np.ones(len(edges)), (rows, columns)), shape=(len(nodes), len(nodes)))
    count, labels = connected_components(matrix, directed=True, connection="strong")
    components = [[node for node, label in zip(nodes, labels, strict=True) if label == index] for index in range(count)]
    return sorted(component for component in components if len(component) > 1)


def test_the_package_root_holds_only_rooms() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert {path.name for path in entries if path.is_file()} == ROOT_FILES
    assert [path.name for path in entries if path.is_dir() and path.name != "shipped" and not list(path.glob("*.py"))] == []


def test_strongly_connected_components_are_found() -> None:
    ring = {source: {target} for source, target in pairwise("abca")}
    assert _strongly_connected(ring | {"d": {"a"}, "e": set()}) == [["a", "b", "c"]]


def test_no_files_import_each_other_in_a_loop() -> None:
    graph = {module: _imported_modules(module) for module in _modules()}
    assert len(graph) > 100
    assert sum(map(len, graph.values())) > len(graph)
    loops = [[module.removeprefix("compress.") for module in loop] for loop in _strongly_connected(graph)]
    assert loops == LOOPS


def test_a_class_name_stands_in_one_file() -> None:
    modules = defaultdict(set)
    for module, tree in _modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                modules[node.name].add(module)
    assert sorted(name for name, places in modules.items() if len(places) > 1) == SHARED_CLASS_NAMES


def test_exceptions_are_sorted() -> None:
    assert sorted(LOOPS) == LOOPS
    assert all(sorted(loop) == loop for loop in LOOPS)
    assert sorted(SHARED_CLASS_NAMES) == SHARED_CLASS_NAMES
