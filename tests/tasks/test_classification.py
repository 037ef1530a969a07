import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    assert float(TASK.loss(outputs, targets, label_smoothing=smoothing)) == pytest.approx(-(q * log_p).sum(1).mean(), rel=1e-5)


@pytest.mark.parametrize("k", [2, 5, 6, 62])
def test_metrics_equal_a_count_by_hand(k):
    outputs, targets = drawn(k=k)
    found = TASK.metrics(outputs, targets)
    order = np.argsort(-outputs.numpy(), axis=1)
    hits = order == targets.numpy()[:, None]
    assert found["accuracy"] == pytest.approx(hits[:, 0].mean())
    assert found["accuracy"] == pytest.approx(float(TASK.correct(outputs, targets).mean()))
    assert ("accuracy_top5" in found) == (k > 5)
    if k > 5:
        assert found["accuracy_top5"] == pytest.approx(hits[:, :5].any(1).mean())


def test_calibration_error_is_none_for_the_sure_and_right_and_all_for_the_sure_and_wrong():
    targets = torch.arange(4)
    sure = 50 * torch.eye(4)
    assert TASK.metrics(sure, targets)["calibration_error"] == pytest.approx(0.0, abs=1e-6)
    assert TASK.metrics(sure, (targets + 1) % 4)["calibration_error"] == pytest.approx(1.0, abs=1e-6)


def test_small_logits_are_calibrated_as_logits_not_as_probabilities():
    outputs = torch.tensor([[0.0, 0.9], [0.9, 0.0]])
    confidence = float(torch.softmax(outputs, 1).max())
    assert TASK.metrics(outputs, torch.tensor([1, 0]))["calibration_error"] == pytest.approx(1 - confidence, abs=1e-6)


@given(st.integers(1, 30), st.integers(2, 12), st.integers(0, 99))
def test_scores_are_zero_or_one(n, k, seed):
    correct = TASK.correct(*drawn(n, k, seed))
    assert correct.shape == (n,)
    assert correct.dtype == torch.float32
    assert set(correct.tolist()) <= {0.0, 1.0}


def test_the_table_finds_it():
    task = lookup("task", "classification").load()()
    assert (task.name, task.metric) == ("classification", "accuracy")
    assert task.metric in task.metrics(*drawn())


def test_an_output_that_is_not_finite_is_wrong():
    outputs = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan], [torch.inf, 0.0], [0.0, torch.nan]])
    assert Classification().correct(outputs, torch.tensor([0, 0, 0, 1])).tolist() == [1.0, 0.0, 0.0, 0.0]
