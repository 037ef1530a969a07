import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from compress.core.network_spec import image_spec
from compress.core.registry import lookup
from compress.core.signature import TensorSpec
from compress.tasks import segmentation
from compress.tasks.segmentation import MeanIoU, PixelAccuracy, Segmentation

TASK = Segmentation()


def drawn(n=6, k=5, size=8, seed=0, ignored=()):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, k, (n, size, size), generator=generator)
    for value in ignored:
        targets[torch.rand(targets.shape, generator=generator) < 0.2] = value
    return 2 * torch.randn(n, k, size, size, generator=generator), targets


def scores(metric, outputs, targets):
    return metric.scores({"logits": outputs}, {"target": targets}).numpy()


def value(metric, outputs, targets):
    return metric.value(scores(metric, outputs, targets))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_equals_the_formula_in_float64_over_the_pixels_with_a_class(smoothing):
    outputs, targets = drawn(ignored=(255, -1))
    z = outputs.numpy().astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, 5)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    y = targets.numpy().ravel()
    counts = (y >= 0) & (y < 5)
    q = (1 - smoothing) * np.eye(5)[y[counts]] + smoothing / 5
    loss = float(TASK.loss({"logits": outputs}, {"target": targets}, label_smoothing=smoothing))
    assert loss == pytest.approx(-(q * log_p[counts]).sum(1).mean(), rel=1e-5)


def test_a_batch_without_classes_has_no_loss_and_no_gradient():
    outputs, targets = drawn()
    outputs.requires_grad_()
    loss = TASK.loss({"logits": outputs}, {"target": torch.full_like(targets, 255)})
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not outputs.grad.any()


@pytest.mark.parametrize("ignored", [(), (255,), (255, -1)])
def test_mean_iou_equals_that_of_torchmetrics(ignored):
    outputs, targets = drawn(n=20, ignored=ignored)
    reference = multiclass_jaccard_index(
        outputs, targets.masked_fill(targets == -1, 255), num_classes=5, ignore_index=255, average="macro"
    )
    assert value(MeanIoU(), outputs, targets) == pytest.approx(float(reference), abs=1e-6)


def test_mean_iou_leaves_out_a_class_that_is_neither_there_nor_predicted():
    outputs, targets = drawn(k=5)
    outputs[:, 4] = -100.0
    present = value(MeanIoU(), outputs[:, :4], targets.where(targets < 4, 0))
    assert value(MeanIoU(), outputs, targets.where(targets < 4, 0)) == pytest.approx(present)


def test_mean_iou_of_two_batches_is_that_of_all_their_samples_and_not_the_mean_of_both():
    outputs, targets = drawn(n=8)
    targets[:4] = 0
    metric = MeanIoU()
    parts = [scores(metric, outputs[rows], targets[rows]) for rows in (slice(4), slice(4, None))]
    assert metric.value(np.concatenate(parts)) == pytest.approx(value(metric, outputs, targets))
    assert metric.value(np.concatenate(parts)) != pytest.approx(np.mean([metric.value(part) for part in parts]), abs=1e-3)


def test_pixel_accuracy_counts_pixels_and_not_samples():
    outputs, targets = drawn(ignored=(255,))
    targets[0, :, :6] = 255
    counts = targets != 255
    right = (outputs.argmax(1) == targets)[counts].double().mean()
    assert value(PixelAccuracy(), outputs, targets) == pytest.approx(float(right))


def test_a_perfect_network_has_1_and_one_without_finite_logits_0():
    _, targets = drawn(ignored=(255,))
    perfect = torch.nn.functional.one_hot(targets.where(targets != 255, 0), 5).movedim(-1, 1).float()
    for metric in TASK.metrics:
        assert value(metric, perfect, targets) == 1.0
        assert value(metric, perfect * float("nan"), targets) == 0.0


def test_rows_are_pixels_and_know_their_sample():
    outputs, targets = drawn(n=3, k=4, size=5, ignored=(255,))
    rows = TASK.distillable({"logits": outputs}, {"target": targets})
    n, h, w = 2, 1, 3
    index = (n * 5 + h) * 5 + w
    assert torch.equal(rows.logits[index], outputs[n, :, h, w])
    assert rows.samples[index] == n
    assert ((rows.targets < 0) == (targets.flatten() == 255)).all()


def test_many_pixels_are_sampled_alike_for_student_and_teacher_and_for_a_permuted_batch(monkeypatch):
    monkeypatch.setattr(segmentation, "MOST_ROWS", 50)
    outputs, targets = drawn(n=4)
    student, teacher = (TASK.distillable({"logits": z}, {"target": targets}) for z in (outputs, 2 * outputs))
    assert student.logits.shape == (50, 5)
    assert torch.equal(2 * student.logits, teacher.logits)
    other = TASK.distillable({"logits": outputs}, {"target": targets[[1, 0, 3, 2]]})
    assert torch.equal(other.logits, student.logits)
    assert not torch.equal(TASK.distillable({"logits": outputs}, {"target": (targets + 1) % 5}).logits, student.logits)


def test_the_outputs_have_the_size_of_the_image_free_or_not():
    spec = image_spec(channels=3, height=24, width=40, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))
    assert TASK.outputs(spec.signature.inputs, spec.classes)[0].shape == ("batch", 2, 24, 40)
    free = TensorSpec(name="input", shape=("batch", 3, "height", "width"))
    assert TASK.outputs((free,), spec.classes)[0].shape == ("batch", 2, "height", "width")
    assert TASK.output_names == ("logits",)


def test_agreement_is_the_fraction_of_pixels_with_the_same_class():
    outputs, _ = drawn()
    other = outputs.clone()
    other[:, :, 0] = -outputs[:, :, 0]
    agreement = TASK.agreement({"logits": outputs}, {"logits": other})
    assert agreement.top1 == pytest.approx(float((outputs.argmax(1) == other.argmax(1)).double().mean()))


def test_a_recipe_names_it():
    assert lookup("task", "segmentation").load() is Segmentation


def test_chance_is_the_best_of_one_class_for_all_pixels():
    generator = torch.Generator().manual_seed(0)
    targets = torch.multinomial(torch.tensor([0.2, 0.7, 0.1, 0.0]), 6 * 5 * 7, replacement=True, generator=generator).view(
        6, 5, 7
    )
    targets[0, 0, 0] = 255
    task = Segmentation()
    metric = task.deciding
    levels = []
    for index in range(4):
        logits = torch.zeros(6, 4, 5, 7)
        logits[:, index] = 1
        scores = metric.scores({"logits": logits}, {"target": targets}).numpy()
        levels.append(metric.value(scores))
    assert task.chance_level((), {task.metric: scores}) == pytest.approx(max(levels))
    assert task.chance_level((), {}) is None
