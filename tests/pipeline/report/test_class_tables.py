"""Tables and sentences of classes."""

from compress.core.record import Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.report.class_tables import class_tables, comparison_of, metric_table, summary
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


def test_texts_of_samples_have_a_column(record: RunRecord) -> None:
    whole = comparison(("cat", "dog", "owl"))
    sample = whole.disagreements[0].model_copy(update={"text": "a text | of <b>"})
    *_, samples = class_tables(whole.model_copy(update={"disagreements": (sample,)}))
    assert list(samples.header).index("text") == 1
    assert samples.rows[0][1].text == "a text | of <b>"
    assert len(samples.header) == len(samples.rows[0])


def of_each_class(record: RunRecord, before: dict[str, float], after: dict[str, float]) -> RunRecord:
    """The record of a segmentation, with the IoU of each class in the teacher and after the last two stages."""

    def stage(source: StageRecord, values: dict[str, float]) -> StageRecord:
        rows = tuple(
            {"class": name, "samples": 20, "iou": Quantity.measured(value, "fraction", "test").model_dump(mode="json")}
            for name, value in values.items()
        )
        return source.model_copy(update={"tables": {"classes": rows}})

    assert record.teacher is not None
    last = (stage(record.stages[1], before), stage(record.stages[2], after))
    return record.model_copy(
        update={"teacher": stage(record.teacher, before), "stages": (record.stages[0], *last, *record.stages[3:])}
    )


def test_the_metric_of_each_class_is_compared_where_the_task_measures_one(record: RunRecord) -> None:
    run = of_each_class(record, {"road": 0.9, "sky": 0.8, "car": 0.7}, {"road": 0.85, "sky": 0.9, "car": 0.4})
    assert summary(run)[0] == "Largest losses of IoU: car: 70.00 % → 40.00 %; road: 90.00 % → 85.00 %."
    table = metric_table(run)
    assert table is not None
    assert table.header == ("class", "samples", "IoU, teacher", "IoU, artifact")
    assert [(row[0].text, row[3].change) for row in table.rows] == [
        ("car", "−30.00 points"), ("road", "−5.00 points"), ("sky", "+10.00 points"),
    ]  # fmt: skip


def test_without_a_reference_the_lowest_classes_are_named(record: RunRecord) -> None:
    run = of_each_class(record, {}, {"road": 0.85, "sky": 0.9, "car": 0.4})
    assert summary(run) == ("Lowest IoU: car: 40.00 %; road: 85.00 %; sky: 90.00 %.",)
    assert metric_table(record) is None


def test_a_run_without_losses_says_so(record: RunRecord) -> None:
    whole = comparison(("cat", "dog"))
    equal = tuple(each.model_copy(update={"recall": each.recall_before}) for each in whole.classes)
    last = record.stages[-1].model_copy(update={"class_comparison": whole.model_copy(update={"classes": equal})})
    sentences = summary(record.model_copy(update={"stages": (last,)}))
    assert sentences[0] == "No class lost recall."
    assert "p = 0.45" in sentences[2]
