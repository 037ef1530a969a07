"""Scores of experts against their formulas, and the order of removal by reconstruction against all sets of experts."""

from itertools import combinations

import pytest
import torch

from compress.models.text.experts import expert_weights, keep_experts, mixtures
from compress.prune.criteria import ScoringData
from compress.prune.structured.expert_scores import ExpertScoring, mixture_inputs, reap, reconstruction, router_share
from tests.models.text.expert_networks import TASK, expert_decoder, next_tokens

pytest.importorskip("transformers")


@pytest.fixture
def mixture():
    return next(iter(mixtures(expert_decoder(experts=5).eval()).values()))


@pytest.fixture
def x():
    return torch.randn(40, 32, generator=torch.Generator().manual_seed(0))


def _error(mixture, x, kept):
    import copy

    small = copy.deepcopy(mixture)
    keep_experts(small, kept)
    with torch.no_grad():
        full = mixture(x)
        return float((small(x) - full).norm() / full.norm())


def test_reap_is_the_mean_weighted_norm_over_the_tokens_of_an_expert(mixture, x):
    with torch.no_grad():
        found, g = reap(mixture, x), expert_weights(mixture.gate(x), 2, "top")
        for index, expert in enumerate(mixture.experts):
            terms = [float(g[t, index] * expert(x[t]).norm()) for t in range(len(x)) if g[t, index] > 0]
            assert float(found[index]) == pytest.approx(sum(terms) / max(len(terms), 1), rel=1e-4)


def test_the_shares_of_the_router_sum_to_one_and_an_expert_that_is_never_chosen_has_none(mixture, x):
    with torch.no_grad():
        mixture.gate.weight[3] = 0
        hidden = torch.cat([x, torch.ones(len(x), 1)], 1)[:, :32]
        shares = router_share(mixture, hidden)
        assert float(shares.sum()) == pytest.approx(1)
        mixture.gate.weight[:] = 0
        mixture.gate.weight[:2] = 1.0
        positive = x.abs()
        assert router_share(mixture, positive)[2:].tolist() == [0, 0, 0]
        assert reap(mixture, positive)[2:].tolist() == [0, 0, 0]


def test_reconstruction_removes_the_expert_whose_absence_errs_least(mixture, x):
    with torch.no_grad():
        scores = reconstruction(mixture, x)
    first, *_ = scores.argsort().tolist()
    singles = {index: _error(mixture, x, [other for other in range(5) if other != index]) for index in range(5)}
    assert first == min(singles, key=singles.__getitem__)
    assert float(scores[first]) == pytest.approx(singles[first], rel=1e-3)
    assert int(torch.isinf(scores).sum()) == 2
    kept = sorted(scores.argsort().tolist()[2:])
    errors = {subset: _error(mixture, x, subset) for subset in combinations(range(5), 3)}
    assert errors[tuple(kept)] <= sorted(errors.values())[2]  # greedy removal is near the best of all ten sets


def test_padding_is_not_counted_and_tokens_are_limited():
    network, batches = expert_decoder(), tuple(next_tokens(12, 0).epoch(0, 4, 0))
    data = ScoringData(batches, TASK)
    counted = sum(int(batch.inputs["attention_mask"].sum()) for batch in batches)
    with torch.no_grad():
        inputs = mixture_inputs(network, data)
        few = mixture_inputs(network, data, tokens=10)
    assert {len(x) for x in inputs.values()} == {counted}
    assert {len(x) for x in few.values()} == {10}
    scores = ExpertScoring(data, "router_share").scores(network)
    name = next(iter(scores))
    with torch.no_grad():
        torch.testing.assert_close(scores[name], router_share(mixtures(network)[name], inputs[name]))
