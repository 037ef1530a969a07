import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef
from torchmetrics.functional.classification import multiclass_matthews_corrcoef

from compress.tasks.text.similarity_metric import SPEARMAN
from compress.tasks.text.text_metrics import PEARSON, ClassMacroF1, MatthewsCorrelation, ValueCorrelation


def drawn(n=80, k=4):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, k, (n,), generator=generator)
    z = torch.randn(n, k, generator=generator)
    z[torch.arange(n), y] += 1
    return z, y


def value(metric, z, y):
    return metric.value(metric.scores({"logits": z}, {"target": y}).numpy())


def test_they_equal_other_implementations():
    z, y = drawn()
    assert value(ClassMacroF1(), z, y) == pytest.approx(f1_score(y, z.argmax(1), average="macro"))
    assert value(MatthewsCorrelation(), z, y) == pytest.approx(matthews_corrcoef(y, z.argmax(1)))
    assert value(MatthewsCorrelation(), z, y) == pytest.approx(float(multiclass_matthews_corrcoef(z, y, 4)), abs=1e-6)


def test_samples_without_a_label_count_nowhere():
    z, y = drawn()
    hidden = y.clone()
    hidden[:20] = -100
    for metric in (ClassMacroF1(), MatthewsCorrelation()):
        assert value(metric, z, hidden) == pytest.approx(value(metric, z[20:], y[20:]))


def test_draws_are_those_of_the_repeated_samples():
    z, y = drawn()
    scores = MatthewsCorrelation().scores({"logits": z}, {"target": y}).numpy()
    times = np.random.default_rng(0).integers(0, 3, len(scores))
    expected = MatthewsCorrelation().value(np.repeat(scores, times, axis=0))
    assert MatthewsCorrelation().resampled(scores)(times) == pytest.approx(expected)


def test_one_class_has_no_correlation():
    z, y = drawn()
    assert value(MatthewsCorrelation(), z, torch.zeros_like(y)) == 0


@pytest.mark.parametrize(("info", "reference"), [(SPEARMAN, spearmanr), (PEARSON, pearsonr)])
def test_correlations_of_values_equal_scipy(info, reference):
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(50, 2, generator=generator).round(decimals=1)
    z = y + torch.randn(50, 2, generator=generator)
    scores = ValueCorrelation(info).scores({"values": z}, {"target": y}).numpy()
    expected = np.mean([reference(z[:, column], y[:, column]).statistic for column in range(2)])
    assert ValueCorrelation(info).value(scores) == pytest.approx(expected)
    assert np.isnan(ValueCorrelation(info).value(scores * 0))
