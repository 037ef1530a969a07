"""Comparisons of runs."""

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.review.compare_runs import MISSING, compare_quantities, compare_settings
from tests.pipeline.review.conftest import with_shipped


def test_a_run_does_not_differ_from_itself(example: RunRecord) -> None:
    comparisons = compare_quantities(example, example)
    assert {comparison.change.direction for comparison in comparisons} <= {"equal", "no difference shown"}
    assert compare_settings(example, example) == ()
    assert comparisons[0].name == "accuracy"
    assert {comparison.device for comparison in comparisons} >= {"", "host", "mobile_cpu"}


def test_a_better_network_is_shown_to_be_better(example: RunRecord) -> None:
    better = with_shipped(example, accuracy=Quantity.measured(1.0, "fraction", interval=(0.995, 1.0)))
    assert compare_quantities(example, better)[0].change.direction == "better"
    assert compare_quantities(better, example)[0].change.direction == "worse"


def test_times_of_other_machines_are_not_compared(example: RunRecord) -> None:
    other = example.model_copy(update={"environment": {**example.environment, "processor": "another machine"}})
    rows = {
        comparison.device: comparison.change
        for comparison in compare_quantities(example, other)
        if "latency" in comparison.name
    }
    assert rows["host"].direction == "not comparable"
    assert "another machine" in rows["host"].quantity.detail
    assert rows["mobile_cpu"].direction != "not comparable"


def test_settings_that_differ_are_listed_by_key_path(example: RunRecord) -> None:
    recipe = {**example.recipe, "seed": 1, "name": "other", "extra": {"inner": [True]}}
    changes = {
        change.path: (change.first, change.second)
        for change in compare_settings(example, example.model_copy(update={"recipe": recipe}))
    }
    assert changes == {"seed": (0, 1), "extra.inner[0]": (MISSING, True)}
