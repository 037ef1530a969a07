import pytest
import torch
from torch import nn

from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, snip, synflow
from compress.prune.criteria.synflow import prune_iteratively
from compress.prune.unstructured.weights import UnstructuredPruner, count_zeros, prunable


def _material(data, task, net, count=2, **fields):
    batches = [batch for _, batch in zip(range(count), data.train.ordered(8), strict=False)]
    return ScoringData(batches, task, prunable=tuple(prunable(net)), **fields)


def _deep(layers=6, width=24):
    torch.manual_seed(0)
    inner = [part for _ in range(layers) for part in (nn.Linear(width, width, bias=False), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(192, width, bias=False), nn.ReLU(), *inner, nn.Linear(width, 4)).eval()


def test_synflow_scores_the_product_of_paths(spec):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5, bias=False), nn.ReLU(), nn.Linear(5, 4, bias=False)).double().eval()
    a, b = (net[place].weight.detach().abs().clone() for place in (1, 3))
    found = prune_iteratively(
        net, (torch.ones(1, *spec.shape, dtype=torch.float64),), 0.5, ("1.weight", "3.weight"), iterations=1
    )
    torch.testing.assert_close(found["1.weight"], a * b.sum(0)[:, None])
    torch.testing.assert_close(found["3.weight"], b * a.sum(1)[None])


def test_synflow_does_not_collapse_where_one_shot_scores_do(data, task, spec):
    net = _deep()
    counts = {}
    for name, method in (("synflow", synflow), ("snip", snip)):
        scorer = method()
        scorer.collect(net, _material(data, task, net, removed=0.98))
        pruner = UnstructuredPruner(net, spec, measure="sparsity", ranking="global", limits=Constraints(max_ratio=0.9999))
        made = pruner.prune(net, 0.98, scorer).module
        counts[name] = [n - zero for zero, n in count_zeros(made).values()]
        assert sum(counts[name]) == pytest.approx(0.02 * sum(p.numel() for p in prunable(net).values()), abs=1)
    assert min(counts["synflow"]) >= 2 > min(counts["snip"])


@pytest.mark.parametrize("removed", [0.99, 0.999])
def test_synflow_goes_on_when_a_branch_beside_a_residual_is_left_without_flow(removed, residual, data, task):
    scorer = synflow()
    scorer.collect(residual, _material(data, task, residual, removed=removed))
    scores = {name: scorer.weights(name, p) for name, p in prunable(residual).items()}
    assert all(bool(torch.isfinite(s).all()) for s in scores.values())
    assert all(bool((scores[name] > 0).any()) for name in ("stem.0.weight", "head.weight"))


def test_synflow_says_when_nothing_flows(data, task, spec):
    from compress.core.errors import ModelError

    net = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 4)).eval()
    with pytest.raises(ModelError, match="use 'snip' or 'grasp'"):
        synflow().collect(net, _material(data, task, net, removed=0.5))
