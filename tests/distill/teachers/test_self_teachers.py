import pytest
import torch

from compress.core.errors import TrainingError
from compress.distill.stage import Distill
from compress.distill.teachers.mutual import Peers
from compress.distill.teachers.self_teachers import EnsembleTeacher, MovingAverageTeacher, SnapshotTeacher, reinitialized
from compress.distill.teachers.settings import (
    BornAgain,
)
from compress.tasks.classification import Classification
from tests.distill.teachers.runs import QUICK, batch_of, candidate, probabilities, same, started
from tests.train.toy_training import SETTINGS, ToySplit, conv_net, toy_data


def test_a_snapshot_is_the_student_of_the_last_full_period():
    teacher, batch = started(SnapshotTeacher(2, Classification())), batch_of()
    later = conv_net(5)
    teacher.after_epoch(later, 0)
    assert teacher.logits(batch) is None
    teacher.after_epoch(later, 1)
    teacher.after_epoch(conv_net(6), 2)
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(batch), later(batch.input))


def test_the_moving_average_follows_the_student():
    student = conv_net()
    teacher = started(MovingAverageTeacher(0.9, Classification()), student)
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(batch_of()), student(batch_of().input))
    for _ in range(400):
        teacher.after_step(conv_net(3))
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(batch_of()), conv_net(3)(batch_of().input), rtol=1e-3, atol=1e-3)


def test_the_ensemble_is_the_weighted_mean_of_the_student_outputs():
    teacher, batch = started(EnsembleTeacher(0.6, 48, 3)), batch_of()
    assert teacher.logits(batch) is None
    outputs = [probabilities(range(6), seed) for seed in range(3)]
    for p in outputs:
        teacher.after_batch(batch, p.log())
    weights = [0.6**2, 0.6, 1.0]
    expected = sum(w * p for w, p in zip(weights, outputs, strict=True)) / sum(weights)
    torch.testing.assert_close(teacher.logits(batch).exp(), expected)
    other = next(iter(ToySplit(48, 1).epoch(1, 48, 0)))
    assert teacher.logits(other) is None
    with pytest.raises(TrainingError, match="does not number them; use `snapshot`"):
        teacher.logits(batch._replace(samples=None))


def test_reinitialized_weights_depend_on_the_seed():
    net = conv_net()
    assert not torch.equal(reinitialized(net, 1)[0].weight, net[0].weight)
    assert same(reinitialized(net, 1), reinitialized(net, 1))
    assert not same(reinitialized(net, 1), reinitialized(net, 2))
    assert same(net, conv_net())


def test_reinitialized_copies_keep_frozen_weights_and_the_statistics_that_belong_to_them():
    net = conv_net()
    net[0].bias.requires_grad_(False)
    net[1].requires_grad_(False).running_mean.fill_(2.0)
    other = reinitialized(net, 1)
    assert torch.equal(other[0].bias, net[0].bias)
    assert not torch.equal(other[0].weight, net[0].weight)
    assert float(other[1].running_mean[0]) == 2.0
    assert not other[1].weight.requires_grad


def test_born_again_copies_are_trained_in_turn_and_recorded(context):
    outcome = Distill(**QUICK, teacher=BornAgain(twins=3)).run(candidate(), context)
    result = {name: quantity.detail for name, quantity in outcome.results.items() if name.startswith("assistant")}
    assert list(result) == ["assistant_1", "assistant_2"]
    assert result["assistant_2"].startswith("generation 2, on validation")


def test_teachers_that_differ_by_process_are_refused_in_a_launch(monkeypatch):
    monkeypatch.setattr("compress.distill.teachers.self_teachers.world_size", lambda: 2)
    with pytest.raises(TrainingError, match="'ensemble' works in one process only, this launch has 2"):
        started(EnsembleTeacher(0.6, 48, 3))
    with pytest.raises(TrainingError, match="'mutual' works in one process only"):
        started(Peers([conv_net()], SETTINGS, toy_data(), Classification(), 1.0))
