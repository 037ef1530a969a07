"""Imports point one way: families do not import each other, and nothing that they stand on imports a family."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import compress

ROOT = Path(compress.__file__).parent
FAMILIES = ("adapt", "prune", "distill", "distill_data", "quantize", "export", "profile")
BELOW = ("train", "tasks", "data", "models", "devices", "recipe")
"""Rooms that families stand on."""


def imports(path: Path) -> set[tuple[str, int]]:
    """Modules of this package that a file imports anywhere, also inside functions and for types, with the line."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        found |= {(name, node.lineno) for name in names if name.startswith("compress.")}
    return found


def crossing(room: str, closed: tuple[str, ...]) -> list[str]:
    """Imports of closed rooms in a room."""
    return [
        f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name, line in sorted(imports(path))
        if name.split(".")[1] in closed
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_imports_no_other(family):
    assert list((ROOT / family).rglob("*.py"))
    assert crossing(family, tuple(other for other in FAMILIES if other != family)) == []


@pytest.mark.parametrize("room", BELOW)
def test_what_families_stand_on_imports_none(room):
    assert list((ROOT / room).rglob("*.py"))
    assert crossing(room, FAMILIES) == []


def test_every_way_to_import_is_seen(tmp_path):
    path = tmp_path / "file.py"
    path.write_text("from compress import prune\ndef f():\n    import compress.export.onnx\n", encoding="utf-8")
    assert {("compress.prune", 1), ("compress.export.onnx", 3)} <= imports(path)
