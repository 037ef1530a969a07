"""Fake quantization against LSQ's formulas in float64 and against torch's own kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.quantize.qat.fake_quantize import FakeQuantize, fake_quantize


def lsq(x: np.ndarray, s: float, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, ∂/∂x and ∂/∂s of Esser et al. 2020, equations 1 to 3 and 5, element by element."""
    v = x / s
    value = np.clip(np.rint(v), low, high) * s
    of_s = np.where(v <= low, low, np.where(v >= high, high, -v + np.rint(v)))
    return value, ((v > low) & (v < high)).astype(float), of_s


@pytest.mark.parametrize(("low", "high"), [(-8, 7), (-127, 127), (0, 255), (-40, 215)])
def test_value_and_gradients_are_those_of_lsq(low: int, high: int) -> None:
    random = np.random.default_rng(0)
    given = random.normal(size=(6, 50)) * high
    x = torch.tensor(given, requires_grad=True)
    s = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(random.normal(size=(6, 50)))
    result = fake_quantize(x, s, low, high)
    (result * weight).sum().backward()
    value, of_x, of_s = lsq(given, 0.7, low, high)
    np.testing.assert_allclose(result.detach(), value, rtol=1e-12)
    np.testing.assert_allclose(x.grad, of_x * weight.numpy())
    np.testing.assert_allclose(s.grad, (of_s * weight.numpy()).sum(), rtol=1e-9)
    assert 0 < (of_x == 0).mean() < 1


def test_a_zero_point_is_a_shift_of_the_limits() -> None:
    """Against torch's kernel for learnable steps, which is written with the zero point, and counts the half step beyond a limit
    as inside, where LSQ does not."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2
    v = x / 0.011
    x = torch.where(((v > -93.6) & (v < -92.9)) | ((v > 161.9) & (v < 162.6)), 0.0, x).requires_grad_()
    s = torch.tensor([0.011], requires_grad=True)
    expected = torch._fake_quantize_learnable_per_tensor_affine(x, s, torch.tensor([93.0]), 0, 255, 1.0)
    wanted_grads = torch.autograd.grad(expected.square().sum(), (x, s))
    result = fake_quantize(x, s, -93, 255 - 93)
    grads = torch.autograd.grad(result.square().sum(), (x, s))
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(grads[0], wanted_grads[0])
    torch.testing.assert_close(grads[1], wanted_grads[1], rtol=1e-4, atol=1e-3)


def test_each_channel_has_its_own_step() -> None:
    s = torch.tensor([0.1, 1.0, 10.0])
    w = torch.randn(3, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    result = FakeQuantize(s, -7, 7, axis=0)(w)
    for channel in range(3):
        torch.testing.assert_close(result[channel], FakeQuantize(s[channel], -7, 7)(w[channel]))


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_a_step_of_the_optimizer_changes_steps_by_a_fraction_of_themselves(size: float) -> None:
    x = torch.randn(16, 40, generator=torch.Generator().manual_seed(0)) * size
    rounder = FakeQuantize(torch.tensor(0.02 * size), -8, 7)
    optimizer = torch.optim.Adam([rounder.theta], lr=0.1)
    (rounder(x) / size - x / size).square().sum().backward()
    optimizer.step()
    assert float(rounder.scale.detach() / (0.02 * size)) == pytest.approx(float(torch.tensor(0.1).exp()), rel=1e-3)
    assert float(rounder.scale.detach()) > 0


def test_a_learned_step_finds_the_least_error() -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    errors = {s: float((fake_quantize(x, torch.tensor(s), -8, 7) - x).square().mean()) for s in np.linspace(0.1, 0.8, 71)}
    rounder = FakeQuantize(torch.tensor(0.7), -8, 7)
    optimizer = torch.optim.Adam([rounder.theta], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        (rounder(x) - x).square().mean().backward()
        optimizer.step()
    assert float((rounder(x) - x).square().mean().detach()) <= min(errors.values()) * 1.05


def test_a_fixed_step_gets_no_gradient_and_the_gradient_of_a_learned_one_is_scaled() -> None:
    x = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    fixed, learned = (FakeQuantize(torch.tensor(0.1), -8, 7, batched=True, learned=variant) for variant in (False, True))
    learned(x).sum().backward()
    fixed(x.requires_grad_()).sum().backward()
    assert fixed.theta.grad is None
    s = torch.tensor(0.1, requires_grad=True)
    fake_quantize(x.detach(), s, -8, 7).sum().backward()
    assert float(learned.theta.grad) == pytest.approx(0.1 * float(s.grad) / np.sqrt(50 * 7), rel=1e-4)
