"""Rows of the registry: the table of this package, rows of installed packages, rows of the user's own code."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.core.errors import CompressError, TrustError
from compress.core.registry import ENTRIES, add, lookup, named
from compress.core.registry_entry import Entry, Registry


def test_a_taken_name_and_an_unknown_family_are_refused() -> None:
    with pytest.raises(CompressError, match="'response' already exists"):
        add(Entry("loss", "response", "mine:Loss", "mine"))
    with pytest.raises(CompressError, match="unknown family 'losses'"):
        add(Entry("losses", "mine", "mine:Loss", "mine"))


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(CompressError, match=r"responce.*response"):
        lookup("loss", "responce")


PACKAGE = """\
from compress.core.registry import Entry
from compress.prune.criteria.norms import l1

smallest = l1
described = Entry("schedule", "stepped", "their_methods:curve", "their paper", {"single_step": True})

def curve(t, n, *, s_f, s_i=0.0):
    return s_f
"""


def install(folder: Path, entry_points: dict[str, str]) -> None:
    """A distribution as pip leaves it."""
    (folder / "their_methods.py").write_text(PACKAGE)
    info = folder / "their_package-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.2\n")
    lines = [f"{name} = {target}" for name, target in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[compress.methods]", *lines, ""]))


@pytest.fixture
def package_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("their_methods", None)


def test_a_package_adds_rows_by_entry_points(package_folder: Path) -> None:
    install(package_folder, {"importance.smallest": "their_methods:smallest", "schedule.stepped": "their_methods:described"})
    registry = Registry(ENTRIES)
    assert "smallest" in registry.names("importance")
    assert "their_methods" not in sys.modules
    assert registry.lookup("importance", "smallest").source == "package their-package 1.2"
    described = registry.lookup("schedule", "stepped")
    assert (described.source, described.options) == ("their paper", {"single_step": True})
    assert described.load()(1, 2, s_f=0.5) == 0.5


def test_a_package_with_a_taken_name_is_ignored_with_a_warning(package_folder: Path) -> None:
    install(package_folder, {"loss.response": "their_methods:smallest"})
    registry = Registry(ENTRIES)
    with pytest.warns(UserWarning, match=r"loss\.response.*their-package 1\.2 is ignored.*already exists"):
        assert registry.lookup("loss", "response").target.startswith("compress.")


def test_a_broken_package_is_named_when_its_method_is_used(package_folder: Path) -> None:
    install(package_folder, {"loss.theirs": "their_methods:missing"})
    registry = Registry(ENTRIES)
    with pytest.raises(CompressError, match=r"loss 'theirs' of package their-package 1\.2 cannot be loaded"):
        registry.lookup("loss", "theirs")


def test_the_command_line_knows_an_installed_package(package_folder: Path) -> None:
    install(package_folder, {"importance.smallest": "their_methods:smallest"})
    command = [sys.executable, "-m", "compress", "methods", "importance"]
    path = f"{package_folder}:{Path(__file__).parents[2]}"
    listed = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": path, "COLUMNS": "160"})
    assert "smallest" in listed.stdout
    assert "package their-package 1.2" in listed.stdout


def test_own_code_needs_trust_and_an_edited_file_is_loaded_anew(tmp_path: Path) -> None:
    registry, name = Registry(()), "python:own.py:curve"
    (tmp_path / "own.py").write_text("def curve():\n    return 1\n")
    with pytest.raises(TrustError, match="--trust-code"):
        registry.add_user_code("schedule", name, tmp_path, trust_code=False)
    assert registry.names("schedule") == ()
    for value in (1, 2):
        (tmp_path / "own.py").write_text(f"def curve():\n    return {value}\n")
        registry.add_user_code("schedule", name, tmp_path, trust_code=True)
        assert registry.lookup("schedule", name).load()() == value


def test_temporary_rows_go_with_all_that_was_added_meanwhile() -> None:
    registry = Registry((Entry("loss", "a", "m:a", "x"),))
    with registry.temporary(Entry("loss", "b", "m:b", "x")):
        registry.add(Entry("schedule", "c", "m:c", "x"))
        assert [row.name for row in registry.entries()] == ["a", "b", "c"]
    assert [row.name for row in registry.entries()] == ["a"]


def test_a_name_is_a_family_or_a_method_of_any_family() -> None:
    assert {row.family for row in named("importance")} == {"importance"}
    assert [(row.family, row.name) for row in named("taylor")] == [("importance", "taylor")]
    assert {row.family for row in named("embedding")} == {"loss", "task"}
    with pytest.raises(CompressError, match=r"no family or method 'tailor': .*taylor"):
        named("tailor")
