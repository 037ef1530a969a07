from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.verdict import Check
from compress.core.warned_check import warning_of
from compress.pipeline.report import front_page
from compress.pipeline.report.review_points import rank_of, review_points

LABEL = "accuracy"
COPIES = [
    Fact.of("data.duplicates_between_splits", "number 3", count=5, first=first, second=second)
    for first, second in (("training", "validation"), ("training", "test"), ("validation", "test"))
]


def with_warnings(record: RunRecord, start: list[Fact], stage: list[Fact], index: int = 0) -> RunRecord:
    changed = record.stages[index].model_copy(update={"warnings": tuple(stage)})
    stages = (*record.stages[:index], changed, *record.stages[index + 1 :])
    return record.model_copy(update={"warnings": tuple(start), "stages": stages})


def places(points: tuple[str, ...], *words: str) -> list[int]:
    return [next(index for index, point in enumerate(points) if word in point) for word in words]


def test_test_samples_in_train_come_before_texts_that_are_cut(record: RunRecord) -> None:
    cut = [Fact.of("data.texts_cut", name, count=5, texts=90, most=64) for name in ("training", "validation", "test", "other")]
    points = review_points(with_warnings(record, [*cut, *COPIES], []))
    assert "test split are also in the training split" in points[0]
    assert "test split are also in the validation split" in points[1]
    assert "validation split are also in the training split" in points[2]
    page = next(front_page.points(with_warnings(record, [*cut, *COPIES], []), {}))
    assert "are also in the training split" in page.items[0]
    assert all("are cut there" in point for point in points[3:7])  # equal ranks stay in the order of the run


def test_a_network_that_learned_nothing_comes_before_missed_bounds_and_those_before_the_rest(record: RunRecord) -> None:
    check = Check(quantity=Quantity.measured(0.2, "1"), passed=False, name="mean_iou", label="mean IoU", bound=0.1, unit="1")
    missed = warning_of("tasks.value_no_better_than_a_constant", "x", check)
    chance = Fact.of("pipeline.at_chance", LABEL, value=0.1, chance=0.1, samples=40)
    plain = Fact.of("profile.other_hardware", "host")
    assert [rank_of(fact) for fact in (COPIES[1], chance, missed, plain)] == sorted({rank_of(COPIES[1]), 1, 2, 3})
    assert rank_of(COPIES[0]) > rank_of(COPIES[1])


def test_untrained_answers_are_a_point_only_where_no_later_stage_changes_the_network(
    record: RunRecord,
) -> None:
    untrained = Fact.of("pipeline.answers_not_trained", LABEL, value=0.1, unit="fraction")
    text = "this stage does not train the answers of the network: all its losses compare layers, so that its accuracy of 10"
    assert not any(text in point for point in review_points(with_warnings(record, [], [untrained])))
    last = len(record.stages) - 1
    assert any(text in point for point in review_points(with_warnings(record, [], [untrained], last)))
