import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from compress.core.registry import lookup
from compress.distill.losses.response import response
from compress.tasks.multilabel import MultiLabel

TASK = MultiLabel()
MACRO_F1, PRECISION = TASK.metrics


def drawn(n=60, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, k, generator=generator), (torch.rand(n, k, generator=generator) > 0.6).float()


def value(metric, z, y):
    return metric.value(metric.scores({"logits": z}, {"target": y}).numpy())


def test_it_stands_in_the_registry():
    assert isinstance(lookup("task", "multilabel").load()(), MultiLabel)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_equals_the_formula_in_float64(smoothing):
    z, y = drawn()
    p, q = 1 / (1 + np.exp(-z.double().numpy())), (1 - smoothing) * y.numpy() + smoothing / 2
    expected = -(q * np.log(p) + (1 - q) * np.log(1 - p)).mean()
    assert float(TASK.loss({"logits": z}, {"target": y}, label_smoothing=smoothing)) == pytest.approx(expected, rel=1e-5)


def test_metrics_equal_scikit_learn():
    z, y = drawn()
    assert value(MACRO_F1, z, y) == pytest.approx(f1_score(y, z > 0, average="macro"))
    assert value(PRECISION, z, y) == pytest.approx(average_precision_score(y, z.sigmoid(), average="macro"), rel=1e-5)


def test_unknown_targets_count_nowhere():
    z, y = drawn()
    y[:, 2] = -1
    known = [0, 1, 3]
    assert value(MACRO_F1, z, y) == pytest.approx(value(MACRO_F1, z[:, known], y[:, known]))
    assert value(PRECISION, z, y) == pytest.approx(value(PRECISION, z[:, known], y[:, known]))
    losses = [float(TASK.loss({"logits": a}, {"target": b})) for a, b in ((z, y), (z[:, known], y[:, known]))]
    assert losses[0] == pytest.approx(losses[1])
    assert float(TASK.loss({"logits": z}, {"target": torch.full_like(y, -1)})) == 0


def test_a_logit_that_is_not_finite_is_a_wrong_answer():
    z, y = torch.full((2, 1), torch.nan), torch.tensor([[1.0], [0.0]])
    assert value(MACRO_F1, z, y) == 0


def test_imitating_the_rows_is_the_divergence_of_two_bernoulli_distributions():
    (student, y), (teacher, _) = drawn(), drawn(seed=1)
    rows = [TASK.distillable({"logits": z}, {"target": y}) for z in (student, teacher)]
    losses = response(rows[0].logits, rows[1].logits, T=1.0)
    p, q = teacher.sigmoid().double(), student.sigmoid().double()
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert torch.allclose(losses.double().view_as(expected), expected, atol=1e-5)
    assert torch.equal(rows[0].targets.view_as(y), y.long())
    assert rows[0].samples is not None
    assert torch.equal(y[:, 0][rows[0].samples].view_as(y), y[:, :1].expand_as(y))


def test_chance_is_naming_every_class_for_every_sample():
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(40, 3, generator=generator) < torch.tensor([0.1, 0.5, 0.8])).float()
    targets[:4, 0] = -1
    task = MultiLabel()
    outputs = {"logits": torch.ones(40, 3)}
    statistics = {metric.info.name: metric.scores(outputs, {"target": targets}).numpy() for metric in task.metrics}
    assert task.chance_level((), statistics) == pytest.approx(task.deciding.value(statistics[task.metric]))
    assert task.chance_level((), {}) is None
    assert task.chance_level((), {task.metric: statistics[task.metric]}) == 0.0
