import json
from pathlib import Path

import pytest

from compress.core.errors import StoreError
from compress.core.run_record import RunRecord
from compress.pipeline.publish import rerender_report
from compress.pipeline.read_record import read_record
from tests.pipeline.report.conftest import record

__all__ = ["record"]


def test_a_record_by_itself_is_read_and_drawn(record: RunRecord, tmp_path: Path) -> None:
    record.save(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert [path.name for path in rerender_report(tmp_path / "record.json", tmp_path / "out")[:2]] == [
        "report.md",
        "report.html",
    ]


def test_values_that_cannot_be_drawn_are_a_clear_error(record: RunRecord, tmp_path: Path) -> None:
    content = json.loads(record.model_dump_json())
    content["stages"][0]["curves"]["loss"]["y"] = [1e308, -1e308, 0, None, 1e-308, 1, 2, 3, 4, 5]
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"values of .* cannot be drawn"):
        rerender_report(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
