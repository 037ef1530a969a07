import pytest
import torch

from compress.core.network_spec import image_spec
from compress.core.registry import lookup
from compress.tasks.classification import Classification
from compress.tasks.inspection import Inspection, log_odds
from tests.reference import softmax


def drawn(count=12, classes=3):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(0)), torch.arange(count) % classes


def test_it_stands_in_the_registry_and_recall_decides():
    task = lookup("task", "inspection").load()()
    assert isinstance(task, Inspection)
    assert [metric.info.name for metric in task.metrics] == ["recall_at_fpr", "false_alarm_rate", "auroc", "accuracy"]
    assert [metric.info for metric in type(task).metrics] == [metric.info for metric in task.metrics]
    assert task.metric_info.loss_name == "recall_at_fpr_drop"
    assert Inspection(fpr=0.01).metric_info.label == "recall at 1 % false alarms"


def test_the_score_is_the_log_of_the_odds():
    logits, _ = drawn()
    for row, score in zip(logits.double().tolist(), log_odds(logits, 1).tolist(), strict=True):
        good = softmax(row)[1]
        assert torch.tensor((1 - good) / good).log().item() == pytest.approx(score, rel=1e-5)


def test_parts_that_are_certainly_defective_are_still_told_apart():
    scores = log_odds(torch.tensor([[0.0, 60.0], [0.0, 80.0]]), 0)
    assert scores.tolist() == [60.0, 80.0]


def test_loss_rows_and_outputs_are_those_of_classification():
    logits, target = drawn()
    tensors = {"logits": logits}, {"target": target}
    inspection, classification = Inspection(), Classification()
    assert float(inspection.loss(*tensors)) == float(classification.loss(*tensors))
    assert torch.equal(inspection.distillable(*tensors).logits, logits)
    assert inspection.capabilities == classification.capabilities
    spec = image_spec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,), classes=("good", "a", "b"))
    assert inspection.complete_spec(spec) == spec


def test_a_perfect_network_finds_all_and_a_constant_one_none():
    task = Inspection().for_spec(image_spec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,), classes=("crack", "good")))
    target = torch.tensor([0, 1] * 20)
    perfect = torch.nn.functional.one_hot(target, 2).float()
    for logits, expected in ((perfect, 1.0), (torch.zeros(40, 2), 0.0), (-perfect, 0.0)):
        scores = task.deciding.scores({"logits": logits}, {"target": target}).numpy()
        assert task.deciding.value(scores) == expected
    assert task.chance_level(("crack", "good"), {}) == 0.05


def test_recall_by_calling_all_parts_defective_is_chance():
    task = Inspection().for_spec(image_spec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,), classes=("crack", "good")))
    target = torch.tensor([0, 1, 1, 1] * 10)
    scores = task.deciding.scores({"logits": torch.tensor([[3.0, 0.0]] * 40)}, {"target": target}).numpy()
    judged = task.deciding.with_threshold(scores, 1.0)
    assert task.deciding.value(judged) == task.chance_level((), {task.metric: judged}) == 1.0
    assert task.chance_level((), {task.metric: task.deciding.with_threshold(scores, 5.0)}) == 0.05
    assert task.chance_level((), {task.metric: judged[target.numpy() == 0]}) == 1.0
