import numpy as np
import pytest

from compress.quantize.ptq import gptq
from compress.quantize.ptq.quantized_weight import int_range, weight_scales

BITS = 4


@pytest.fixture(params=[(1, 5, 300), (6, 1, 9)], ids=["a layer wider than a block", "depthwise"])
def layer(request):
    """Weights, steps and curvature, with inputs that depend on each other."""
    groups, outputs, inputs = request.param
    random = np.random.default_rng(3)
    w = random.normal(size=(groups, outputs, inputs)).astype(np.float32)
    x = random.normal(size=(groups, 4 * inputs, inputs)) @ random.normal(size=(groups, inputs, inputs))
    curvature = gptq.DampedHessian((x.transpose(0, 2, 1) @ x / (4 * inputs)).astype(np.float32))
    return w, weight_scales(w, BITS, per_channel=True, search=False), curvature


def damped(second):
    """H + a I, float64."""
    mean = np.trace(second, axis1=1, axis2=2) / second.shape[1]
    return second.astype(np.float64) + gptq.DAMPING * mean[:, None, None] * np.eye(second.shape[1])


def brute(w, s, second):
    """Optimal brain quantization in given order: after each column the best others, by a fresh inverse of what is left."""
    q, left = np.zeros(w.shape), w.astype(np.float64)
    for group, h in enumerate(damped(second)):
        for i in range(len(h)):
            q[group, :, i] = np.clip(np.round(left[group, :, i] / s[group]), *int_range(BITS))
            error = left[group, :, i] - s[group] * q[group, :, i]
            if i + 1 < len(h):
                # minimum of (δ_i, δ_rest) H (δ_i, δ_rest)ᵀ over δ_rest
                left[group, :, i + 1 :] += np.outer(error, np.linalg.solve(h[i + 1 :, i + 1 :], h[i + 1 :, i]))
    return q


def test_columns_are_those_of_solving_for_all_that_are_left(layer):
    w, s, curvature = layer
    q, _ = gptq._round_columns(w, s, curvature.upper, BITS)
    assert (q == brute(w, s, curvature.hessian)).mean() > 0.995  # ties and float32


def test_the_cost_is_the_quadratic_form(layer):
    w, s, curvature = layer
    q, cost = gptq._round_columns(w, s, curvature.upper, BITS)
    delta = w - s[..., None] * q.astype(np.float64)
    np.testing.assert_allclose(cost, np.einsum("gki,gij,gkj->gk", delta, damped(curvature.hessian), delta), rtol=2e-3)


@pytest.mark.parametrize("per_channel", [True, False])
def test_steps_are_those_of_least_cost_among_all_parts(layer, per_channel):
    w, s, curvature = layer
    costs = np.stack([gptq._round_columns(w, np.float32(part) * s, curvature.upper, BITS)[1] for part in gptq.FRACTIONS])
    best = costs.argmin(0) if per_channel else np.full(s.shape, costs.sum((1, 2)).argmin())
    result = gptq.best_scale(s, curvature, BITS, target=w, per_channel=per_channel)
    np.testing.assert_allclose(result, s * np.asarray(gptq.FRACTIONS, np.float32)[best])


def test_an_input_that_is_always_zero_does_no_harm(layer):
    w, s, curvature = layer
    second = curvature.hessian.copy()
    second[:, 0] = second[:, :, 0] = 0.0
    q = gptq.gptq(w, s, gptq.DampedHessian(second), BITS)
    assert np.isfinite(q).all()
    silent = gptq.gptq(w, s, gptq.DampedHessian(np.zeros_like(second)), BITS)
    np.testing.assert_array_equal(silent, np.clip(np.round(w / s[..., None]), *int_range(BITS)))
