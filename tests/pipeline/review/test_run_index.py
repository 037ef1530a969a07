"""The index of all runs."""

import sqlite3
from pathlib import Path

import pytest

from compress.core.errors import StoreError
from compress.core.run_record import RunRecord
from compress.pipeline.review.run_index import INDEX, read_runs


def save(record: RunRecord, folder: Path, name: str, started: str = "2026-01-01T00:00:00+00:00") -> Path:
    path = folder / name / "0123" / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record.model_copy(update={"name": name, "started": started}).save(path)
    return path


def test_the_index_follows_the_records(example: RunRecord, tmp_path: Path) -> None:
    first = save(example, tmp_path, "first")
    save(example, tmp_path, "second", "2026-02-01T00:00:00+00:00")
    runs = read_runs(tmp_path)
    assert [run.name for run in runs] == ["second", "first"]
    assert runs[0].value == example.stages[-1].after["accuracy"].value
    assert runs[0].latencies.keys() == {"host"}  # estimates are no measurements
    save(example, tmp_path, "first", "2026-03-01T00:00:00+00:00")
    assert [run.name for run in read_runs(tmp_path)] == ["first", "second"]
    first.unlink()
    assert [run.name for run in read_runs(tmp_path)] == ["second"]


def test_a_damaged_record_is_a_row_of_its_own(example: RunRecord, tmp_path: Path) -> None:
    save(example, tmp_path, "whole")
    save(example, tmp_path, "damaged").write_text('{"name": 3')
    runs = {run.name: run for run in read_runs(tmp_path)}
    assert runs["whole"].fault == ""
    assert "is not a run's record" in runs["damaged"].fault


def test_records_are_read_once(example: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(example, tmp_path, "run")
    before = read_runs(tmp_path)

    def fail(path: Path) -> RunRecord:
        raise AssertionError(path)

    monkeypatch.setattr("compress.pipeline.review.run_index.read_record", fail)
    assert read_runs(tmp_path) == before
    with pytest.raises(AssertionError):
        read_runs(tmp_path, rebuild=True)


@pytest.mark.parametrize("content", [b"no database at all", b""])
def test_a_damaged_index_is_made_anew(example: RunRecord, tmp_path: Path, content: bytes) -> None:
    save(example, tmp_path, "run")
    (tmp_path / INDEX).parent.mkdir()
    (tmp_path / INDEX).write_bytes(content)
    assert len(read_runs(tmp_path)) == 1


def test_an_index_of_other_columns_is_made_anew(example: RunRecord, tmp_path: Path) -> None:
    save(example, tmp_path, "run")
    (tmp_path / INDEX).parent.mkdir()
    with sqlite3.connect(tmp_path / INDEX) as database:
        database.execute("CREATE TABLE runs (stamp, path)")
    database.close()
    assert [run.name for run in read_runs(tmp_path)] == ["run"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no folder"):
        read_runs(tmp_path / "none")


def test_a_verdict_is_in_words(example: RunRecord, tmp_path: Path) -> None:
    save(example.model_copy(update={"smoke": True}), tmp_path, "smoke")
    save(example.model_copy(update={"verdict": None}), tmp_path, "bare")
    assert {run.name: run.result for run in read_runs(tmp_path)} == {"smoke": "toy size", "bare": "no budget"}
