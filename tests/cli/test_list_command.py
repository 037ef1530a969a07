"""`compress list`."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from compress.cli.list_command import _age
from tests.cli.run_process import compress

EXAMPLE = Path(__file__).parents[2] / "reports" / "example" / "record.json"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "resnet50_to_mobilenet" / "abc"
    folder.mkdir(parents=True)
    shutil.copy(EXAMPLE, folder)
    (tmp_path / "runs" / "latest").symlink_to("resnet50_to_mobilenet/abc")
    return tmp_path / "runs"


def test_each_run_is_a_row_with_verdict_metric_size_and_latency(runs: Path) -> None:
    lines = compress("list", runs).stdout.splitlines()
    assert lines[0].split() == ["run", "age", "verdict", "metric", "size", "latency"]
    assert len(lines) == 2
    assert "resnet50_to_mobilenet/abc" in lines[1]
    assert "met" in lines[1]
    assert "97.59 %" in lines[1]
    assert "0.299 MB" in lines[1]
    assert "host" in lines[1]


def test_json_has_the_numbers_of_the_record(runs: Path) -> None:
    (row,) = json.loads(compress("list", runs, "--json").stdout)
    final = json.loads(EXAMPLE.read_text(encoding="utf-8"))["stages"][-1]["after"]
    assert row["metric"]["value"] == final["accuracy"]["value"]
    assert row["size_bytes"] == final["size_bytes"]["value"]
    assert row["run"] == str(runs / "resnet50_to_mobilenet" / "abc")


def test_a_damaged_record_is_a_row_and_no_error(runs: Path) -> None:
    (runs / "other" / "def").mkdir(parents=True)
    (runs / "other" / "def" / "record.json").write_text("{")
    done = compress("list", runs)
    assert done.returncode == 0
    assert "cannot be read" in done.stdout
    assert "97.59 %" in done.stdout


def test_an_empty_folder_and_a_missing_one_are_said(tmp_path: Path) -> None:
    assert "no runs below" in compress("list", tmp_path).stdout
    missing = compress("list", tmp_path / "nowhere")
    assert missing.returncode == 2
    assert "no folder" in missing.stderr


def test_the_age_has_one_unit() -> None:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    for passed, text in ((timedelta(minutes=5), "5 min"), (timedelta(hours=3), "3 h"), (timedelta(days=4), "4 d")):
        assert _age((now - passed).isoformat(), now) == text
    assert _age("", now) == ""
