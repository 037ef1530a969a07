"""What the sections of a report say."""

import re
from collections.abc import Iterator
from pathlib import Path

from compress.core.fact import Fact
from compress.core.format_quantity import PROVENANCE_MARKS, display_unit, format_quantity
from compress.core.record import Metric, Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.outline import build_outline
from compress.pipeline.report.write import write
from compress.tasks.classification import ACCURACY
from tests.pipeline.report.pages import of_perplexity, read, without_curves


def test_the_verdict_stands_before_everything_else(written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    assert text.splitlines()[2] == "**MISSED** 2 of 5 limits missed: accuracy drop, power on jetson_orin_nano."
    headings = re.findall(r"^## (.*)$", text.partition("\n---\n")[2], flags=re.MULTILINE)
    assert headings[:2] == ["Verdict", "Before and after"]
    assert "no sensor: the board was not connected: not passed" in text


def test_what_nobody_may_miss_stands_at_the_head(record: RunRecord, tmp_path: Path) -> None:
    told = "target not reached: macs at 0.8 <of> the dense network"
    stages = (record.stages[0].model_copy(update={"warnings": (Fact.of("text", text=told),)}), *record.stages[1:])
    markdown, page = write(record.model_copy(update={"stages": stages}), tmp_path)[:2]
    text = markdown.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text.partition("\n---\n")[2], flags=re.MULTILINE)
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
    yield from ((check.quantity_name, check.quantity) for check in record.verdict.checks)


def test_every_quantity_appears_with_its_mark_and_its_origin(record: RunRecord, written: tuple[Path, ...]) -> None:
    text = written[0].read_text(encoding="utf-8")
    page = " ".join("".join(read(written[1]).text).split())
    seen = list(quantities(record))
    assert {quantity.how for _, quantity in seen} == set(PROVENANCE_MARKS)
    for name, quantity in seen:
        if quantity.how == "not measured" and quantity.detail not in page.partition("Notes Where and how")[2]:
            assert re.search(rf"not measured: [^()]*\([^)]*{re.escape(quantity.detail.partition(' (')[0])}", page)  # folded
            continue
        shown = format_quantity(quantity, display_unit(name, quantity, ACCURACY)).removesuffix(" MAC")
        sign = PROVENANCE_MARKS[quantity.how]
        assert re.search(rf"\| {re.escape(shown)}( \([^|()]*\))? {sign}", text), (name, shown)
        assert f"{shown} {sign}" in page.replace("\N{NO-BREAK SPACE}", " "), (name, shown)
        assert f"{sign} {quantity.how}: {quantity.detail}" in page


def test_a_run_at_toy_size_has_no_points_for_review(record: RunRecord) -> None:
    stages = (record.stages[0].model_copy(update={"warnings": (Fact.of("text", text="missed"),)}), *record.stages[1:])
    update = {"stages": stages, "smoke": True}
    titles = [section.title for section in build_outline(record.model_copy(update=update), ()).sections]
    assert "Points for review" not in titles
    assert "Points for review" in [s.title for s in build_outline(record.model_copy(update={"stages": stages}), ()).sections]


def test_what_was_left_out_of_the_data_is_listed(record: RunRecord) -> None:
    skip = Fact.of("skipped", "cat/notes.txt", reason=".txt: not an image file")
    sections = build_outline(record.model_copy(update={"skipped": (skip,)}), ()).sections
    (chain,) = (section for section in sections if section.title == "Stage by stage")
    assert chain.items == ("cat/notes.txt: .txt: not an image file",)


def test_no_text_of_the_report_names_another_metric_than_the_task_s(record: RunRecord, tmp_path: Path) -> None:
    """The record of a task whose deciding metric is the mean average precision."""
    text = without_curves(record).model_copy(update={"verdict": None}).model_dump_json()
    text = text.replace("accuracy", "map").replace("Accuracy", "mAP")
    own = Metric(name="map", label="mAP", unit="fraction", higher_is_better=True)
    other = RunRecord.model_validate_json(text).model_copy(update={"metric": own})
    written = write(other, tmp_path)
    assert "test mAP" in written[0].read_text(encoding="utf-8")
    assert not any("accuracy" in path.read_text(encoding="utf-8").lower() for path in written[:2])
    assert {"map_size.svg", "map_latency.svg"} <= {path.name for path in written}


def test_a_metric_that_is_better_when_lower_is_shown_as_such(record: RunRecord, tmp_path: Path) -> None:
    text = write(of_perplexity(without_curves(record)), tmp_path)[0].read_text(encoding="utf-8")
    assert "**MET** All 2 limits are met." in text
    assert "accuracy" not in re.sub(r"token.accuracy", "", text.lower())
    assert "Rise of the metric (perplexity): 0.0111" in text
    assert "changes of the metric are in per cent" in text
    limits = re.findall(r"^\| perplexity rise .*$", text, flags=re.MULTILINE)
    assert len(limits) == 2  # on the first page and behind
    limit = limits[0]
    assert "≤ 0.5 " in limit
    assert "point" not in limit
    limit = re.findall(r"^\| token accuracy drop .*$", text, flags=re.MULTILINE)[0]
    assert "≤ 1 point " in limit
    assert "0.20 points" in limit


def test_other_metrics_have_a_table_of_their_own(record: RunRecord) -> None:
    plain = without_curves(record)
    titles = {
        name: [[table.title for table in section.tables] for section in build_outline(each, ()).sections]
        for name, each in (("one", plain), ("two", of_perplexity(plain)))
    }
    assert not any("Other metrics" in tables for tables in titles["one"])
    (section,) = (
        section for section in build_outline(of_perplexity(plain), ()).sections if section.title == "Before and after"
    )
    table = section.tables[1]
    assert (table.title, table.header) == ("Other metrics", ("", "test token accuracy"))
    assert {row[1].text for row in table.rows} == {"60.00 %", "—"}
    assert any("higher is better" in note for note in table.remarks)
    (chain,) = (section for section in build_outline(of_perplexity(plain), ()).sections if section.title == "Stage by stage")
    assert not any("token" in name for name in chain.tables[0].header)


def test_what_the_verdict_does_not_say_is_a_point_for_review(record: RunRecord) -> None:
    note = Fact.of("pipeline.no_metric_limit", "accuracy", names=("accuracy_drop", "accuracy"))
    assert record.verdict is not None
    silent = record.model_copy(update={"verdict": record.verdict.model_copy(update={"notes": (note,)})})
    outline = build_outline(silent, ())
    assert outline.headline.endswith("so the verdict does not include it; set accuracy_drop or accuracy.")
    (points,) = (section for section in outline.sections if section.title == "Points for review")
    assert points.items[0].startswith("verdict: the budget sets no limit on the accuracy")
