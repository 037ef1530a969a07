"""Rounding of one layer against references computed in float64, written differently."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.quantize.ptq.adaround import adaround, output_error
from compress.quantize.ptq.gptq import DampedHessian, gptaq_target, gptq
from compress.quantize.ptq.input_statistics import LayerInputs
from compress.quantize.ptq.quantized_weight import int_range, round_to_nearest, weight_scales
from compress.quantize.ptq.round_weights import LayerRounding


@pytest.fixture(scope="module")
def layer_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    w = random.normal(size=(2, 6, 20)).astype(np.float32)
    x = random.normal(size=(2, 400, 20)) @ random.normal(size=(2, 20, 20)) + 0.5
    return w, x, (x.transpose(0, 2, 1) @ x / 400).astype(np.float32)


def learned(w, s, x, x_quantized, bits: int, *, iterations: int, b=None, activation=None) -> np.ndarray:
    inputs = LayerInputs(x, x_quantized, x.mean(1), x_quantized.mean(1))
    bias = np.zeros_like(s) if b is None else b
    return adaround(LayerRounding(w, s, bits, inputs, bias, activation, iterations))


def exact_error(q: np.ndarray, w: np.ndarray, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mean squared output error over the samples themselves, (G, K)."""
    return (((x @ (q * s[..., None].astype(np.float64) - w).transpose(0, 2, 1)) ** 2).mean(1))  # fmt: skip


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("rounding", ["adaround", "gptq"])
def test_learned_rounding_is_never_worse_than_nearest_and_much_better_together(layer_data, bits: int, rounding: str) -> None:
    w, x, second = layer_data
    s = weight_scales(w, bits, per_channel=True, search=False)
    plain = round_to_nearest(w, s, bits)
    q = (
        learned(w, s, x.astype(np.float32), x.astype(np.float32), bits, iterations=300)
        if rounding == "adaround"
        else gptq(w, s, DampedHessian(second), bits)
    )
    before, after = exact_error(plain, w, s, x), exact_error(q, w, s, x)
    np.testing.assert_allclose(output_error(q, w, s, second), after, rtol=1e-3)
    assert (after <= before * 1.001).all()
    assert after.sum() < 0.6 * before.sum()
    assert (q >= int_range(bits)[0]).all()
    assert (q <= int_range(bits)[1]).all()


def test_adaround_goes_up_or_down_and_nowhere_else(layer_data) -> None:
    w, x, _ = layer_data
    s, x = weight_scales(w, 4, per_channel=True, search=False), x.astype(np.float32)
    assert np.abs(learned(w, s, x, x, 4, iterations=50) - w / s[..., None]).max() <= 1.0


def test_adaround_is_the_same_every_time(layer_data) -> None:
    w, x, _ = layer_data
    s, x = weight_scales(w, 4, per_channel=True, search=False), x.astype(np.float32)
    np.testing.assert_array_equal(*(learned(w, s, x, x, 4, iterations=50) for _ in range(2)))


@pytest.mark.parametrize("rounding", ["adaround", "gptq"])
def test_learned_rounding_makes_up_for_what_came_before(layer_data, rounding: str) -> None:
    """With inputs that earlier layers changed, learning from both is better than learning from the changed ones alone."""
    w, x, _ = layer_data
    x = x.astype(np.float32)
    result = np.round(x) * np.float32(0.9)
    statistics = LayerInputs(x, result, x.mean(1), result.mean(1))
    s = weight_scales(w, 4, per_channel=True, search=False)
    if rounding == "adaround":
        blind, aware = (learned(w, s, variant, result, 4, iterations=300) for variant in (result, x))
    else:
        curvature = DampedHessian(statistics.hessian)
        blind, aware = (
            gptq(w, s, curvature, 4, target=variant) for variant in (w, gptaq_target(w, curvature, statistics.cross_moment))
        )
    before, after = (float(statistics.error(w, q * s[..., None]).sum()) for q in (blind, aware))
    assert after < 0.8 * before


def test_adaround_sees_what_the_activation_cuts() -> None:
    """Less error behind a ReLU when learned through it: a few hundredths, so over many rows."""
    errors = np.zeros(2)
    for seed in range(3):
        random = np.random.default_rng(seed)
        w = random.normal(size=(1, 96, 20)).astype(np.float32)
        x = (random.normal(size=(1, 1000, 20)) @ random.normal(size=(1, 20, 20)) + 0.5).astype(np.float32)
        s = weight_scales(w, 3, per_channel=True, search=False)
        b = np.full(s.shape, -15.0, np.float32)
        for place, activation in enumerate((None, torch.relu)):
            q = learned(w, s, x, x, 3, iterations=300, b=b, activation=activation)
            before, after = (np.maximum(x @ variant.transpose(0, 2, 1) + b[:, None], 0) for variant in (w, q * s[..., None]))
            errors[place] += float(np.square(before - after).sum())
    assert errors[1] < 0.99 * errors[0]


def test_weights_that_do_best_with_changed_inputs(layer_data) -> None:
    w, x, _ = layer_data
    x = x.astype(np.float32)
    statistics = LayerInputs(x, 2 * x, x.mean(1), 2 * x.mean(1))
    aim = gptaq_target(w, DampedHessian(statistics.hessian), statistics.cross_moment)
    assert statistics.error(w, aim).sum() < 0.01 * statistics.error(w, w).sum()
    np.testing.assert_array_equal(gptaq_target(w, DampedHessian(statistics.hessian), statistics.hessian), w)
