"""Records of whole runs."""

from pathlib import Path

from compress.core.run_record import RunRecord
from tests.pipeline.report.conftest import record

__all__ = ["record"]


def test_a_run_record_reads_back_what_it_saved(record: RunRecord, tmp_path: Path) -> None:
    record.save(tmp_path / "record.json")
    assert RunRecord.load(tmp_path / "record.json") == record


def test_every_stage_starts_with_the_teacher(record: RunRecord) -> None:
    assert record.every_stage[0] is record.teacher
    assert record.model_copy(update={"teacher": None}).every_stage == record.stages
