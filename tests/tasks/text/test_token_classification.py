import pytest
import torch
from torch.nn import functional as F

from compress.backends.run_split import run_split
from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.data.batch import TARGET
from compress.tasks.text.token_classification import TokenClassification
from tests.tasks.text.test_spans import BIO
from tests.tasks.text.text_arrays import LENGTH, VOCABULARY, Arrays, text_spec, tokens


class Tagger(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(VOCABULARY, len(BIO))

    def forward(self, input_ids, attention_mask):  # noqa: ARG002
        return self.table(input_ids)


def data(samples=40, seed=0):
    inputs = tokens(samples, seed)
    y = torch.where(inputs["attention_mask"] > 0, inputs["input_ids"] % len(BIO), -100)
    y[:, 0] = -1
    return Arrays(inputs, {TARGET: y})


def test_loss_is_that_of_the_tokens_with_a_tag():
    task, split = TokenClassification(), data()
    z = torch.randn(40, LENGTH, len(BIO))
    y = split.targets[TARGET]
    rows = [F.cross_entropy(z[n, t], y[n, t]) for n in range(40) for t in range(LENGTH) if y[n, t] >= 0]
    torch.testing.assert_close(task.loss({LOGITS: z}, split.targets), torch.stack(rows).mean())
    none = {TARGET: torch.full_like(y, -100)}
    assert task.loss({LOGITS: z}, none) == 0


def test_a_network_is_judged_on_a_split_and_a_constant_is_at_chance():
    task = TokenClassification()
    spec = task.complete_spec(text_spec(BIO))
    assert str(spec.signature.outputs[0]) == f"logits: float32 batch×sequence×{len(BIO)}"
    bound, network = task.for_spec(spec), Tagger()
    network.table.weight.data = F.one_hot(torch.arange(VOCABULARY) % len(BIO), len(BIO)).float()
    result = run_split(network, data(), bound, batch_size=8, every_metric=True)
    assert result.metrics == {"span_f1": 1, "token_accuracy": 1}
    constant = Tagger()
    constant.table.weight.data = torch.zeros(VOCABULARY, len(BIO)) + F.one_hot(torch.tensor(1), len(BIO))
    worst = run_split(constant, data(), bound, batch_size=8)
    chance = bound.chance_level(spec.classes, {"span_f1": worst.scores})
    assert 0 < worst.metric <= chance
    table = bound.further_results({"span_f1": result.scores}, spec.classes, "test").tables["classes"]
    assert [row["class"] for row in table] == ["PER", "LOC"]


def test_agreement_compares_the_tags_of_tokens():
    z = torch.randn(3, 5, 4)
    other = z.clone()
    other[0, 0] = -other[0, 0]
    assert TokenClassification().agreement({LOGITS: z}, {LOGITS: other}).top1 == pytest.approx(14 / 15)


def test_data_without_entities_are_refused():
    with pytest.raises(DataError, match="the tags are O"):
        TokenClassification().complete_spec(text_spec(["O"]))
    with pytest.raises(DataError, match="the tags are none"):
        TokenClassification().complete_spec(text_spec())
