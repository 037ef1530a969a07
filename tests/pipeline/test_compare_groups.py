"""The deciding metric of each group of test samples."""

from __future__ import annotations

import numpy as np
import pytest

from compress.core.record import Metric, Quantity
from compress.core.statistics import paired_difference
from compress.pipeline.compare_groups import MOST, compare_groups
from compress.tasks.classification import Classification
from compress.tasks.metric import RatioOfSums

ACCURACY = Classification().deciding


class ErrorRate(RatioOfSums):
    """Errors per word; lower is better."""

    def __init__(self) -> None:
        super().__init__(Metric(name="wer", label="WER", unit="fraction", higher_is_better=False))

    def scores(self, outputs, targets):
        raise NotImplementedError


def test_a_group_has_the_metric_of_its_samples_alone() -> None:
    before, after = np.ones(40, np.float32), np.ones(40, np.float32)
    after[25:35] = 0.0
    groups = ["near"] * 20 + ["far"] * 20
    rows, warnings = compare_groups(ACCURACY, groups, before, after, "the teacher")
    assert not warnings
    assert [(row["group"], row["samples"]) for row in rows] == [("far", 20), ("near", 20)]
    change = Quantity.model_validate(rows[0]["change"])
    assert (change.value, change.low, change.high) == pytest.approx(paired_difference(after[20:], before[20:]))
    assert Quantity.model_validate(rows[0]["after"]).value == pytest.approx(0.5)
    assert Quantity.model_validate(rows[1]["change"]).value == pytest.approx(0.0)


def test_a_ratio_of_sums_is_that_of_the_group_and_the_largest_rise_is_first() -> None:
    words = np.full(30, 4.0)
    before, after = (np.stack([errors, words], 1) for errors in (np.zeros(30), np.repeat([0.0, 2.0], 15)))
    rows, _ = compare_groups(ErrorRate(), ["a"] * 15 + ["b"] * 15, before, after, "the teacher")
    assert [row["group"] for row in rows] == ["b", "a"]
    change = Quantity.model_validate(rows[0]["change"])
    assert change.value == pytest.approx(0.5)
    assert change.low is not None


def test_samples_of_no_group_are_left_out_and_without_a_reference_there_is_no_change() -> None:
    rows, _ = compare_groups(ACCURACY, ["a", "", "a"], None, np.ones(3, np.float32), "")
    assert [set(row) for row in rows] == [{"group", "samples", "after"}]
    assert rows[0]["samples"] == 2


def test_groups_that_do_not_fit_and_groups_left_out_are_told() -> None:
    scores = np.ones(MOST + 5, np.float32)
    rows, warnings = compare_groups(ACCURACY, [f"speaker {index}" for index in range(MOST + 5)], None, scores, "")
    assert len(rows) == MOST
    assert warnings[0].values["total"] == MOST + 5
    rows, warnings = compare_groups(ACCURACY, ["a"], None, scores, "")
    assert not rows
    assert warnings[0].code == "pipeline.groups_do_not_fit"
    assert compare_groups(ACCURACY, (), None, scores, "") == ((), ())
