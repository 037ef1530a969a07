"""Groups of test samples in the report."""

from __future__ import annotations

import numpy as np
import pytest

from compress.core.run_record import RunRecord
from compress.pipeline.compare_groups import GROUPS, compare_groups
from compress.pipeline.report.group_tables import group_points, group_table
from compress.pipeline.report.review_points import review_points
from compress.tasks.classification import Classification


@pytest.fixture
def grouped(record: RunRecord) -> RunRecord:
    """A record whose artifact lost 40 of 100 points on one group of two, and 1 of 6 samples on a small one."""
    before, after = np.ones(206, np.float32), np.ones(206, np.float32)
    after[:40], after[205] = 0.0, 0.0
    groups = ["night"] * 100 + ["day"] * 100 + ["fog"] * 6
    rows, _ = compare_groups(Classification().deciding, groups, before, after, "the teacher")
    last = record.stages[-1].model_copy(update={"tables": {**record.stages[-1].tables, GROUPS: rows}})
    stages = (*record.stages[:-1], last)
    return RunRecord.model_validate_json(record.model_copy(update={"stages": stages}).model_dump_json())


def test_the_table_has_a_row_for_each_group_and_marks_small_ones(grouped: RunRecord) -> None:
    table = group_table(grouped)
    assert table is not None
    assert {row[0].text: row[1].text for row in table.rows} == {"night": "100", "day": "100", "fog": "6, few"}
    assert table.rows[0][0].text == "night"
    assert table.rows[0][4].text == "−40.00 points"
    assert table.rows[0][4].interval


def test_the_worst_group_is_a_point_for_review(grouped: RunRecord) -> None:
    (sentence,) = group_points(grouped)
    assert "night" in sentence
    assert "groups compared: 3" in sentence
    assert any(sentence in point for point in review_points(grouped))


def test_a_change_whose_interval_has_zero_is_no_point(grouped: RunRecord) -> None:
    rows = [row for row in grouped.stages[-1].tables[GROUPS] if row["group"] != "night"]
    last = grouped.stages[-1].model_copy(update={"tables": {GROUPS: tuple(rows)}})
    assert group_points(grouped.model_copy(update={"stages": (*grouped.stages[:-1], last)})) == ()


def test_data_without_groups_have_neither(record: RunRecord) -> None:
    assert group_table(record) is None
    assert group_points(record) == ()
