"""The report as Markdown."""

import re
from pathlib import Path

import pytest

from compress.core.run_record import RunRecord
from compress.pipeline.report import markdown
from compress.pipeline.report.write import write
from tests.pipeline.report.pages import malicious


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head(written: tuple[Path, ...]) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", written[0].read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


def test_markdown_points_only_at_pictures_that_were_written(written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    targets = re.findall(r"!\[.*\]\((.*)\)", text)
    assert sorted(targets) == sorted(f"figures/{path.name}" for path in written[2:])


def test_every_footnote_has_its_text_once(written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    defined = re.findall(r"^\[\^(\d+)\]: \S", text, flags=re.MULTILINE)
    assert defined == [str(number) for number in range(1, len(defined) + 1)]
    assert set(re.findall(r"\[\^(\d+)\](?!:)", text)) == set(defined)


def test_hostile_text_breaks_no_markdown(record: RunRecord, tmp_path: Path) -> None:
    text = write(malicious(record), tmp_path)[0].read_text(encoding="utf-8")
    outside = re.sub(r"^(`{3,})yaml\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in outside
    assert not set("\x1b\u202e") & set(text)
    assert "out of the fence" not in outside
    assert not [line for line in outside.splitlines() if line.startswith("## heading")]
    for table in re.findall(r"(?:^\|.*\|\n)+", outside, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


@pytest.mark.parametrize("text", ["a|b", "<b>", "*x*", "`c`", "_it_", "[l](u)", "line\nbreak", "a\\|b"])
def test_escaped_markdown_keeps_no_active_sign(text: str) -> None:
    escaped = markdown.escape(text)
    assert "\n" not in escaped
    bare = re.sub(r"\\[\\`*\[\]|~#_]", "", escaped)
    assert not re.search(r"[|`*\[\]<>]|(?<!\w)_|_(?!\w)", bare)


def test_names_with_inner_underscores_stay_readable() -> None:
    assert markdown.escape("jetson_orin_nano") == "jetson_orin_nano"
