"""The page on A4: the first sheet decides, and no table is cut."""

import io
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from compress.core.run_record import RunRecord
from compress.pipeline.report.write import write
from tests.pipeline.report.browser.conftest import OpenPage
from tests.pipeline.report.browser.records import NAMES, comparison, cut, named, overfull

SHEET = 695
"""Width of the text on A4, px: 210 mm less twice 13 mm."""
FIRST = (
    "Limits",
    "Networks",
    "Devices",
    "Points for review",
    "Classes",
    "Rebuild",
    "Review",
    "Reviewer",
    "Decision",
    "send back",
)
"""What the first sheet shows of every run."""


def sheets(page: Any) -> list[str]:
    """Text of each sheet, without spaces, since a line break in a table stands for one, and without ligatures."""
    pypdf = pytest.importorskip("pypdf", reason="needs the package pypdf")
    content = page.pdf(format="A4", prefer_css_page_size=True, print_background=True)
    return [_plain(sheet.extract_text()) for sheet in pypdf.PdfReader(io.BytesIO(content)).pages]


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def cases(record: RunRecord) -> dict[str, RunRecord]:
    last = record.stages[-1].model_copy(update={"class_comparison": comparison(tuple("abc"))})
    plain = record.model_copy(update={"stages": (*record.stages[:-1], last)})
    return {"plain": plain, "overfull": overfull(plain), "cut": cut(record)} | {
        name: named(record, NAMES[name]) for name in ("long", "right_to_left", "emoji")
    }


@pytest.mark.parametrize("case", ["plain", "overfull", "cut", "long", "right_to_left", "emoji"])
def test_the_first_sheet_holds_the_decision_and_nothing_else(
    record: RunRecord, open_page: OpenPage, tmp_path: Path, case: str
) -> None:
    each = cases(record)[case]
    page = open_page(write(each, tmp_path)[1])
    first, second, *others = sheets(page)
    expected = [word for word in FIRST if word != "Devices" or case != "cut"]
    assert [word for word in expected if word.replace(" ", "") not in first] == []
    assert "Reviewer" not in second
    assert "Stagebystage" in "".join((second, *others))  # sections that are closed on the screen are printed


def test_the_whole_text_of_every_table_is_printed(record: RunRecord, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write(cases(record)["plain"], tmp_path)[1])
    cells = page.evaluate(
        "[...document.querySelectorAll('.chapter td, .chapter th')].map(cell => cell.firstChild?.textContent ?? '')"
    )
    printed = "".join(sheets(page))
    missing = [cell for cell in cells if _plain(cell).removesuffix("↕") not in printed]
    assert missing == []


def test_no_table_is_wider_than_the_sheet(record: RunRecord, open_page: OpenPage, tmp_path: Path) -> None:
    for number, each in enumerate((record, overfull(record), named(record, NAMES["long"]))):
        page = open_page(write(each, tmp_path / str(number))[1], width=SHEET)
        page.emulate_media(media="print")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        wide = page.evaluate(
            "[...document.querySelectorAll('table, pre, figure')]"
            f".filter(each => each.getBoundingClientRect().right > {SHEET} + 1).map(each => each.textContent.slice(0, 80))"
        )
        assert wide == []
