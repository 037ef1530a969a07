"""Gradient matching against a reference in NumPy and finite differences."""

import numpy as np
import pytest
import torch

from compress.dataset_distillation.gradient_matching import gradient_distance, weight_gradients
from tests.dataset_distillation.toy_network import rand, small


def test_the_gradient_distance_is_one_minus_the_cosine_of_every_unit():
    a, b = [rand(4, 3, 2, 2), rand(4), rand(5, 7, seed=1)], [rand(4, 3, 2, 2, seed=2), rand(4, seed=3), rand(5, 7, seed=4)]
    expected = 0.0
    for x, y in ((a[0], b[0]), (a[2], b[2])):
        for u, v in zip(x.reshape(len(x), -1).numpy(), y.reshape(len(y), -1).numpy(), strict=True):
            expected += 1 - u @ v / np.sqrt((u @ u) * (v @ v))
    assert float(gradient_distance(a, b)) == pytest.approx(expected, rel=1e-9)
    assert float(gradient_distance(a, [3.0 * x for x in a])) == pytest.approx(0.0, abs=1e-9)
    assert float(gradient_distance(a, [-x for x in a])) == pytest.approx(2 * 9)


def test_gradients_can_be_differentiated_again_down_to_the_pixels():
    network, x, y = small(), rand(6, 1, 8, 8).requires_grad_(), torch.tensor([0, 1, 2, 0, 1, 2])
    goal = [g.detach() for g in weight_gradients(network, rand(6, 1, 8, 8, seed=9), y)]
    with torch.no_grad():
        plain = weight_gradients
    loss = gradient_distance(plain(network, x, y, keep_graph=True), goal)
    (slope,) = torch.autograd.grad(loss, x)
    step = 1e-6 * rand(6, 1, 8, 8, seed=5)
    moved = gradient_distance(weight_gradients(network, x.detach() + step, y), goal) - gradient_distance(
        weight_gradients(network, x.detach() - step, y), goal
    )
    assert float(moved) == pytest.approx(2 * float((slope * step).sum()), rel=1e-4)
