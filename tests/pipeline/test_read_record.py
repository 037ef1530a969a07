"""Records of finished runs, read back."""

from pathlib import Path

import pytest

from compress.core.checksums import hash_files, write_checksums
from compress.core.errors import StoreError
from compress.core.run_record import RunRecord
from compress.pipeline.read_record import check_artifacts, read_record, record_path, unverified
from tests.pipeline.report.conftest import record

__all__ = ["record"]


@pytest.fixture
def run(record: RunRecord, tmp_path: Path) -> Path:
    """A run directory with a record and an artifact, under checksums."""
    record.save(tmp_path / "record.json")
    model = tmp_path / "artifacts" / "host" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"network")
    write_checksums(tmp_path, hash_files(tmp_path, (tmp_path / "record.json", model)))
    return tmp_path


def test_a_run_directory_or_its_record_may_be_named(run: Path) -> None:
    assert record_path(run) == record_path(run / "record.json") == run / "record.json"


def test_a_record_that_was_edited_is_refused(run: Path, record: RunRecord) -> None:
    assert read_record(run / "record.json") == record
    with (run / "record.json").open("a") as file:
        file.write(" ")
    with pytest.raises(StoreError, match="was changed since it was written"):
        read_record(run / "record.json")


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"another")])
def test_an_artifact_that_was_changed_or_deleted_is_refused(run: Path, damage) -> None:
    check_artifacts(run)
    damage(run / "artifacts" / "host" / "model.onnx")
    with pytest.raises(StoreError, match="missing or was changed"):
        check_artifacts(run)


def test_a_record_by_itself_has_no_artifacts_to_check(run: Path) -> None:
    check_artifacts(run / "record.json")


@pytest.mark.parametrize("contents", [b"", b"{}", b'{"name": "\xff"}', b"[" * 100_000, b'"' + b"9" * 5000 + b'"'])
def test_something_else_than_a_record_is_a_clear_error(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "record.json").write_bytes(contents)
    with pytest.raises(StoreError, match="not a run's record"):
        read_record(tmp_path / "record.json")


def test_a_record_without_its_checksum_is_unverified(run: Path) -> None:
    assert unverified(run) == unverified(run / "record.json") == ""
    write_checksums(run, hash_files(run, (run / "artifacts" / "host" / "model.onnx",)))
    assert "unverified" in unverified(run)
    (run / "SHA256SUMS").unlink()
    assert "unverified" in unverified(run / "record.json")
