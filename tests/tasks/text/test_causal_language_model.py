import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.backends.run_split import run_split
from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.batch import BYTES, TARGET
from compress.tasks.metric_quantity import estimate
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.tasks.text.text_arrays import LENGTH, VOCABULARY, Arrays, text_spec, tokens


class Network(nn.Module):
    """Logits of the next token from each one alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.decoder = nn.Embedding(VOCABULARY, 8), nn.Linear(8, VOCABULARY)

    def forward(self, input_ids, attention_mask):  # noqa: ARG002
        return self.decoder(self.table(input_ids))


def data(samples=30, *, has_bytes=True):
    inputs = tokens(samples, 1)
    known = F.pad(inputs["attention_mask"][:, 1:], (0, 1)) > 0
    target = torch.where(known, F.pad(inputs["input_ids"][:, 1:], (0, 1)), -100)
    return Arrays(inputs, {TARGET: target, **({BYTES: 3 * known.sum(1)} if has_bytes else {})})


def test_metrics_are_those_of_the_next_tokens_of_all_samples():
    task, split, network = CausalLanguageModel(), data(), Network()
    with torch.no_grad():
        z, y = network(**split.inputs), split.targets[TARGET]
    known = y >= 0
    loss = float(F.cross_entropy(z[known], y[known]))
    result = run_split(network, split, task, batch_size=7, every_metric=True)
    assert task.metric == "perplexity"
    assert result.metric == pytest.approx(math.exp(loss), rel=1e-5)
    assert result.metrics["bits_per_byte"] == pytest.approx(loss / math.log(2) / 3, rel=1e-5)
    assert result.metrics["next_token_accuracy"] == pytest.approx(float((z.argmax(2) == y)[known].float().mean()))
    quantity = estimate(task.deciding, result.scores, "test")
    assert quantity.low < math.exp(loss) < quantity.high


def test_data_that_do_not_say_their_bytes_have_no_bits_per_byte():
    result = run_split(Network(), data(has_bytes=False), CausalLanguageModel(), batch_size=7, every_metric=True)
    assert result.metric > 1
    assert "bits_per_byte" not in result.metrics


def test_a_uniform_network_has_the_vocabulary_as_perplexity():
    network = Network()
    nn.init.zeros_(network.decoder.weight)
    nn.init.zeros_(network.decoder.bias)
    task = CausalLanguageModel().for_spec(CausalLanguageModel().complete_spec(text_spec()))
    result = run_split(network, data(), task, batch_size=7)
    assert result.metric == pytest.approx(VOCABULARY, rel=1e-5)
    assert task.chance_level((), {}) == VOCABULARY


def test_rows_for_losses_on_logits_are_the_predicted_places():
    task, split = CausalLanguageModel(), data()
    outputs = task.training_forward(Network(), split.inputs, split.targets)
    rows = task.distillable(outputs, split.targets)
    assert rows.logits.shape == (int((split.targets[TARGET] >= 0).sum()), VOCABULARY)
    torch.testing.assert_close(task.loss(outputs, split.targets), F.cross_entropy(rows.logits, rows.targets))
    assert outputs[LOGITS].shape == (30, LENGTH, VOCABULARY)


def test_images_are_refused():
    image = TensorSpec(name="input", shape=(BATCH, 3))
    spec = text_spec().model_copy(update={"signature": Signature(inputs=(image,))})
    with pytest.raises(DataError, match="causal_language_model needs tokens"):
        CausalLanguageModel().check_spec(spec)
