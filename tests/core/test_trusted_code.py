import pickle
import sys
from pathlib import Path

import pytest

from compress.core.errors import CompressError, TrustError
from compress.core.trusted_code import code_hash, load_function, load_module, source_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("FACTOR = 3\n")
    (tmp_path / "own.py").write_text(
        "from neighbour import FACTOR\n\ndef triple(x):\n    return FACTOR * x\n\nclass Point:\n    pass\n"
    )
    return tmp_path


def test_a_function_may_import_the_files_beside_it(folder: Path) -> None:
    path = list(sys.path)
    assert load_function("own.py:triple", folder, True)(4) == 12
    assert sys.path == path


def test_without_trust_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("raise SystemExit\n")
    with pytest.raises(TrustError, match="--trust-code"):
        load_function("own.py:triple", tmp_path, False)


def test_an_edited_file_is_imported_anew(folder: Path) -> None:
    first = load_module("own.py:triple", folder, True)
    assert load_module("own.py:triple", folder, True) is first
    (folder / "own.py").write_text("def triple(x):\n    return x + x + x\n")
    assert load_module("own.py:triple", folder, True) is not first
    assert load_function("own.py:triple", folder, True)("a") == "aaa"


def test_objects_of_own_classes_can_be_pickled(folder: Path) -> None:
    kind = load_function("own.py:Point", folder, True)
    assert type(pickle.loads(pickle.dumps(kind()))) is kind  # noqa: S301


@pytest.mark.parametrize("reference", ["own:triple", "own.py", "own.py:two words", "own.py:"])
def test_a_reference_names_a_file_and_a_function(folder: Path, reference: str) -> None:
    with pytest.raises(CompressError, match=r"FILE\.py:FUNCTION"):
        source_file(reference, folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(CompressError, match=r"no such file: .*other\.py"):
        source_file("other.py:triple", folder)
    with pytest.raises(CompressError, match="no function 'tripel': did you mean 'triple'"):
        load_function("own.py:tripel", folder, True)


def test_a_file_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(CompressError, match=r"broken\.py failed while it was imported: ZeroDivisionError"):
        load_function("broken.py:f", tmp_path, True)
    assert not [name for name in sys.modules if name.startswith("compress_user_broken_")]


def test_the_hash_follows_every_file_that_is_imported(folder: Path) -> None:
    package = folder / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from . import deeper\n")
    (package / "deeper.py").write_text("VALUE = 1\n")
    (folder / "unrelated.py").write_text("")
    (folder / "neighbour.py").write_text("import parts.inner\nFACTOR = 3\n")
    before = code_hash("own.py:triple", folder)
    assert code_hash("own.py:triple", folder) == before
    (folder / "unrelated.py").write_text("x = 1\n")
    assert code_hash("own.py:triple", folder) == before
    seen = {before}
    for file, text in ((package / "deeper.py", "VALUE = 2\n"), (folder / "neighbour.py", "FACTOR = 4\n")):
        file.write_text(text)
        seen.add(code_hash("own.py:triple", folder))
    assert len(seen) == 3


def test_a_name_that_is_computed_may_import_any_file(folder: Path) -> None:
    (folder / "own.py").write_text(
        "import importlib\nmodule = importlib.import_module('neigh' + 'bour')\ndef triple(x): return x\n"
    )
    before = code_hash("own.py:triple", folder)
    (folder / "neighbour.py").write_text("FACTOR = 4\n")
    assert code_hash("own.py:triple", folder) != before


def test_an_edited_neighbour_is_imported_anew(folder: Path) -> None:
    assert load_function("own.py:triple", folder, True)(4) == 12
    (folder / "neighbour.py").write_text("FACTOR = 5\n")
    assert load_function("own.py:triple", folder, True)(4) == 20


def test_two_folders_have_their_own_neighbours(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "own.py").write_text((folder / "own.py").read_text())
    (other / "neighbour.py").write_text("FACTOR = 7\n")
    assert [load_function("own.py:triple", base, True)(1) for base in (folder, other, folder)] == [3, 7, 3]


def test_a_helper_that_is_found_through_sys_path_counts(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "src" / "helper_elsewhere.py").write_text("VALUE = 1\n")
    (tmp_path / "recipes" / "own.py").write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path / 'src')!r})\n"
        "from helper_elsewhere import VALUE\ndef value(): return VALUE\n"
    )
    before = code_hash("own.py:value", tmp_path / "recipes")
    path = list(sys.path)
    try:
        assert load_function("own.py:value", tmp_path / "recipes", True)() == 1
        assert code_hash("own.py:value", tmp_path / "recipes") == before
    finally:
        sys.path[:] = path
    (tmp_path / "src" / "helper_elsewhere.py").write_text("VALUE = 2\n")
    assert code_hash("own.py:value", tmp_path / "recipes") != before
