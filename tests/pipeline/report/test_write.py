"""Writing of a report."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from compress.core.errors import StoreError
from compress.core.run_record import RunRecord
from compress.pipeline.report import write as writing
from compress.pipeline.report.write import write
from tests.pipeline.report.pages import without_curves


def digests(paths: tuple[Path, ...]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_files_are_where_they_are_said_to_be(written: tuple[Path, ...]) -> None:
    names = [path.name for path in written]
    assert names[:2] == ["report.md", "report.html"]
    assert {"accuracy_size.svg", "accuracy_latency.svg", "latency.svg", "before_after.svg"} <= set(names)
    assert {"01_distill_curves_loss.svg", "02_prune_curves_loss.svg"} <= set(names)
    assert all(path.is_file() for path in written)
    assert not list(written[0].parent.rglob(".*"))


def test_a_record_read_back_from_json_gives_the_same_bytes(
    record: RunRecord, written: tuple[Path, ...], tmp_path: Path
) -> None:
    record.save(tmp_path / "record.json")
    again = write(RunRecord.load(tmp_path / "record.json"), tmp_path / "again")
    assert digests(again) == digests(written)


def test_nothing_is_written_when_rendering_fails(record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(report: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr(writing.page, "render", fail)
    with pytest.raises(RuntimeError, match="no page"):
        write(without_curves(record), tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_a_folder_that_is_a_file_is_said(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="cannot write"):
        write(without_curves(record), tmp_path / "taken")


def test_the_report_needs_no_torch() -> None:
    code = "import sys, compress.pipeline.report.write\n"
    code += "print({'torch', 'onnx', 'onnxruntime', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
