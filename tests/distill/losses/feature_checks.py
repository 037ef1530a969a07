"""Checks that all losses on features have in common."""

import numpy as np
import pytest
import torch

N = 5


def draw(*shape, seed=0):
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(value, expected):
    """A loss in float32 equals its reference in float64."""
    np.testing.assert_allclose(np.asarray(value), np.asarray(expected), rtol=1e-5, atol=1e-5)


def check_agreement(loss):
    """A student with the teacher's features has neither loss nor gradient."""
    t = draw(N, 3, 4, 4)
    s = t.clone().requires_grad_()
    value = loss(s, t)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-9)
    assert float(s.grad.abs().max()) < 1e-8
