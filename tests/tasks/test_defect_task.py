import math

import numpy as np
import pytest
import torch

from compress.core.errors import CompressError, DataError
from compress.core.network_spec import image_spec
from compress.core.sentences import render
from compress.core.statistics import wilson
from compress.core.warned_check import check_of
from compress.tasks.anomaly import Anomaly
from compress.tasks.inspection import Inspection

CLASSES = ("crack", "good", "stain")


def spec(classes=CLASSES):
    return image_spec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,), classes=classes)


@pytest.mark.parametrize("task", [Inspection, Anomaly])
def test_the_class_of_good_parts_is_given_or_named_good_or_the_first(task):
    assert task().for_spec(spec()).good_index == 1
    assert task("stain").for_spec(spec()).good_index == 2
    assert task().for_spec(spec(("fine", "crack"))).good_index == 0
    assert task().good_index == 0


def test_a_bound_task_leaves_the_other_as_it_is_and_has_its_key():
    task = Inspection()
    bound = task.for_spec(spec())
    assert (task.good_index, task.deciding.good) == (0, 0)
    assert bound.deciding.good == 1
    assert bound.key == task.key == "inspection"
    assert Inspection("crack", 0.01).for_spec(spec()).key == {"inspection": {"good": "crack", "fpr": 0.01}}


def test_faulty_classes_and_rates_are_refused():
    with pytest.raises(DataError, match="no class 'fine'"):
        Inspection("fine").complete_spec(spec())
    with pytest.raises(DataError, match="one class"):
        Anomaly().for_spec(spec(("good",)))
    for fpr in (0.0, 1.0, 5):
        with pytest.raises(CompressError, match="above 0 and below 1"):
            Inspection(fpr=fpr)


def rows(task, count=120, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.arange(count) % 3
    logits = torch.randn(count, 3, generator=generator)
    logits[torch.arange(count), kinds] += 1.5
    return task.deciding.scores({"logits": logits}, {"target": kinds}).numpy(), kinds.numpy()


def test_results_have_the_threshold_and_the_recall_of_each_kind():
    task = Inspection().for_spec(spec())
    statistics, kinds = rows(task)
    threshold = task.deciding.choose_threshold(statistics)
    held = task.deciding.with_threshold(statistics, threshold)
    results = task.further_results({task.metric: held}, CLASSES, "test split").quantities
    assert list(results) == ["alarm_threshold", "recall_crack", "recall_stain"]
    assert results["alarm_threshold"].value == pytest.approx(threshold)
    found = int((statistics[kinds == 2, 0] > threshold).sum())
    assert results["recall_stain"].value == found / 40
    assert (results["recall_stain"].low, results["recall_stain"].high) == pytest.approx(wilson(found, 40))
    mean = (results["recall_crack"].value + results["recall_stain"].value) / 2
    assert task.deciding.value(held) == pytest.approx(mean)


def test_the_operating_point_holds_the_rate_on_the_parts_it_is_chosen_on():
    task = Inspection(fpr=0.1).for_spec(spec())
    statistics, kinds = rows(task)
    point = task.operating_point(statistics, CLASSES)
    assert (point["good"], point["false_alarm_rate"], point["good_parts"]) == ("good", 0.1, 40)
    assert (statistics[kinds == 1, 0] > np.float32(point["threshold"])).mean() <= 0.1
    assert "warning" not in point


def test_few_good_parts_are_pointed_out_and_infinite_scores_refused():
    task = Inspection().for_spec(spec())
    statistics, _ = rows(task, count=30)
    assert "19 good parts or more are needed" in task.operating_point(statistics, CLASSES)["warning"]
    statistics[:, 0] = math.nan
    with pytest.raises(DataError, match="not finite"):
        task.operating_point(statistics, CLASSES)


@pytest.mark.parametrize(("alarms", "warned"), [(3, False), (6, False), (9, True), (30, True)])
def test_more_false_alarms_than_the_rate_are_warned_of(alarms, warned):
    task = Anomaly(fpr=0.05).for_spec(spec())
    score = torch.cat([torch.full((alarms,), 2.0), torch.zeros(60 - alarms), torch.full((40,), 3.0)])
    kinds = torch.tensor([1] * 60 + [0] * 40)
    statistics = task.deciding.scores({"score": score}, {"target": kinds}).numpy()
    held = task.deciding.with_threshold(statistics, 1.0)
    warnings = task.further_results({task.metric: held}, CLASSES, "test split").warnings
    low, high = wilson(alarms, 60)
    assert bool(warnings) is warned is (low > 0.05)
    if warned:
        check = check_of(warnings[0])
        assert (check.name, check.bound, check.result) == ("false_alarm_rate", 0.05, "missed")
        assert check.quantity.value == alarms / 60
        assert (check.quantity.low, check.quantity.high) == pytest.approx((low, high))
        assert f"{alarms / 60:.2%} of 60 good test samples".replace("%", " %") in render(warnings[0])
