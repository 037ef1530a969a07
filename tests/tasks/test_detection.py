"""The task detection: loss, rows, metrics, agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.signature import Signature, TensorSpec
from compress.data.detection_targets import pad_objects
from compress.tasks.average_precision import RECALLS, THRESHOLDS
from compress.tasks.boxes import encode_boxes
from compress.tasks.detection import Detection
from compress.tasks.detection_outputs import ANCHORS, CLASS_LOGITS, IMAGE_SIZE, OFFSETS
from compress.tasks.detections import detection_agreement, postprocess

TASK = Detection()
GRID = torch.tensor([[x, y, x + 16.0, y + 16.0] for y in range(0, 64, 16) for x in range(0, 64, 16)])
TRUE = [
    (torch.tensor([[16.0, 16, 32, 32], [33, 0, 48, 17]]), torch.tensor([1, 0])),
    (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    (torch.tensor([[1.0, 48, 17, 63]]), torch.tensor([2])),
]
TARGETS = pad_objects(TRUE, 3)


def perfect(score: float = 8.0) -> dict[str, Tensor]:
    """Outputs of a detector that knows the answer: for each object its best anchor."""
    outputs = {
        CLASS_LOGITS: torch.full((3, len(GRID), 3), -score),
        OFFSETS: torch.zeros(3, len(GRID), 4),
        ANCHORS: GRID.expand(3, -1, -1).clone(),
    }
    for sample, (boxes, classes) in enumerate(TRUE):
        for box, number in zip(boxes, classes, strict=True):
            anchor = int((GRID - box).abs().sum(1).argmin())
            outputs[CLASS_LOGITS][sample, anchor, number] = score
            outputs[OFFSETS][sample, anchor] = encode_boxes(box, GRID[anchor])
    return outputs


def test_the_right_answer_has_no_loss_and_full_precision() -> None:
    outputs = perfect()
    assert float(TASK.loss(outputs, TARGETS)) < 1e-4
    for metric in TASK.metrics:
        assert metric.value(metric.scores(outputs, TARGETS).numpy()) == pytest.approx(1.0)


def test_loss_by_hand() -> None:
    """One anchor on its box, one class, logit 0: the focal loss is α/4 · ln 2; the box is right."""
    outputs = {CLASS_LOGITS: torch.zeros(1, 1, 1), OFFSETS: torch.zeros(1, 1, 4), ANCHORS: GRID[None, :1]}
    targets = pad_objects([(GRID[:1], torch.tensor([0]))], 2)
    assert float(TASK.loss(outputs, targets)) == pytest.approx(0.25 * 0.25 * math.log(2), rel=1e-5)
    shifted = outputs | {OFFSETS: torch.tensor([[[0.5, 0.0, 0.0, 0.0]]])}
    # Shifted by half a width the IoU and the GIoU are 1/3, since the hull is the union.
    assert float(TASK.loss(shifted, targets)) == pytest.approx(0.0625 * math.log(2) + 2 * 2 / 3, rel=1e-4)


def test_a_batch_without_boxes_trains_on_background() -> None:
    outputs = perfect() | {CLASS_LOGITS: torch.zeros(3, len(GRID), 3, requires_grad=True)}
    loss = TASK.loss(outputs, pad_objects([TRUE[1]] * 3, 1))
    loss.backward()
    assert float(loss.detach()) > 0
    assert torch.isfinite(outputs[CLASS_LOGITS].grad).all()  # type: ignore[arg-type]


def test_gradient_descent_finds_the_boxes() -> None:
    logits, offsets = torch.full((3, len(GRID), 3), -2.0, requires_grad=True), torch.zeros(3, len(GRID), 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits, offsets], lr=0.1)
    for _ in range(60):
        outputs = {CLASS_LOGITS: logits, OFFSETS: offsets, ANCHORS: GRID.expand(3, -1, -1)}
        optimizer.zero_grad()
        TASK.loss(outputs, TARGETS).backward()
        optimizer.step()
    metric = TASK.metrics[1]
    scores = metric.scores({name: values.detach() for name, values in outputs.items()}, TARGETS)
    assert metric.value(scores.numpy()) > 0.9


def test_rows_are_matched_anchors_and_three_of_the_background() -> None:
    outputs = perfect()
    rows = TASK.distillable(outputs, TARGETS)
    assert rows.logits.shape == (12, 4)
    assert sorted(rows.targets.tolist()) == [0] * 9 + [1, 2, 3]
    assert bool((rows.logits.argmax(1) == rows.targets).all())
    assert rows.samples is not None
    assert set(rows.samples[rows.targets > 0].tolist()) == {0, 2}
    other = TASK.distillable(outputs | {CLASS_LOGITS: -outputs[CLASS_LOGITS]}, TARGETS)
    assert torch.equal(other.targets, rows.targets), "the choice must not depend on the network"


def test_statistics_of_samples_give_the_metric_of_any_of_them() -> None:
    """The second object is missed: class 0 has no precision, class 1 all; of the third image alone, all."""
    outputs = perfect()
    outputs[CLASS_LOGITS][0, 2] = -8.0
    metric = TASK.deciding
    scores = metric.scores(outputs, TARGETS).numpy()
    assert metric.value(scores) == pytest.approx(2 / 3)
    assert metric.value(scores[2:]) == pytest.approx(1.0)
    assert metric.value(scores[[0, 0]]) == pytest.approx(0.5)
    assert np.isnan(metric.value(scores[1:2]))


def test_one_suppression_serves_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("compress.tasks.detection.postprocess", lambda outputs: calls.append(1) or postprocess(outputs))
    outputs = perfect()
    outputs[OFFSETS] += 0.07
    together = TASK.scores(outputs, TARGETS, TASK.metrics)
    assert len(calls) == 1
    for metric in TASK.metrics:
        assert torch.equal(together[metric.info.name], metric.scores(outputs, TARGETS))
    assert not torch.equal(together["map50"], together["map50_95"])


def test_boxes_are_clipped_to_the_images_that_the_outputs_are_of() -> None:
    outputs = TASK.complete_outputs(perfect(), {"input": torch.zeros(3, 3, 40, 20)})
    assert outputs[IMAGE_SIZE].tolist() == [[40, 20]] * 3
    boxes = postprocess(outputs)[0].boxes
    assert float(boxes[:, [0, 2]].max()) == 20.0
    assert float(postprocess(perfect())[0].boxes[:, 2].max()) > 40


def test_both_metrics_equal_torchmetrics() -> None:
    pytest.importorskip("pycocotools")
    from torchmetrics.detection import MeanAveragePrecision

    generator = torch.Generator().manual_seed(0)
    outputs = perfect(1.0)
    outputs[CLASS_LOGITS] += torch.randn(outputs[CLASS_LOGITS].shape, generator=generator)
    outputs[OFFSETS] += 0.1 * torch.randn(outputs[OFFSETS].shape, generator=generator)
    reference = MeanAveragePrecision(rec_thresholds=RECALLS.tolist(), iou_thresholds=list(THRESHOLDS))
    for detections, (boxes, classes) in zip(postprocess(outputs), TRUE, strict=True):
        found = {"boxes": detections.boxes, "scores": detections.scores, "labels": detections.classes}
        reference.update([found], [{"boxes": boxes, "labels": classes}])
    expected = reference.compute()
    for metric, key in zip(TASK.metrics, ("map_50", "map"), strict=True):
        value = metric.value(metric.scores(outputs, TARGETS).numpy())
        assert 0 < value < 1
        assert value == pytest.approx(float(expected[key]), abs=1e-6)


def test_agreement_is_of_detections() -> None:
    outputs = perfect()
    assert TASK.agreement(outputs, outputs).top1 == 1.0
    missing = {name: values.clone() for name, values in outputs.items()}
    missing[CLASS_LOGITS][0, 2] = -8.0
    assert TASK.agreement(outputs, missing).top1 == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert TASK.agreement(outputs, missing).max_abs == pytest.approx(16.0)
    first, second = postprocess(outputs, least_score=0.3)[0], postprocess(missing, least_score=0.3)[0]
    assert detection_agreement(first, second) == pytest.approx(2 / 3)


def test_images_of_free_size_are_refused() -> None:
    spec = image_spec(channels=3, height=64, width=64, mean=(0.0,), std=(1.0,), classes=("a",))
    TASK.check_spec(spec)
    free = TensorSpec(name="input", shape=("batch", 3, "height", "width"))
    with pytest.raises(DataError, match="fixed size"):
        TASK.check_spec(NetworkSpec(signature=Signature(inputs=(free,))))
    assert [output.name for output in TASK.outputs(spec.signature.inputs, spec.classes)] == [CLASS_LOGITS, OFFSETS, ANCHORS]
