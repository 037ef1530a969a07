"""Records of earlier versions still give a report; one that was cut short gives an error."""

import gzip
from pathlib import Path

import pytest

from compress.core.errors import StoreError
from compress.core.run_record import RunRecord
from compress.pipeline.publish import rerender_report
from compress.pipeline.report.write import write

FOLDER = Path(__file__).with_name("older_records")
"""Records of the example, as the first and the third version of its recipe left them."""
EXAMPLE = Path(__file__).parents[3] / "reports" / "example" / "record.json"


@pytest.mark.parametrize("name", ["first", "third"])
def test_a_record_of_an_earlier_version_is_drawn(name: str, tmp_path: Path) -> None:
    text = gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes())
    record = RunRecord.model_validate_json(text)
    markdown, page, *pictures = write(record, tmp_path)
    shown = markdown.read_text(encoding="utf-8")
    assert "**MET" in shown
    assert "≤ 1 MB" in shown
    assert "Not recorded: the task has no classes, or" in shown
    assert "latency on the host" in page.read_text(encoding="utf-8")
    assert "accuracy_latency.svg" in {path.name for path in pictures}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_record_that_was_cut_short_is_an_error_with_its_name(share: float, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "record.json").write_text(text[: int(share * len(text))], encoding="utf-8")
    with pytest.raises(StoreError, match=r"record.json is not a run's record"):
        rerender_report(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_the_example_is_drawn_small(tmp_path: Path) -> None:
    record = RunRecord.load(EXAMPLE)
    written = write(record, tmp_path)
    assert written[1].stat().st_size < 400_000
