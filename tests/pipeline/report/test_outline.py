"""Outline of a report: its sections, in the registry's order, and the verdict in a sentence."""

from collections.abc import Iterator
from pathlib import Path

from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric, Quantity
from compress.core.registry import Entry, temporary
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import limit_words
from compress.core.signature import Signature, TensorSpec
from compress.core.verdict import Verdict
from compress.pipeline.report.outline import (
    NOT_JUDGED,
    Pictures,
    Section,
    build_outline,
    deciding_metric,
    describe_inputs,
    metric_of,
)
from compress.pipeline.report.write import write
from compress.tasks.classification import ACCURACY


def test_a_record_with_hardly_anything_still_gives_a_report(record: RunRecord, tmp_path: Path) -> None:
    start = {name: Quantity.missing(quantity.unit, "no network yet") for name, quantity in record.start.items()}
    bare = record.model_copy(update={"teacher": None, "start": start, "stages": (), "verdict": None})
    written = write(bare, tmp_path)
    assert [path.name for path in written] == ["report.md", "report.html"]
    assert "NO BUDGET" in written[0].read_text(encoding="utf-8")


def test_a_run_whose_limits_are_met_names_those_that_are_not_shown_to_be(record: RunRecord) -> None:
    assert record.verdict is not None
    checks = tuple(check for check in record.verdict.checks if check.result != "missed")
    report = build_outline(record.model_copy(update={"verdict": Verdict(passed=True, checks=checks)}), ())
    assert report.verdict == "met, not shown"
    assert report.headline.startswith("All values are within their limits, but 1 of ")
    assert all(limit_words(check) in report.headline for check in checks if check.result == "not shown")


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


def test_a_quantity_is_of_the_metric_with_the_longest_name_in_its_name(record: RunRecord) -> None:
    top5 = ACCURACY.model_copy(update={"name": "accuracy_top5"})
    two = record.model_copy(update={"metric": ACCURACY, "further_metrics": (top5,)})
    names = {"accuracy": ACCURACY, "accuracy_drop": ACCURACY, "accuracy_top5_drop": top5, "size_bytes": ACCURACY}
    assert {name: metric_of(two, name) for name in names} == names


def test_inputs_that_are_no_images_are_described_with_their_axes(record: RunRecord) -> None:
    assert describe_inputs(record.spec) == "input 3×64×64"
    tokens, mask = (TensorSpec(name=name, dtype="int64", shape=("batch", "sequence")) for name in ("tokens", "mask"))
    spec = NetworkSpec(signature=Signature(inputs=(tokens, mask)))
    assert describe_inputs(spec) == "inputs tokens: int64 batch×sequence, mask: int64 batch×sequence"
    facts = build_outline(record.model_copy(update={"spec": spec}), ()).facts
    assert not any("classes" in fact for fact in facts)
