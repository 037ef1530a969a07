"""The formulas against references in NumPy, written differently; and that descending them does what the papers promise."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import CompressError
from compress.dataset_distillation.convnet import ConvNet
from compress.dataset_distillation.coreset import herd
from compress.dataset_distillation.deep_inversion import norms_of, unusual, variation, watched
from compress.dataset_distillation.distribution_matching import discrepancy
from compress.dataset_distillation.gradient_matching import distance, gradients
from compress.dataset_distillation.trajectory_matching import missed, unflattened, walked


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def small(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(1, 3, (8, 8), width=4, depth=2).double()


def test_the_gradient_distance_is_one_minus_the_cosine_of_every_unit():
    a, b = [rand(4, 3, 2, 2), rand(4), rand(5, 7, seed=1)], [rand(4, 3, 2, 2, seed=2), rand(4, seed=3), rand(5, 7, seed=4)]
    expected = 0.0
    for x, y in ((a[0], b[0]), (a[2], b[2])):
        for u, v in zip(x.reshape(len(x), -1).numpy(), y.reshape(len(y), -1).numpy(), strict=True):
            expected += 1 - u @ v / np.sqrt((u @ u) * (v @ v))
    assert float(distance(a, b)) == pytest.approx(expected, rel=1e-9)
    assert float(distance(a, [3.0 * x for x in a])) == pytest.approx(0.0, abs=1e-9)
    assert float(distance(a, [-x for x in a])) == pytest.approx(2 * 9)


def test_gradients_can_be_differentiated_again_down_to_the_pixels():
    network, x, y = small(), rand(6, 1, 8, 8).requires_grad_(), torch.tensor([0, 1, 2, 0, 1, 2])
    goal = [g.detach() for g in gradients(network, rand(6, 1, 8, 8, seed=9), y)]
    with torch.no_grad():
        plain = gradients
    loss = distance(plain(network, x, y, keep=True), goal)
    (slope,) = torch.autograd.grad(loss, x)
    step = 1e-6 * rand(6, 1, 8, 8, seed=5)
    moved = distance(gradients(network, x.detach() + step, y), goal) - distance(gradients(network, x.detach() - step, y), goal)
    assert float(moved) == pytest.approx(2 * float((slope * step).sum()), rel=1e-4)


def test_the_discrepancy_is_the_squared_distance_of_means():
    f, g = rand(5, 7), rand(9, 7, seed=1)
    expected = sum((f.numpy()[:, d].sum() / 5 - g.numpy()[:, d].sum() / 9) ** 2 for d in range(7))
    assert float(discrepancy(f, g)) == pytest.approx(expected, rel=1e-12)
    assert float(discrepancy(f, f.flip(0))) == pytest.approx(0.0, abs=1e-24)


def test_what_a_student_missed_is_0_at_the_goal_and_1_where_it_started():
    start, goal = rand(20), rand(20, seed=1)
    assert float(missed(goal, start, goal)) == 0.0
    assert float(missed(start, start, goal)) == pytest.approx(1.0)
    assert float(missed((start + goal) / 2, start, goal)) == pytest.approx(0.25)


def test_a_walk_is_plain_gradient_descent_and_differentiable_in_images_and_rate():
    network, x, y = small(), rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    theta = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    assert all(torch.equal(p, q) for p, q in zip(unflattened(network, theta).values(), network.parameters(), strict=True))
    images, lr = x.clone().requires_grad_(), torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    walked_to = walked(network, theta.clone().requires_grad_(), [(images, y)] * 3, lr)
    assert all(bool(g.abs().sum() > 0) for g in torch.autograd.grad(walked_to.sum(), (images, lr)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    trained = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    assert torch.allclose(walked_to, trained, atol=1e-12)


def test_what_a_batch_norm_finds_unusual():
    x = rand(6, 3, 4, 4)
    values = x.numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    mean, variance = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 0.5])
    expected = math.dist(values.mean(1), mean) + math.dist(values.var(1), variance)
    found = unusual(x, torch.from_numpy(mean), torch.from_numpy(variance))
    assert float(found) == pytest.approx(expected, rel=1e-9)
    usual = unusual(x, torch.from_numpy(values.mean(1)), torch.from_numpy(values.var(1)))
    assert float(usual) == pytest.approx(0.0, abs=1e-9)


def test_total_variation_sees_edges_only():
    assert float(variation(torch.ones(2, 3, 5, 5))) == 0.0
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0, 0] = 3.0
    assert float(variation(x)) == pytest.approx(3.0 * 3)


def test_batch_norms_are_watched_while_the_block_lasts():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    network(torch.randn(8, 3, 6, 6))
    network.eval()
    with watched(norms_of(network)) as seen:
        network(torch.randn(2, 3, 6, 6))
        assert len(seen) == 1
    network(torch.randn(2, 3, 6, 6))
    assert len(seen) == 1
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
        norms_of(network)


def test_herding_follows_the_mean_better_than_chance():
    f = rand(200, 8)
    chosen = herd(f, 10)
    assert len(set(chosen)) == 10
    assert chosen[0] == int((f - f.mean(0)).square().sum(1).argmin())
    away = float((f[chosen].mean(0) - f.mean(0)).norm())
    draw = torch.Generator().manual_seed(0)
    chance = [float((f[torch.randperm(200, generator=draw)[:10]].mean(0) - f.mean(0)).norm()) for _ in range(50)]
    assert away < 0.3 * sum(chance) / len(chance)
    assert sorted(herd(f[:10], 10)) == list(range(10))
