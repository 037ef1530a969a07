import math

import numpy as np
import pytest
import torch

from compress.train.curriculum.sample_weighting import LearnedTemperature, entropy_temperature, sample_weights


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_hard_samples_weigh_in_proportion_to_how_hard_they_are():
    z_s, z_t, y = draw(5, 3), draw(5, 3, seed=1), torch.tensor([0, 1, 2, -100, 1])
    p_s, p_t = (z.double().softmax(1).numpy() for z in (z_s, z_t))
    expected = {
        "teacher_error": [-math.log(p_t[n, y[n]]) if y[n] >= 0 else np.nan for n in range(5)],
        "student_loss": [-math.log(p_s[n, y[n]]) if y[n] >= 0 else np.nan for n in range(5)],
        "disagreement": [(p_t[n] * np.log(p_t[n] / p_s[n])).sum() for n in range(5)],
    }
    for how, score in expected.items():
        full = np.where(np.isnan(score), np.nanmean(score), score)
        np.testing.assert_allclose(sample_weights(z_s, z_t, y, how), full / full.mean(), rtol=1e-5, atol=1e-5)
    assert torch.equal(sample_weights(z_s, None, y, "disagreement"), torch.ones(5))


def test_the_temperature_follows_how_sure_the_teacher_is():
    z = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [1.0, 0.0, -1.0]])
    p = z[2].double().softmax(0).numpy()
    sure = 1 + (p * np.log(p)).sum() / math.log(3)
    result = entropy_temperature(z, lowest=1.0, highest=5.0)
    torch.testing.assert_close(result, torch.tensor([1.0, 5.0, 1 + 4 * float(sure)]), atol=1e-5, rtol=1e-5)


def test_the_learned_temperature_climbs_against_the_student():
    temperature = LearnedTemperature(1.0, 9.0)
    assert float(temperature(0.3).detach()) == pytest.approx(5.0)
    temperature(0.0).backward()
    assert float(temperature.theta.grad) == 0.0
    temperature.theta.grad = None
    temperature(0.125).backward()
    assert float(temperature.theta.grad) == pytest.approx(-0.5 * 8 * 0.25)  # half of the way: λ = ½, σ' = ¼
    temperature.theta.grad = None
    temperature(0.5).backward()
    assert float(temperature.theta.grad) == pytest.approx(-8 * 0.25)
