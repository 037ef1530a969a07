import copy
from itertools import permutations

import pytest
import torch
from torch import nn

from compress.prune.unstructured.channel_permutation import permute_channels, retained_magnitude, search_permutation
from compress.prune.unstructured.weights import prunable


def test_the_search_never_loses_and_finds_the_best_order_of_a_small_matrix():
    s = torch.rand(7, 8, generator=torch.Generator().manual_seed(1)).square()
    order = search_permutation(s, 2, 4)
    assert sorted(order.tolist()) == list(range(8))
    result = retained_magnitude(s[:, order], 2, 4)
    splits = {tuple(sorted(p[:4])) for p in permutations(range(8))}
    best = max(retained_magnitude(s[:, [*a, *(set(range(8)) - set(a))]], 2, 4) for a in splits)
    assert retained_magnitude(s, 2, 4) <= result <= best + 1e-6
    assert result >= best - 0.02 * best


@pytest.mark.parametrize("m", [4, 8])
def test_the_search_puts_strong_columns_apart(m):
    s = torch.ones(5, 4 * m) * 0.01
    s[:, :m] = 1.0
    order = search_permutation(s, m // 2, m)
    assert retained_magnitude(s, m // 2, m) < 0.6 * s.sum()
    assert retained_magnitude(s[:, order], m // 2, m) > 0.95 * s[:, :m].sum()


def test_reordering_changes_neither_outputs_nor_which_score_belongs_to_which_weight(residual, spec):
    work = copy.deepcopy(residual)
    for part in work.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean)
            nn.init.uniform_(part.weight)
    x = torch.randn(3, *spec.shape)
    before = work(x)
    scores = {name: p.detach().abs() for name, p in prunable(work).items() if p.shape[1] % 4 == 0}
    gain, moved, _ = permute_channels(work, spec, scores, 2, 4)
    assert gain > 0.01
    assert torch.allclose(work(x), before, atol=1e-5)
    assert all(torch.equal(moved[name], work.get_parameter(name).abs()) for name in moved)
    assert any(not torch.equal(moved[name], scores[name]) for name in moved)
