"""DeepInversion: statistics against NumPy, total variation, hooks, and networks that cannot be inverted."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import CompressError
from compress.dataset_distillation.deep_inversion import bn_statistics_loss, capture_bn_losses, find_batchnorms, total_variation
from tests.dataset_distillation.toy_network import rand


def test_what_a_batch_norm_finds_unusual():
    x = rand(6, 3, 4, 4)
    values = x.numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    mean, variance = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 0.5])
    expected = math.dist(values.mean(1), mean) + math.dist(values.var(1), variance)
    result = bn_statistics_loss(x, torch.from_numpy(mean), torch.from_numpy(variance))
    assert float(result) == pytest.approx(expected, rel=1e-9)
    usual = bn_statistics_loss(x, torch.from_numpy(values.mean(1)), torch.from_numpy(values.var(1)))
    assert float(usual) == pytest.approx(0.0, abs=1e-9)


def test_total_variation_sees_edges_only():
    assert float(total_variation(torch.ones(2, 3, 5, 5))) == 0.0
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0, 0] = 3.0
    assert float(total_variation(x)) == pytest.approx(3.0 * 3)


def test_batch_norms_are_watched_while_the_block_lasts():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    network(torch.randn(8, 3, 6, 6))
    network.eval()
    with capture_bn_losses(find_batchnorms(network)) as records:
        network(torch.randn(2, 3, 6, 6))
        assert len(records) == 1
    network(torch.randn(2, 3, 6, 6))
    assert len(records) == 1
    assert not network[1]._forward_hooks


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "has no batch norm that keeps them; use a teacher with"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), "has no batch norm that keeps them"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "have not seen a batch; train it first"),
    ],
)
def test_a_network_that_cannot_be_inverted_is_refused(network, message):
    with pytest.raises(CompressError, match=message):
        find_batchnorms(network)
