import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.core.errors import StoreError
from compress.core.format_quantity import PROVENANCE_MARKS, display_unit, format_quantity
from compress.core.record import Check, Fact, Quantity, RunRecord, Skipped, Verdict
from compress.pipeline.report import markdown
from compress.pipeline.report import write as writing
from compress.pipeline.report.figures import draw
from compress.pipeline.report.outline import build_outline
from compress.pipeline.report.write import write
from compress.tasks.metrics import ACCURACY

EVIL = "<script>alert('x')</script> | `rm` **bold** $\\frac$ \n## heading"


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [text or "" for name, text in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def digests(paths: tuple[Path, ...]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def written(record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write(record, tmp_path_factory.mktemp("report"))


def test_the_files_are_where_they_are_said_to_be(written: tuple[Path, ...]) -> None:
    names = [path.name for path in written]
    assert names[:2] == ["report.md", "report.html"]
    assert {"accuracy_size.png", "accuracy_latency.png", "latency.png", "before_after.png", "01_distill_curves.png"} <= set(
        names
    )
    assert "02_prune_curves.png" in names
    assert all(path.is_file() for path in written)
    assert not list(written[0].parent.rglob(".*"))


def test_pictures_are_drawn_and_differ(written: tuple[Path, ...]) -> None:
    pictures = [path for path in written if path.suffix == ".png"]
    for path in pictures:
        with Image.open(path) as image:
            assert min(image.size) > 200
            assert np.asarray(image.convert("L")).std() > 5
    assert len(set(digests(tuple(pictures)).values())) == len(pictures)


def test_a_record_read_back_from_json_gives_the_same_bytes(
    record: RunRecord, written: tuple[Path, ...], tmp_path: Path
) -> None:
    record.save(tmp_path / "record.json")
    again = write(RunRecord.load(tmp_path / "record.json"), tmp_path / "again")
    assert digests(again) == digests(written)


def test_the_page_needs_nothing_from_outside(written: tuple[Path, ...]) -> None:
    page = read(written[1])
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in written[1].read_text(encoding="utf-8")


def test_the_verdict_stands_before_everything_else(written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    assert text.splitlines()[2] == "**MISSED** 2 of 5 limits missed: accuracy drop, power on jetson_orin_nano."
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings[:2] == ["Verdict", "Before and after"]
    assert "no sensor: the board was not connected: not passed" in text


def test_what_nobody_may_miss_stands_at_the_head(record: RunRecord, tmp_path: Path) -> None:
    told = "target not reached: macs at 0.8 <of> the dense network"
    stages = (record.stages[0].model_copy(update={"warnings": (Fact.of("text", text=told),)}), *record.stages[1:])
    markdown, page = write(record.model_copy(update={"stages": stages}), tmp_path)[:2]
    text = markdown.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings[:3] == ["Verdict", "Points for review", "Before and after"]
    assert f"{record.stages[0].index} · {record.stages[0].name}: target not reached: macs at 0.8" in text
    assert "0.8 &lt;of&gt; the dense network" in page.read_text(encoding="utf-8")


def quantities(record: RunRecord) -> Iterator[tuple[str, Quantity]]:
    yield from record.start.items()
    for stage in (record.teacher, *record.stages):
        assert stage is not None
        # latencies are told by the session that timed several networks together: see test_sessions
        cards = (*stage.before.items(), *stage.after.items())
        yield from ((name, each) for name, each in (*cards, *stage.results.items()) if name != "latency_ms")
        for subject in stage.benchmark_rows:
            yield from subject.quantities.items()
    assert record.verdict is not None
    yield from ((check.limit.replace(" ", "_"), check.quantity) for check in record.verdict.checks)


def test_every_quantity_appears_with_its_mark_and_its_origin(record: RunRecord, written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    page = " ".join("".join(read(written[1]).text).split())
    seen = list(quantities(record))
    assert {quantity.how for _, quantity in seen} == set(PROVENANCE_MARKS)
    for name, quantity in seen:
        shown = format_quantity(quantity, display_unit(name, quantity, ACCURACY)).removesuffix(" MAC")
        sign = PROVENANCE_MARKS[quantity.how]
        assert re.search(rf"\| {re.escape(shown)}( \([^|()]*\))? {sign}", text), (name, shown)
        assert f"{shown} {sign}" in page.replace("\N{NO-BREAK SPACE}", " "), (name, shown)
        assert f"{sign} {quantity.how}: {quantity.detail}" in page


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head(written: tuple[Path, ...]) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", written[0].read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


def test_markdown_points_only_at_pictures_that_were_written(written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    targets = re.findall(r"!\[.*\]\((.*)\)", text)
    assert sorted(targets) == sorted(f"figures/{path.name}" for path in written if path.suffix == ".png")


def malicious(record: RunRecord) -> RunRecord:
    """The record with hostile text in every place that a user or a file name fills."""
    stage = record.stages[0].model_copy(
        update={
            "name": EVIL,
            "notes": (Fact.of("text", text=EVIL),),
            "skipped": (Skipped(what=EVIL, reason=EVIL),),
            "tables": {EVIL: ({EVIL: EVIL, "other": None},)},
            "parameters": {EVIL: EVIL},
            "curves": {EVIL: record.stages[0].curves["loss"].model_copy(update={"y_label": EVIL})},
            "results": {EVIL: Quantity.measured(1.0, EVIL, EVIL)},
        }
    )
    subjects = tuple(row.model_copy(update={"device": EVIL, "runtime": EVIL}) for row in record.stages[4].benchmark_rows[:3])
    profile = record.stages[4].model_copy(update={"benchmark_rows": subjects})
    check = Check(limit=EVIL, allowed=EVIL, quantity=Quantity.missing("W", EVIL), passed=False, explanation=EVIL)
    update: dict[str, Any] = {
        "name": EVIL,
        "recipe_text": f"{EVIL}\n```\n# out of the fence",
        "data": {"source": EVIL},
        "environment": {EVIL: EVIL},
        "notes": (Fact.of("text", text=EVIL),),
        "spec": record.spec.model_copy(update={"classes": (EVIL, "b")}),
        "stages": (stage, *record.stages[1:4], profile),
        "verdict": Verdict(passed=False, checks=(check,)),
    }
    return record.model_copy(update=update)


def test_hostile_text_stays_text(record: RunRecord, tmp_path: Path) -> None:
    evil = malicious(record)
    _, page, *pictures = write(evil, tmp_path)
    reader = read(page)
    assert "script" not in reader.tags
    assert "<script>alert('x')</script>" in "".join(reader.text)
    assert all(path.parent == tmp_path / "figures" for path in pictures)


def test_hostile_text_breaks_no_markdown(record: RunRecord, tmp_path: Path) -> None:
    text = write(malicious(record), tmp_path)[0].read_text(encoding="utf-8")
    outside = re.sub(r"^(`{3,})yaml\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in outside
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


def test_a_record_with_hardly_anything_still_gives_a_report(record: RunRecord, tmp_path: Path) -> None:
    start = {name: Quantity.missing(quantity.unit, "no network yet") for name, quantity in record.start.items()}
    bare = record.model_copy(update={"teacher": None, "start": start, "stages": (), "verdict": None})
    written = write(bare, tmp_path)
    assert [path.name for path in written] == ["report.md", "report.html"]
    assert "NO BUDGET" in written[0].read_text(encoding="utf-8")


def test_a_passing_run_says_so_and_counts_its_estimates(record: RunRecord) -> None:
    assert record.verdict is not None
    checks = tuple(check.model_copy(update={"passed": True}) for check in record.verdict.checks[:4])
    report = build_outline(record.model_copy(update={"verdict": Verdict(passed=True, checks=checks)}), ())
    assert (report.verdict, report.headline) == ("passed", "All 4 limits are kept; 1 of them on an estimate.")


def without_curves(record: RunRecord) -> RunRecord:
    stages = tuple(stage.model_copy(update={"curves": {}, "tables": {}}) for stage in record.stages)
    return record.model_copy(update={"stages": stages, "teacher": None})


def test_a_limit_of_the_budget_is_drawn(record: RunRecord) -> None:
    record = without_curves(record)
    without = record.model_copy(update={"recipe": {}})
    drawn, plain = ({picture.name: picture.png for picture in draw(each)} for each in (record, without))
    changed = {name for name in drawn if drawn[name] != plain[name]}
    assert changed == {"accuracy_size", "accuracy_latency", "latency"}


def test_an_estimate_is_drawn_unlike_a_measurement(record: RunRecord) -> None:
    record = without_curves(record)
    profile = record.stages[4]

    def as_measured(quantity: Quantity) -> Quantity:
        return quantity.model_copy(update={"how": "measured"}) if quantity.how == "estimated" else quantity

    rows = tuple(
        row.model_copy(update={"quantities": {name: as_measured(found) for name, found in row.quantities.items()}})
        for row in profile.benchmark_rows
    )
    other = record.model_copy(update={"stages": (*record.stages[:4], profile.model_copy(update={"benchmark_rows": rows}))})
    before, after = (next(p.png for p in draw(each) if p.name == "latency") for each in (record, other))
    difference = np.asarray(Image.open(io.BytesIO(before)).convert("L"), float) - np.asarray(
        Image.open(io.BytesIO(after)).convert("L"), float
    )
    assert np.abs(difference).max() > 50


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
    code += "print({'torch', 'onnx', 'onnxruntime', 'matplotlib.pyplot'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_lines_of_the_terminal_need_no_matplotlib() -> None:
    code = "import sys, compress.pipeline.report.tables, compress.core.format_quantity\n"
    code += "print({'torch', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
