"""Post-processing of detection as stages see it: results outside and in the graph, and the task that judges them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.core.errors import ModelError
from compress.core.network_spec import image_spec
from compress.data.detection_targets import pad_objects
from compress.tasks.detection import Detection
from compress.tasks.detection_outputs import DETECTED_BOXES, DETECTED_CLASSES, DETECTED_SCORES
from compress.tasks.detections import postprocess
from compress.tasks.nms import Detected, NonMaximumSuppression
from tests.tasks.detection_scenes import HEIGHT, WIDTH, random_outputs, scene_outputs

SPEC = image_spec(channels=3, height=HEIGHT, width=WIDTH, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b", "c"))
POST = NonMaximumSuppression()


def results(outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = POST.run({name: values.numpy() for name, values in outputs.items()}, SPEC)
    return {name: torch.from_numpy(values) for name, values in found.items()}


def test_results_are_padded_to_one_size() -> None:
    found = results(scene_outputs())
    assert found[DETECTED_BOXES].shape == (3, 100, 4)
    assert [int((row >= 0).sum()) for row in found[DETECTED_CLASSES]] == [2, 0, 1]
    assert found[DETECTED_CLASSES].dtype == torch.int64
    assert float(found[DETECTED_SCORES][1].max()) == 0.0


def test_metric_of_results_is_that_of_the_outputs_they_came_from() -> None:
    outputs = random_outputs(classes=3)
    found = postprocess(outputs)
    truth = [(each.boxes[:4] + 2, each.classes[:4]) for each in found]
    targets = pad_objects(truth, 4)
    task, own = Detection(), Detected(3)
    expected = task.deciding.value(task.deciding.scores(outputs, targets).numpy())
    assert 0 < expected < 1
    assert own.deciding.value(own.deciding.scores(results(outputs), targets).numpy()) == pytest.approx(expected)


def test_agreement_of_results() -> None:
    task, found = Detected(3), results(scene_outputs())
    assert task.agreement(found, found).top1 == 1.0
    other = found | {DETECTED_SCORES: torch.zeros_like(found[DETECTED_SCORES])}
    agreement = task.agreement(found, other)
    assert agreement.top1 == pytest.approx(1 / 3), "only the empty scene agrees"
    assert agreement.max_abs == pytest.approx(float(found[DETECTED_SCORES].max()))


def test_detections_are_measured_and_not_trained() -> None:
    task, found = Detected(3), results(scene_outputs())
    assert np.isnan(float(task.loss(found, {})))
    with pytest.raises(ModelError, match="no logits to distil"):
        task.distillable(found, {})
    assert task.postprocessing is None
    assert task.key != Detected(4).key
    post = Detection().postprocessing
    assert post is not None
    assert post.task(SPEC).output_names == (DETECTED_BOXES, DETECTED_SCORES, DETECTED_CLASSES)
