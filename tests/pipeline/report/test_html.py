"""The report as one HTML file."""

from pathlib import Path

from compress.core.run_record import RunRecord
from compress.pipeline.report.write import write
from tests.pipeline.report.pages import malicious, read


def test_the_page_needs_nothing_from_outside(written: tuple[Path, ...]) -> None:
    page = read(written[1])
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in written[1].read_text(encoding="utf-8")


def test_hostile_text_stays_text(record: RunRecord, tmp_path: Path) -> None:
    evil = malicious(record)
    _, page, *pictures = write(evil, tmp_path)
    reader = read(page)
    assert "script" not in reader.tags
    assert "<script>alert('x')</script>" in "".join(reader.text)
    assert all(path.parent == tmp_path / "figures" for path in pictures)
