import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.backends import iterate_split
from compress.backends.run_split import run_split
from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.batch import TARGET
from compress.tasks.metric_quantity import estimate
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.tasks.text.token_metrics import Perplexity
from compress.tasks.text.token_prediction import takes_positions
from tests.tasks.text.text_arrays import LENGTH, VOCABULARY, Arrays, text_spec, tokens


class Network(nn.Module):
    """Logits of all tokens, or of some."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.decoder = nn.Embedding(VOCABULARY, 8), nn.Linear(8, VOCABULARY)

    def forward(self, input_ids, attention_mask, positions=None):  # noqa: ARG002
        hidden = self.table(input_ids)
        return self.decoder(hidden if positions is None else hidden[positions[:, 0], positions[:, 1]])


def data(samples=30):
    inputs = tokens(samples, 1)
    masked = (torch.rand(samples, LENGTH, generator=torch.Generator().manual_seed(2)) < 0.3) & (inputs["attention_mask"] > 0)
    return Arrays(inputs, {TARGET: torch.where(masked, inputs["input_ids"], -100)})


def test_perplexity_is_that_of_the_masked_tokens_of_all_samples():
    split, network = data(), Network()
    with torch.no_grad():
        z, y = network(**split.inputs), split.targets[TARGET]
    known = y >= 0
    expected = float(F.cross_entropy(z[known], y[known]).exp())
    result = run_split(network, split, MaskedLanguageModel(), batch_size=7, every_metric=True)
    assert result.metric == pytest.approx(expected, rel=1e-5)
    assert result.metrics["masked_accuracy"] == pytest.approx(float((z.argmax(2) == y)[known].float().mean()))
    quantity = estimate(Perplexity(), result.scores, "test")
    assert quantity.low < expected < quantity.high
    assert np.isinf(Perplexity().value(np.array([[1e6, 1.0]])))


def test_training_computes_the_masked_tokens_alone_with_the_same_loss():
    task, split, network = MaskedLanguageModel(), data(), Network()
    assert takes_positions(network)
    assert not takes_positions(nn.Linear(1, 1))
    some = task.training_forward(network, split.inputs, split.targets)
    every = task.forward(network, split.inputs)
    assert some[LOGITS].shape == (int((split.targets[TARGET] >= 0).sum()), VOCABULARY)
    torch.testing.assert_close(task.loss(some, split.targets), task.loss(every, split.targets))
    rows = [task.distillable(outputs, split.targets) for outputs in (some, every)]
    torch.testing.assert_close(rows[0].logits, rows[1].logits)
    assert torch.equal(rows[0].samples, rows[1].samples)
    assert task.loss(every, {TARGET: torch.full_like(split.targets[TARGET], -100)}) == 0


def test_large_outputs_are_computed_in_parts(monkeypatch):
    split, network = data(), Network()
    whole = run_split(network, split, MaskedLanguageModel(), batch_size=30)
    monkeypatch.setattr(iterate_split, "MOST_BYTES", 5 * LENGTH * VOCABULARY * 4)
    monkeypatch.setattr(iterate_split, "FIRST_TOKENS", LENGTH)
    sizes = [batch.size for _, batch in iterate_split.iterate_split(network, split, MaskedLanguageModel(), batch_size=30)]
    assert sizes == [1, 5, 5, 5, 5, 5, 4]
    np.testing.assert_allclose(run_split(network, split, MaskedLanguageModel(), batch_size=30).scores, whole.scores, rtol=1e-6)


def test_chance_is_the_vocabulary():
    task = MaskedLanguageModel()
    spec = task.complete_spec(text_spec())
    assert str(spec.signature.outputs[0]) == f"logits: float32 batch×sequence×{VOCABULARY}"
    assert task.for_spec(spec).chance_level((), {}) == VOCABULARY
    assert task.chance_level((), {}) is None


def test_other_inputs_than_tokens_are_refused():
    image = TensorSpec(name="input", shape=(BATCH, 3))
    spec = text_spec().model_copy(update={"signature": Signature(inputs=(image,))})
    with pytest.raises(DataError, match=r"needs tokens, int64 \(batch, sequence\)"):
        MaskedLanguageModel().check_spec(spec)
