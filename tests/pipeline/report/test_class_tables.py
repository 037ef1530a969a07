"""Tables and sentences of classes."""

from compress.core.run_record import RunRecord
from compress.pipeline.report.class_tables import class_tables, comparison_of, summary
from tests.pipeline.report.browser.records import comparison


def test_the_comparison_is_that_of_the_last_stage_with_one(record: RunRecord) -> None:
    assert comparison_of(record) is None
    first, second = (
        record.stages[index].model_copy(update={"class_comparison": comparison(names)})
        for index, names in ((1, ("a", "b")), (2, ("c", "d")))
    )
    stage = comparison_of(record.model_copy(update={"stages": (record.stages[0], first, second, *record.stages[3:])}))
    assert stage is not None
    assert (stage[0].index, stage[1].classes[0].name) == (3, "d")


def test_tables_hold_classes_confusions_and_samples(record: RunRecord) -> None:
    classes, confusions, samples = class_tables(comparison(("cat", "dog", "owl")))
    assert [row[0].text for row in classes.rows] == ["owl", "dog", "cat"]
    assert [cell.text for cell in classes.rows[0]] == [
        "owl", "30", "95.00 %", "85.00 %", "−10.00 points", "—", "90.00 %",
    ]  # fmt: skip
    assert classes.rows[0][4].interval == "−10.00 to 2.00 points"
    assert [cell.text for cell in confusions.rows[0]] == ["cat", "owl", "1", "4", "+3"]
    assert [cell.text for cell in samples.rows[0]] == ["7", "cat", "cat", "90.00 %", "owl", "70.00 %", "teacher"]
    assert samples.title.endswith("1 of 9, the ones that only the teacher classified correctly first")


def test_a_run_without_losses_says_so(record: RunRecord) -> None:
    whole = comparison(("cat", "dog"))
    equal = tuple(each.model_copy(update={"recall": each.recall_before}) for each in whole.classes)
    last = record.stages[-1].model_copy(update={"class_comparison": whole.model_copy(update={"classes": equal})})
    sentences = summary(record.model_copy(update={"stages": (last,)}))
    assert sentences[0] == "No class lost recall."
    assert "p = 0.45" in sentences[2]
