"""The metric of each class."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from compress.core.record import Quantity
from compress.core.sentences import render
from compress.tasks.class_results import LEAST_SAMPLES
from compress.tasks.detection import Detection
from compress.tasks.multilabel import MultiLabel
from compress.tasks.segmentation import Segmentation

CLASSES = ("floor", "part", "scratch")


def further(task, outputs, targets):
    statistics = {task.metric: task.deciding.scores(outputs, targets).numpy()}
    return task.further_results(statistics, CLASSES, "test split"), task.deciding.value(statistics[task.metric])


def values(results, label):
    return [Quantity.model_validate(row[label]).value for row in results.tables["classes"]]


def masks(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(0, 3, (count, 8, 8), generator=generator)
    noise = torch.randint(0, 3, (count, 8, 8), generator=generator)
    return true, torch.where(torch.rand(count, 8, 8, generator=generator) < 0.7, true, noise)


def logits_of(predicted):
    return {"logits": torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).float()}


def test_the_iou_of_each_class_equals_scikit_learn_and_their_mean_the_metric():
    true, predicted = masks(12)
    results, mean = further(Segmentation(), logits_of(predicted), {"target": true})
    assert values(results, "iou") == pytest.approx(jaccard_score(true.flatten(), predicted.flatten(), average=None))
    assert np.mean(values(results, "iou")) == pytest.approx(mean)
    assert results.warnings == ()


@pytest.mark.parametrize("count", [LEAST_SAMPLES - 1, LEAST_SAMPLES])
def test_a_class_of_which_no_pixel_is_recognised_is_named_where_enough_samples_have_it(count):
    true, _ = masks(count)
    results, mean = further(Segmentation(), logits_of(true.clamp(max=1)), {"target": true})
    assert mean > 0.3
    assert [warning.subject for warning in results.warnings] == ["scratch"] * (count >= LEAST_SAMPLES)
    if results.warnings:
        assert f"'scratch' is recognised in the {count} test samples" in render(results.warnings[0])


def test_the_f1_of_each_class_equals_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    true = (torch.rand(60, 3, generator=generator) < 0.5).float()
    logits = 2 * true - 1 + torch.randn(60, 3, generator=generator)
    results, mean = further(MultiLabel(), {"logits": logits}, {"target": true})
    assert values(results, "f1") == pytest.approx(f1_score(true, logits > 0, average=None))
    assert np.mean(values(results, "f1")) == pytest.approx(mean)
    logits[:, 1] = -1.0
    assert [warning.subject for warning in further(MultiLabel(), {"logits": logits}, {"target": true})[0].warnings] == ["part"]


def test_the_average_precision_of_each_class_has_the_metric_as_mean():
    generator = torch.Generator().manual_seed(0)
    count = 40
    corner = 40 * torch.rand(count, 1, 2, generator=generator)
    boxes = torch.cat([corner, corner + 16], dim=2)
    classes = torch.arange(count)[:, None] % 2
    missed = torch.rand(count, generator=generator) < 0.4
    anchors = torch.where(missed[:, None, None], boxes + 30, boxes)
    logits = torch.full((count, 1, 3), -8.0)
    logits[torch.arange(count), 0, classes[:, 0]] = torch.rand(count, generator=generator)
    outputs = {
        "class_logits": logits,
        "boxes": torch.zeros(count, 1, 4),
        "anchors": anchors,
        "image_size": torch.full((count, 2), 96.0),
    }
    results, mean = further(Detection(), outputs, {"boxes": boxes, "classes": classes})
    assert [row["class"] for row in results.tables["classes"]] == ["floor", "part"]
    assert np.mean(values(results, "ap50")) == pytest.approx(mean)
    assert 0.1 < mean < 0.9
    outputs["anchors"][classes[:, 0] == 1] += 30
    named = further(Detection(), outputs, {"boxes": boxes, "classes": classes})[0].warnings
    assert [warning.subject for warning in named] == ["part"]


def test_the_results_of_one_class_are_the_metric():
    true, predicted = masks(12)
    task = Segmentation()
    statistics = {task.metric: task.deciding.scores(logits_of(predicted), {"target": true}).numpy()}
    assert task.further_results(statistics, CLASSES[:1], "test split").tables == {}
