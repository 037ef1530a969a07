import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from compress.tasks.metric_quantity import estimate
from compress.tasks.text.similarity_metric import Retrieval, Spearman, same_texts, text_keys


def vectors(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 6, generator=generator)
    b = a + torch.randn(count, 6, generator=generator)
    ids = torch.arange(count)[:, None] + torch.arange(3)
    return {"embedding": a, "pair_embedding": b}, {"pair_input_ids": ids, "pair_attention_mask": torch.ones_like(ids)}


def test_spearman_is_that_of_scipy():
    outputs, _ = vectors()
    score = torch.arange(40) // 3
    rows = Spearman().scores(outputs, {"score": score}).numpy()
    assert Spearman().value(rows) == pytest.approx(spearmanr(rows[:, 0], rows[:, 1]).statistic)
    quantity = estimate(Spearman(), rows, "test")
    assert quantity.low < quantity.value < quantity.high
    assert np.isnan(Spearman().value(Spearman().scores(outputs, {"score": torch.ones(40)}).numpy()))
    constant = {name: torch.ones(40, 6) for name in outputs}
    assert Spearman().value(Spearman().scores(constant, {"score": score}).numpy()) == 0


def test_places_are_those_of_a_sorted_list():
    outputs, targets = vectors()
    cosine = torch.nn.functional.cosine_similarity(outputs["embedding"][:, None], outputs["pair_embedding"][None], dim=2)
    places = np.array([1 + int((row > row[n]).sum()) for n, row in enumerate(cosine)])
    expected = {
        ("recall", 1): (places <= 1).mean(),
        ("recall", 5): (places <= 5).mean(),
        ("mrr", 10): np.where(places <= 10, 1 / places, 0).mean(),
        ("ndcg", 10): np.where(places <= 10, 1 / np.log2(1 + places), 0).mean(),
    }
    for (kind, k), value in expected.items():
        metric = Retrieval(kind, k)
        rows = metric.scores(outputs, targets).numpy()
        assert metric.value(rows) == pytest.approx(value)
        assert metric.resampled(rows)(np.ones(40, int)) == pytest.approx(value)


def test_a_text_of_several_pairs_is_one_text_and_a_constant_network_is_at_chance():
    outputs, targets = vectors()
    targets["pair_input_ids"][1] = targets["pair_input_ids"][0]
    outputs["pair_embedding"][1] = outputs["pair_embedding"][0]
    outputs["embedding"] = outputs["pair_embedding"].clone()
    metric = Retrieval("recall", 1)
    rows = metric.scores(outputs, targets).numpy()
    assert metric.value(rows) == 1
    constant = {name: torch.ones(40, 6) for name in outputs}
    for kind in ("recall", "mrr", "ndcg"):
        metric = Retrieval(kind, 25)
        rows = metric.scores(constant, targets).numpy()
        assert metric.value(rows) == pytest.approx(metric.constant(rows))
        assert metric.constant(rows) == pytest.approx(float(metric.gains(np.array([20.0]))[0]))


def test_keys_are_those_of_the_tokens_without_padding():
    ids = torch.tensor([[5, 6, 0], [6, 5, 0], [5, 6, 7]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1]])
    targets = {"pair_input_ids": ids, "pair_attention_mask": mask}
    wider = {name: torch.nn.functional.pad(values, (0, 2)) for name, values in targets.items()}
    assert torch.equal(text_keys(targets), text_keys(wider))
    assert same_texts(targets).tolist() == torch.eye(3, dtype=torch.bool).tolist()
    generator = torch.Generator().manual_seed(0)
    many = torch.randint(0, 30_000, (5000, 8), generator=generator)
    assert len(torch.unique(text_keys({"pair_input_ids": many}), dim=0)) == 5000
