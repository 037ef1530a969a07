import math

import pytest
import torch
from torch import nn

from compress.core.errors import TrainingError
from compress.distill.losses.jacobian import Jacobian
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.optimizer_step import group_batches
from compress.train.optimizers import lr_factor
from compress.train.settings import Training
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.train.features.networks import staged
from tests.train.toy_training import conv_net, plain_net, toy_data, train


def teach(student, teacher, term, folder):
    data = toy_data()
    cached = CachedTeacher([teacher], data.train, Classification(), key="t", cache=LogitFolder(folder / "cache"), device="cpu")
    return train(student, folder, data=data, terms=(term,), teacher=cached)


def test_accumulated_batches_equal_one_batch_of_all(tmp_path):
    nets = plain_net(), plain_net()
    settings = Training(epochs=2, batch_size=32, lr=0.05, optimizer="sgd", clip=1.0, keep="last")
    train(nets[0], tmp_path / "whole", settings)
    train(nets[1], tmp_path / "parts", settings.model_copy(update={"batch_size": 8, "accumulate": 4}))
    for whole, parts in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_step(tmp_path):
    start, module = plain_net(), plain_net()
    settings = Training(epochs=1, batch_size=48, lr=0.5, optimizer="sgd", clip=1e-3, weight_decay=0.0, schedule="constant")
    train(module, tmp_path, settings.model_copy(update={"warmup": 0.0}))
    moved = math.sqrt(
        sum(float((a - b).detach().square().sum()) for a, b in zip(module.parameters(), start.parameters(), strict=True))
    )
    assert moved == pytest.approx(0.5 * 1e-3 * 1.9, rel=1e-3)  # Nesterov: the first step is (1 + momentum) · gradient


def test_the_moving_average_is_what_is_kept(tmp_path):
    records = []
    module = plain_net()
    settings = Training(epochs=1, batch_size=16, lr=0.05, ema=0.9, keep="last")
    train(module, tmp_path, settings, after_step=lambda: records.append(module[0].weight.detach().clone()))
    average = records[0]
    for n, weight in enumerate(records[1:], start=1):
        d = min(0.9, (1 + n) / (10 + n))
        average = d * average + (1 - d) * weight
    torch.testing.assert_close(module[0].weight.detach(), average, rtol=1e-5, atol=1e-6)


def test_weights_put_back_after_each_step_stay(tmp_path):
    module = conv_net()
    mask = torch.rand_like(module[0].weight) > 0.5
    module[0].weight.data.mul_(mask)
    train(module, tmp_path, after_step=lambda: module[0].weight.data.mul_(mask))
    assert torch.equal(module[0].weight.detach() != 0, mask)


def test_teachers_of_other_classes_are_refused(tmp_path):
    teacher = staged(1)
    teacher.head = nn.Linear(6, 4)
    with pytest.raises(TrainingError, match=r"logits of the teacher are \(\d+, 4\), of the student \(\d+, 3\)"):
        teach(staged(), teacher, Response(), tmp_path)


def test_a_student_that_cannot_be_differentiated_twice_is_named(tmp_path):
    student = staged()
    student.stage1[2] = nn.Hardsigmoid()
    with pytest.raises(TrainingError, match=r"`jacobian` needs second derivatives of the student.*hardsigmoid_backward"):
        teach(student, staged(1), Jacobian(), tmp_path)


def test_a_step_is_the_learning_rate_of_its_index_times_the_gradient(tmp_path):
    """Two steps of SGD with Nesterov momentum 0.9, written out."""
    records, module = [], plain_net()
    settings = Training(epochs=2, batch_size=48, lr=0.1, optimizer="sgd", weight_decay=0.0, schedule="cosine", warmup=0.0)
    train(module, tmp_path, settings, after_step=lambda: records.append(module[0].weight.detach().clone()))
    reference, momentum = plain_net(), [torch.zeros_like(p) for p in plain_net().parameters()]
    for step in range(2):
        (batch,) = toy_data().train.epoch(step, 48, 3)
        loss = nn.functional.cross_entropy(reference(batch.input), batch.target)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        rate = 0.1 * lr_factor(step, 2, kind="cosine", warmup=0.0)
        with torch.no_grad():
            for parameter, buffer, gradient in zip(reference.parameters(), momentum, gradients, strict=True):
                buffer.mul_(0.9).add_(gradient)
                parameter -= rate * (gradient + 0.9 * buffer)
        torch.testing.assert_close(records[step], reference[0].weight.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "expected"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (4, [3])])
def test_batches_are_grouped_in_order_and_none_is_lost(size, expected):
    batches = list(toy_data().train.ordered(16))
    groups = list(group_batches(iter(batches), size))
    assert [len(group) for group in groups] == expected
    assert [batch for group in groups for batch in group] == batches
