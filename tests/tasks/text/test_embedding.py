import pytest
import torch
from torch import nn

from compress.backends.run_split import run_split
from compress.core.errors import CompressError, DataError
from compress.data.batch import Batch
from compress.pipeline.split_metrics import has_own_chance
from compress.tasks.choice import TaskChoice
from compress.tasks.text.embedding import TextEmbedding
from tests.tasks.text.text_arrays import VOCABULARY, Arrays, text_spec, tokens


class Encoder(nn.Module):
    """Mean of the vectors of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, 16)

    def forward(self, input_ids, attention_mask):
        weights = attention_mask[..., None].float()
        return (self.table(input_ids) * weights).sum(1) / weights.sum(1)


def pairs(samples=60, *, scored):
    first, other = tokens(samples, 3), tokens(samples, 4)
    close = torch.arange(samples) % 2 == 0
    second = {name: torch.where(close[:, None] | torch.tensor(not scored), first[name], other[name]) for name in first}
    targets = {f"pair_{name}": values for name, values in second.items()}
    return Arrays(first, targets | ({"score": close.float() * 5} if scored else {}))


@pytest.mark.parametrize(("kind", "metric"), [("scored", "spearman"), ("matching", "ndcg_at_10")])
def test_the_network_runs_on_both_texts_of_a_pair(kind, metric):
    torch.manual_seed(0)
    task = TaskChoice.read({"embedding": {"pairs": kind}}).make()
    split = pairs(scored=kind == "scored")
    result = run_split(Encoder(), split, task, batch_size=16, every_metric=True)
    assert task.metric == metric
    assert result.metric > 0.8
    constant = Encoder()
    nn.init.ones_(constant.table.weight)
    worst = run_split(constant, split, task)
    assert worst.metric <= task.chance_level((), {metric: worst.scores}) + 1e-9
    assert worst.constant


def test_the_chance_of_matching_pairs_is_that_of_equal_vectors_and_not_of_permuted_ones():
    task, split = TextEmbedding("matching"), pairs(scored=False)
    assert has_own_chance(run_split(Encoder(), split, task), task, ())
    assert not has_own_chance(run_split(Encoder(), pairs(scored=True), TextEmbedding()), TextEmbedding(), ())


@pytest.mark.parametrize("kind", ["scored", "matching"])
def test_training_lowers_the_loss(kind):
    torch.manual_seed(0)
    task, split, network = TextEmbedding(kind), pairs(scored=kind == "scored"), Encoder()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        loss = task.loss(task.training_forward(network, split.inputs, split.targets), split.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_rows_are_the_vectors_of_both_texts_and_of_single_texts():
    task, split, network = TextEmbedding(), pairs(scored=True), Encoder()
    outputs = task.training_forward(network, split.inputs, split.targets)
    rows = task.distillable(outputs, split.targets)
    torch.testing.assert_close(rows.logits[60:], 4 * outputs["pair_embedding"])
    assert rows.samples.tolist() == [*range(60), *range(60)]
    single = task.training_forward(network, split.inputs, {})
    assert len(task.distillable(single, {}).logits) == 60
    assert task.loss(single, {}) == 0


def test_single_texts_and_missing_scores_are_refused():
    task, split = TextEmbedding(), pairs(4, scored=True)
    with pytest.raises(DataError, match="needs pairs of texts for its metrics, with the targets pair_input_ids"):
        task.check_batch(Batch(split.inputs, {}), text_spec())
    unscored = {name: values for name, values in split.targets.items() if name != "score"}
    with pytest.raises(DataError, match="score: float32 batch"):
        task.check_batch(Batch(split.inputs, unscored), text_spec())
    TextEmbedding("matching").check_batch(Batch(split.inputs, unscored), text_spec())
    with pytest.raises(DataError, match="these data have the classes a, b"):
        task.complete_spec(text_spec(["a", "b"]))
    with pytest.raises(CompressError, match="use one of scored, matching"):
        TextEmbedding("other")
