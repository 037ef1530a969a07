import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from compress.core.registry import lookup
from compress.tasks.classification import Classification

TASK = Classification()


def drawn(n=200, k=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, k, generator=generator), torch.randint(0, k, (n,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_equals_the_formula_in_float64(smoothing):
    outputs, targets = drawn()
    z = outputs.numpy().astype(np.float64)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    q = (1 - smoothing) * np.eye(10)[targets] + smoothing / 10
    loss = float(TASK.loss({"logits": outputs}, {"target": targets}, label_smoothing=smoothing))
    assert loss == pytest.approx(-(q * log_p).sum(1).mean(), rel=1e-5)


def metric(name, outputs, targets):
    found = next(each for each in TASK.metrics if each.info.name == name)
    return found.value(found.scores({"logits": outputs}, {"target": targets}).numpy())


@pytest.mark.parametrize("k", [2, 5, 6, 62])
def test_metrics_equal_a_count_by_hand(k):
    outputs, targets = drawn(k=k)
    order = np.argsort(-outputs.numpy(), axis=1)
    hits = order == targets.numpy()[:, None]
    assert metric("accuracy", outputs, targets) == pytest.approx(hits[:, 0].mean())
    top5 = hits[:, :5].any(1).mean() if k > 5 else float("nan")  # every network is right where there are no others
    assert metric("accuracy_top5", outputs, targets) == pytest.approx(top5, nan_ok=True)


def test_calibration_error_is_none_for_the_sure_and_right_and_all_for_the_sure_and_wrong():
    targets = torch.arange(4)
    sure = 50 * torch.eye(4)
    assert metric("calibration_error", sure, targets) == pytest.approx(0.0, abs=1e-6)
    assert metric("calibration_error", sure, (targets + 1) % 4) == pytest.approx(1.0, abs=1e-6)


def test_small_logits_are_calibrated_as_logits_not_as_probabilities():
    outputs = torch.tensor([[0.0, 0.9], [0.9, 0.0]])
    confidence = float(torch.softmax(outputs, 1).max())
    assert metric("calibration_error", outputs, torch.tensor([1, 0])) == pytest.approx(1 - confidence, abs=1e-6)


def test_calibration_error_equals_that_of_torchmetrics_for_several_classes():
    outputs, targets = drawn(k=7)
    expected = multiclass_calibration_error(outputs.softmax(1), targets, num_classes=7, n_bins=15)
    assert metric("calibration_error", outputs, targets) == pytest.approx(float(expected), abs=1e-6)


@given(st.integers(1, 30), st.integers(2, 12), st.integers(0, 99))
def test_scores_are_zero_or_one(n, k, seed):
    outputs, targets = drawn(n, k, seed)
    scores = TASK.deciding.scores({"logits": outputs}, {"target": targets})
    assert scores.shape == (n,)
    assert scores.dtype == torch.float32
    assert set(scores.tolist()) <= {0.0, 1.0}


def test_samples_without_a_label_do_not_count_in_the_loss():
    outputs, targets = drawn(6, 3)
    some = torch.where(torch.arange(6) < 4, targets, -100)
    expected = TASK.loss({"logits": outputs[:4]}, {"target": targets[:4]})
    assert torch.equal(TASK.loss({"logits": outputs}, {"target": some}), expected)
    assert float(TASK.loss({"logits": outputs}, {"target": torch.full((6,), -100)})) == 0.0


def test_the_table_finds_it():
    task = lookup("task", "classification").load()()
    assert (task.name, task.metric, task.metric_info.loss_name) == ("classification", "accuracy", "accuracy_drop")
    assert [str(output) for output in task.outputs((), ("a", "b"))] == ["logits: float32 batch×2"]


def test_an_output_that_is_not_finite_is_wrong():
    outputs = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan], [torch.inf, 0.0], [0.0, torch.nan]])
    scores = Classification().deciding.scores({"logits": outputs}, {"target": torch.tensor([0, 0, 0, 1])})
    assert scores.tolist() == [1.0, 0.0, 0.0, 0.0]
