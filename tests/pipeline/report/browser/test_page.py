"""The page in a real browser: no errors and no requests, accessibility, sorting, notes, phone width, hostile names."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from compress.core.run_record import RunRecord
from compress.pipeline.report.write import write
from tests.pipeline.report.browser.conftest import OpenPage
from tests.pipeline.report.browser.records import NAMES, comparison, cut, named, overfull
from tests.pipeline.report.pages import malicious

OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
HIDDEN = """[...document.querySelectorAll('.front .table')].filter(each => each.scrollWidth > each.clientWidth)
    .map(each => each.textContent.slice(0, 80))"""
"""Tables of the first page that are wider than their place."""
AXE = "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"


@pytest.fixture(scope="package")
def page_file(record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the record with classes."""
    last = record.stages[-1].model_copy(update={"class_comparison": comparison(tuple("abc"))})
    return write(record.model_copy(update={"stages": (*record.stages[:-1], last)}), tmp_path_factory.mktemp("page"))[1]


def test_a_page_reports_no_error_and_asks_for_nothing(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    page.evaluate(OPEN_ALL)
    assert page.title().startswith("resnet50_to_mobilenet")
    assert page.locator("details.chapter").count() > 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_knows_no_serious_fault(page_file: Path, open_page: OpenPage, scheme: str) -> None:
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("needs the package axe-playwright-python")
    page = open_page(page_file, color_scheme=scheme, bypass_csp=True)
    page.evaluate(OPEN_ALL)
    page.evaluate(Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    result: dict[str, Any] = page.evaluate(AXE)
    serious = [fault for fault in result["violations"] if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], fault["nodes"][0]["html"][:200], fault["nodes"][0].get("failureSummary")) for fault in serious] == []
    assert len(result["passes"]) > 20


def column(page: Any, table: str, number: int) -> list[str]:
    cells = page.locator(f"{table} tbody tr td:nth-child({number})")
    return [text.partition("\N{NO-BREAK SPACE}")[0] for text in cells.all_inner_texts()]


def test_a_click_or_a_key_sorts_by_number(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    page.evaluate(OPEN_ALL)
    table = "[aria-label='Before and after'] table"
    if not page.locator(table).count():
        table = "#s3 table >> nth=0"
    heads = page.locator(f"{table} thead th")
    button = heads.nth(1).locator("button")
    button.click()
    assert heads.nth(1).get_attribute("aria-sort") == "ascending"
    values = [row for row in column(page, table, 2) if row[:1].isdigit()]
    assert len(values) >= 3
    assert [float(value) for value in values] == sorted(map(float, values))
    button.focus()
    page.keyboard.press("Enter")
    assert heads.nth(1).get_attribute("aria-sort") == "descending"
    values = [row for row in column(page, table, 2) if row[:1].isdigit()]
    assert [float(value) for value in values] == sorted(map(float, values), reverse=True)


def test_a_filter_leaves_the_rows_with_all_its_words(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    page.evaluate(OPEN_ALL)
    layers = page.locator("[aria-label='Layers']")
    layers.locator("input").fill("features.1")
    shown = layers.locator("tbody tr:visible th").all_inner_texts()
    assert shown == ["features.1.conv", "features.10.conv", "features.11.conv"]
    assert layers.get_by_role("status").inner_text() == "3 of 12 rows"


def test_a_note_shows_beside_its_number_for_pointer_and_keyboard(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    link = page.locator("sup a").first
    tip = page.locator("#tip")
    assert not tip.is_visible()
    link.hover()
    assert "not measured" in tip.inner_text() or "measured:" in tip.inner_text()
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    link.focus()
    assert tip.is_visible()
    assert link.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_note_leads_to_the_appendix_which_opens(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    page.locator("sup a").first.click()
    page.wait_for_function("document.getElementById('notes').open")
    assert page.locator("#n1").is_visible()


def test_all_sections_open_and_close_with_one_button(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file)
    assert page.locator("details.chapter[open]").count() == 0
    button = page.get_by_role("button", name="Open all sections")
    button.click()
    assert page.locator("details.chapter:not([open])").count() == 0
    page.get_by_role("button", name="Close all sections").click()
    assert page.locator("details.chapter[open]").count() == 0


def test_a_row_on_a_phone_is_no_taller_than_its_text(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, width=360, height=740)
    spare = page.evaluate(
        """[...document.querySelectorAll('.front table.stacked tbody tr')].flatMap(row => {
            const heights = [...row.cells].map(cell => {
                const range = document.createRange();
                range.selectNodeContents(cell);
                return [cell.getBoundingClientRect().height, range.getBoundingClientRect().height];
            });
            const cells = heights.reduce((sum, [cell]) => sum + cell, 0);
            return [row.getBoundingClientRect().height - cells, ...heights.map(([cell, text]) => cell - text)];
        })"""
    )
    assert len(spare) > 20
    assert max(spare) < 14  # padding, less than a line
    page.evaluate(OPEN_ALL)
    widths = page.evaluate(
        "[...document.querySelectorAll('table:not(.stacked, .pairs) td:not(.short)')].map(cell => cell.offsetWidth)"
    )
    assert widths
    assert min(widths) > 150  # sentences have room, so that they do not make rows of many lines


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_text_and_breaks_no_layout(record: RunRecord, open_page: OpenPage, tmp_path: Path, name: str) -> None:
    page = open_page(write(named(record, NAMES[name]), tmp_path)[1], width=360)
    page.evaluate(OPEN_ALL)
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate(OVERFLOW) == 0
        assert page.evaluate(HIDDEN) == []
    assert page.locator("main img").count() == 1  # the sample of the record
    assert page.locator("main script, main b").count() == 0
    assert not set("\x1b\x07\x9b\u202e") & set(page.content())


def test_no_page_scrolls_sideways(record: RunRecord, open_page: OpenPage, tmp_path: Path) -> None:
    for number, each in enumerate((record, overfull(record), malicious(record), cut(record))):
        page = open_page(write(each, tmp_path / str(number))[1], width=360)
        page.evaluate(OPEN_ALL)
        for width in (360, 768, 1280):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate(OVERFLOW) == 0
            assert page.evaluate(HIDDEN) == []
