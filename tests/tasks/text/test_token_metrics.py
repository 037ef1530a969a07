import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from compress.backends import iterate_split
from compress.backends.run_split import run_split
from compress.core.network_spec import LOGITS
from compress.data.batch import BYTES, TARGET
from compress.tasks.text import token_metrics
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.token_metrics import BitsPerByte, Perplexity, PredictedAccuracy, logit_chunks, summed_loss
from tests.tasks.text.test_causal_language_model import Network, data
from tests.tasks.text.text_arrays import LENGTH, VOCABULARY

MOST = 4 * VOCABULARY


class LargestTensor(TorchDispatchMode):
    """Number of values of the largest tensor that an operation makes."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            self.most = max(self.most, each.numel() if isinstance(each, torch.Tensor) else 0)
        return result


def outputs_and_targets():
    split = data(6)
    z = torch.randn(6, LENGTH, VOCABULARY, generator=torch.Generator().manual_seed(0))
    return {LOGITS: z}, split.targets


def test_chunks_are_the_predicted_tokens_in_order_and_no_larger_than_allowed(monkeypatch):
    outputs, targets = outputs_and_targets()
    monkeypatch.setattr(token_metrics, "CHUNK_VALUES", MOST)
    known = targets[TARGET] >= 0
    for given in (outputs, {LOGITS: outputs[LOGITS][known]}):
        parts = list(logit_chunks(given, targets))
        assert max(len(z) for _, z, _ in parts) == 4
        assert torch.equal(torch.cat([z for _, z, _ in parts]), outputs[LOGITS][known])
        assert torch.equal(torch.cat([y for _, _, y in parts]), targets[TARGET][known])
        assert torch.equal(torch.cat([sample for sample, _, _ in parts]), known.nonzero()[:, 0])


def test_chunks_change_no_score(monkeypatch):
    outputs, targets = outputs_and_targets()
    metrics = (Perplexity(), BitsPerByte(), PredictedAccuracy(Perplexity().info))
    whole = [metric.scores(outputs, targets) for metric in metrics]
    monkeypatch.setattr(token_metrics, "CHUNK_VALUES", MOST)
    for metric, expected in zip(metrics, whole, strict=True):
        torch.testing.assert_close(metric.scores(outputs, targets), expected)
    each = F.cross_entropy(outputs[LOGITS].movedim(2, 1), targets[TARGET], reduction="none").double().sum(1)
    torch.testing.assert_close(summed_loss(outputs, targets), each)
    assert torch.equal(whole[1][:, 1], targets[BYTES].double())


def test_an_evaluation_never_makes_logits_of_all_tokens(monkeypatch):
    monkeypatch.setattr(iterate_split, "MOST_BYTES", 2 * LENGTH * VOCABULARY * 4)
    monkeypatch.setattr(iterate_split, "FIRST_TOKENS", LENGTH)
    monkeypatch.setattr(token_metrics, "CHUNK_VALUES", MOST)
    with LargestTensor() as largest:
        result = run_split(Network(), data(60), CausalLanguageModel(), batch_size=60, every_metric=True)
    assert len(result.scores) == 60
    assert largest.most <= 2 * LENGTH * VOCABULARY < 60 * LENGTH * VOCABULARY


def test_logits_that_are_not_finite_are_not_right():
    z = torch.tensor([[[float("nan"), 1.0], [0.0, 1.0]]])
    scores = PredictedAccuracy(Perplexity().info).scores({LOGITS: z}, {TARGET: torch.tensor([[1, 1]])})
    assert scores.tolist() == [[1.0, 2.0]]
    assert Perplexity().value(scores.numpy()) == pytest.approx(2.718281828**0.5)
