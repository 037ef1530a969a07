from pathlib import Path

import pytest

from compress.core.latest_run import follow_latest, link_latest, records_below


def run_of(out: Path, name: str, digest: str = "abc") -> Path:
    folder = out / name / digest
    (folder / "01-train").mkdir(parents=True)
    for place in (folder, folder / "01-train"):
        (place / "record.json").write_text("{}")
    return folder


def test_the_link_leads_to_the_run_that_ended_last(tmp_path: Path) -> None:
    first, second = run_of(tmp_path, "one"), run_of(tmp_path, "two")
    link_latest(tmp_path, first)
    link_latest(tmp_path, second)
    assert (tmp_path / "latest").resolve() == second.resolve()
    assert (tmp_path / "latest").readlink() == Path("two/abc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "one", "two"]


def test_each_run_is_found_once_beside_the_link(tmp_path: Path) -> None:
    link_latest(tmp_path, run_of(tmp_path, "one"))
    assert [record.parent.name for record in records_below(tmp_path)] == ["abc"]


def test_without_symbolic_links_a_text_file_leads_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = run_of(tmp_path, "one")
    link_latest(tmp_path, folder)
    assert (tmp_path / "latest").is_file()
    assert follow_latest(tmp_path / "latest") == folder
    assert [record.parent.name for record in records_below(tmp_path)] == ["abc"]


def test_a_text_file_leads_nowhere_outside(tmp_path: Path) -> None:
    for text in ("/etc", "../secret", "", "\udcff"):
        (tmp_path / "latest").write_text(text, encoding="utf-8", errors="surrogateescape")
        assert follow_latest(tmp_path / "latest") == tmp_path / "latest"


def test_a_folder_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest" / "abc").mkdir(parents=True)
    link_latest(tmp_path, run_of(tmp_path, "one"))
    assert not (tmp_path / "latest").is_symlink()
