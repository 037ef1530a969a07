"""mAP from statistics at all thresholds."""

from __future__ import annotations

import pytest
import torch

from compress.data.detection_targets import pad_objects
from compress.tasks.boxes import Detections
from compress.tasks.detection_metric import AveragePrecision, detection_statistics

BOX = torch.tensor([[0.0, 0, 10, 10]])
TARGETS = pad_objects([(BOX, torch.tensor([1]))], 2)


def statistics(shift: float, number: int = 1) -> torch.Tensor:
    return detection_statistics([Detections(BOX + shift, torch.tensor([0.5]), torch.tensor([number]))], TARGETS, 3)


@pytest.mark.parametrize(("shift", "share"), [(0.0, 1.0), (1.0, 4 / 10), (3.0, 0.0)])
def test_thresholds_share_one_matching(shift: float, share: float) -> None:
    """Shifted by 1 of 10 pixels on both axes the IoU is 81/119 = 0.68: right at 0.5 to 0.65, which are 4 of 10."""
    rows = statistics(shift)
    for name, expected in (("map50", float(share > 0)), ("map50_95", share)):
        metric = AveragePrecision(name)
        assert metric.value(metric.of_thresholds(rows).numpy()) == pytest.approx(expected)


def test_another_class_is_wrong_and_positives_are_counted() -> None:
    rows = statistics(0.0, number=0)
    metric = AveragePrecision("map50")
    assert metric.value(metric.of_thresholds(rows).numpy()) == 0.0
    assert rows[0, -3:].tolist() == [0.0, 1.0, 0.0]


def test_statistics_for_fewer_thresholds_leave_the_others_as_they_were() -> None:
    rows = statistics(0.0)
    before = rows.clone()
    assert not torch.equal(AveragePrecision("map50").of_thresholds(rows), rows)
    assert torch.equal(rows, before)
