"""Trajectory matching: values at start and goal, and the rollout against torch.optim.SGD."""

import pytest
import torch
from torch import nn

from compress.dataset_distillation.trajectory_matching import mtt_loss, student_rollout, unflatten_weights
from tests.dataset_distillation.toy_network import rand, small


def test_what_a_student_missed_is_0_at_the_goal_and_1_where_it_started():
    start, goal = rand(20), rand(20, seed=1)
    assert float(mtt_loss(goal, start, goal)) == 0.0
    assert float(mtt_loss(start, start, goal)) == pytest.approx(1.0)
    assert float(mtt_loss((start + goal) / 2, start, goal)) == pytest.approx(0.25)


def test_a_walk_is_plain_gradient_descent_and_differentiable_in_images_and_rate():
    network, x, y = small(), rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    theta = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    assert all(torch.equal(p, q) for p, q in zip(unflatten_weights(network, theta).values(), network.parameters(), strict=True))
    images, lr = x.clone().requires_grad_(), torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    theta_after = student_rollout(network, theta.clone().requires_grad_(), [(images, y)] * 3, lr)
    assert all(bool(g.abs().sum() > 0) for g in torch.autograd.grad(theta_after.sum(), (images, lr)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    trained = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    assert torch.allclose(theta_after, trained, atol=1e-12)
