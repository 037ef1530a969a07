"""torchvision's detectors of two stages with plain outputs, against torchvision's own second stage and losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from compress.data.detection_targets import pad_objects
from compress.models.sources.torchvision_two_stage import small_two_stage
from compress.models.two_stage_detectors import TwoStageDetector
from compress.tasks import two_stage_outputs as names
from compress.tasks.boxes import select_detections
from compress.tasks.detection import Detection

SIZE = (64, 64)


def detector(width: int = 4) -> TwoStageDetector:
    """With answers that differ from place to place."""
    torch.manual_seed(0)
    network = small_two_stage(2, SIZE, width=width, proposals=12)
    assert isinstance(network, TwoStageDetector)
    for parameter in (*network.rpn.head.parameters(), *network.roi_heads.box_predictor.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def targets() -> dict[str, Tensor]:
    objects = [(torch.tensor([[4.0, 4.0, 20.0, 22.0], [30.0, 30.0, 60.0, 58.0]]), torch.tensor([0, 1]))]
    objects.append((torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))
    return dict(pad_objects(objects, 3))


def test_detections_are_those_of_torchvision() -> None:
    """In float64 no two scores are equal; torchvision limits scores, numbers and overlaps as the task does."""
    network = detector().double().eval()
    image = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    network.roi_heads.score_thresh = 0.01
    with torch.no_grad():
        logits, offsets, proposals = network(image)
        maps = network.backbone(image)
        own = [boxes[row[:, 0] > -19] for boxes, row in zip(proposals, logits, strict=True)]
        expected, _ = network.roi_heads(maps, own, [SIZE] * 2)
    assert logits.shape == (2, 12, 2)
    assert offsets.shape == (2, 12, 8)
    for index, theirs in enumerate(expected):
        found = select_detections(logits[index], offsets[index], proposals[index], size=SIZE)
        assert len(found.scores) == len(theirs["scores"]) > 5
        assert torch.allclose(found.scores, theirs["scores"], atol=1e-6)
        assert torch.allclose(found.boxes, theirs["boxes"], atol=1e-4)
        assert torch.equal(found.classes, theirs["labels"] - 1)


def test_the_loss_is_that_of_torchvision() -> None:
    network = detector().train()
    task, image, truth = Detection(), torch.randn(2, 3, *SIZE), targets()
    outputs = task.training_forward(network, {"input": image}, truth)
    labels = outputs[names.ANCHOR_LABELS]
    network.rpn.fg_bg_sampler = lambda _: (list((labels == 1).float()), list((labels == 0).float()))  # type: ignore[assignment]
    first = network.rpn.compute_loss(
        outputs[names.OBJECTNESS].reshape(-1, 1),
        outputs[names.ANCHOR_OFFSETS].reshape(-1, 4),
        list(labels.float()),
        list(outputs[names.ANCHOR_TARGETS]),
    )
    sampled = outputs[names.PROPOSAL_LABELS] >= 0
    second = fastrcnn_loss(
        outputs[names.PROPOSAL_LOGITS][sampled],
        outputs[names.PROPOSAL_OFFSETS][sampled],
        [outputs[names.PROPOSAL_LABELS][sampled]],
        [outputs[names.PROPOSAL_TARGETS][sampled]],
    )
    assert torch.allclose(task.loss(outputs, truth), sum((*first, *second), torch.zeros(())), rtol=1e-5)
    assert int((labels == 1).sum()) > 0
    assert int((outputs[names.PROPOSAL_LABELS] > 0).sum()) > 0


def test_every_layer_has_a_gradient_in_both_modes_and_samples_in_eval_mode_are_fixed() -> None:
    task, image, truth = Detection(), torch.randn(2, 3, *SIZE), targets()
    for training in (True, False):
        network = detector().train(training)
        loss = task.loss(task.training_forward(network, {"input": image}, truth), truth)
        torch.autograd.backward(loss)
        assert all(parameter.grad is not None for parameter in network.parameters())
    again = task.loss(task.training_forward(network, {"input": image}, truth), truth)
    assert torch.equal(again, loss)


def test_a_teacher_judges_the_proposals_of_its_student() -> None:
    task, image, truth = Detection(), torch.randn(2, 3, *SIZE), targets()
    student, teacher = detector().train(), detector(width=8).eval()
    outputs = task.training_forward(student, {"input": image}, truth)
    rows = task.distillable(outputs, truth)
    shared = task.teacher_targets(outputs, truth)
    judged = task.distillable(task.training_forward(teacher, {"input": image}, shared), shared)
    assert rows.logits.shape == judged.logits.shape
    assert rows.logits.shape[1] == 3
    assert torch.equal(rows.targets, judged.targets)
    same = detector().train()
    same.load_state_dict(student.state_dict())
    again = task.training_forward(same, {"input": image}, shared)
    assert names.OBJECTNESS in again  # a peer in training has a loss of its own, too
    assert torch.allclose(task.distillable(again, shared).logits, rows.logits, atol=1e-5)
