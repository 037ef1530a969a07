import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude, random
from compress.prune.unstructured.n_m import NMPruner, keep_mask
from compress.prune.unstructured.weights import prunable


def _groups(p, m):
    return p.detach().movedim(1, -1).reshape(-1, p.shape[1] // m, m)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 4)])
@pytest.mark.parametrize("shape", [(3, 16), (5, 8, 3, 3)])
def test_each_group_along_the_input_keeps_its_n_largest(n, m, shape):
    s = torch.rand(shape)
    mask = keep_mask(s, n, m)
    for scores, stays in zip(_groups(s, m).reshape(-1, m).tolist(), _groups(mask, m).reshape(-1, m).tolist(), strict=True):
        assert sum(stays) == n
        assert {x for x, stay in zip(scores, stays, strict=True) if stay} == set(sorted(scores)[-n:])


def test_a_part_of_the_pattern_takes_the_lowest_of_what_goes_in_the_end():
    s = torch.rand(6, 8)
    whole, half = keep_mask(s, 2, 4), keep_mask(s, 2, 4, 0.5)
    assert int((~half).sum()) == int((~whole).sum()) // 2
    assert (whole | ~half).equal(torch.ones_like(whole)) is False or not (~half & whole).any()
    assert s[~half].max() <= s[~whole & half].min()


def _cut(net, spec, pattern="2:4", fraction=0.5, importance=None, **limits):
    pruner = NMPruner(net, spec, limits=Constraints(**{"max_ratio": 1.0, **limits}), pattern=pattern)
    return pruner, pruner.prune(net, fraction, importance or magnitude())


@pytest.mark.parametrize(("pattern", "m"), [("2:4", 4), ("4:8", 8)])
def test_every_layer_that_divides_has_the_pattern_and_the_others_a_reason(residual, spec, pattern, m):
    pruner, cut = _cut(residual, spec, pattern)
    reasons = {fact.subject: render(fact) for fact in pruner.skipped}
    assert set(reasons) == {"stem.0.weight", "depth.0.weight"}
    assert f"3 inputs for each output do not divide into groups of {m}" in reasons["stem.0.weight"]
    for name, p in prunable(cut.module).items():
        zeros = (_groups(p, m) == 0).sum(-1) if name not in reasons else (p == 0).sum()
        assert bool((zeros == (m // 2 if name not in reasons else 0)).all())


def test_zeros_of_an_earlier_cut_stay_and_masks_survive_training(residual, spec):
    pruner, first = _cut(residual, spec, fraction=0.25)
    second = pruner.prune(first.module, 0.5, random(3))
    for name, p in prunable(first.module).items():
        assert (prunable(second.module)[name][p == 0] == 0).all()
    optimizer = torch.optim.SGD(second.module.parameters(), lr=0.1)
    second.module(torch.randn(4, *spec.shape)).square().mean().backward()
    optimizer.step()
    second.after_step()
    assert bool(((_groups(second.module.expand[0].weight, 4) == 0).sum(-1) == 2).all())


def test_a_network_without_a_layer_that_divides_is_refused_with_the_reason(spec):
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 36, 4))
    with pytest.raises(ModelError, match=r"no layer of this network fits pattern 2:4.*3 inputs"):
        _cut(net[:1], spec)
    with pytest.raises(ModelError, match="protected"):
        _cut(net, spec, protect=("*",))
