"""Herding follows the mean of the features."""

import torch

from compress.dataset_distillation.coreset import herding
from tests.dataset_distillation.toy_network import rand


def test_herding_follows_the_mean_better_than_chance():
    f = rand(200, 8)
    selection = herding(f, 10)
    assert len(set(selection)) == 10
    assert selection[0] == int((f - f.mean(0)).square().sum(1).argmin())
    away = float((f[selection].mean(0) - f.mean(0)).norm())
    draw = torch.Generator().manual_seed(0)
    chance = [float((f[torch.randperm(200, generator=draw)[:10]].mean(0) - f.mean(0)).norm()) for _ in range(50)]
    assert away < 0.3 * sum(chance) / len(chance)
    assert sorted(herding(f[:10], 10)) == list(range(10))
