"""Outline of a report: its sections, in the registry's order, and the verdict in a sentence."""

from collections.abc import Iterator
from pathlib import Path

from compress.core.record import Metric, Quantity, RunRecord, Verdict
from compress.core.registry import Entry, temporary
from compress.pipeline.report.outline import NOT_JUDGED, Pictures, Section, build_outline, deciding_metric
from compress.pipeline.report.write import write
from compress.tasks.classification import ACCURACY


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


def test_a_run_at_toy_size_judges_no_budget(record: RunRecord) -> None:
    toy = record.model_copy(update={"smoke": True})  # as older versions recorded it, with a verdict
    for case in (toy, toy.model_copy(update={"verdict": None, "recipe": {"budget": {"size_mb": 1.0}}})):
        report = build_outline(case, ())
        assert (report.verdict, report.headline) == ("not judged", NOT_JUDGED)
        (section,) = (section for section in report.sections if section.title == "Verdict")
        assert (section.paragraphs, section.tables) == ((NOT_JUDGED,), ())
    without = build_outline(toy.model_copy(update={"verdict": None, "recipe": {"budget": None}}), ())
    assert without.verdict == "no budget"


def greeting(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """A section of another package's own."""
    yield Section(f"mine: {record.name}", pictures=pictures.get("overview", ()))


def test_a_section_is_one_row_of_the_registry(record: RunRecord) -> None:
    before = [section.title for section in build_outline(record, ()).sections]
    with temporary(Entry("report_section", "mine", f"{__name__}:greeting", "a test")):
        after = [section.title for section in build_outline(record, ()).sections]
    assert after == [*before, f"mine: {record.name}"]


def test_an_older_record_is_of_classification(record: RunRecord) -> None:
    assert record.metric is None
    assert deciding_metric(record) == ACCURACY
    own = Metric(name="map", label="mAP", unit="fraction", higher_is_better=True)
    assert deciding_metric(record.model_copy(update={"metric": own})) == own
