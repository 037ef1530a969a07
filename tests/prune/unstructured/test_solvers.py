"""The rules against their definitions: OBS with explicit inverses, Wanda by sorting, and the order of their errors."""

import numpy as np
import pytest
import torch

from compress.prune.unstructured.solvers import Removal, solve_by_magnitude, solve_sparsegpt, solve_wanda


def _inputs(dims, rows=400, seed=0):
    """Correlated inputs of different size."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(rows, dims, generator=generator) @ torch.randn(dims, dims, generator=generator) / dims**0.5
    return mixed * torch.logspace(-1, 1, dims)[torch.randperm(dims, generator=generator)]


def _moments(x):
    return x.T @ x / len(x)


def _weight(rows, dims, seed=1):
    return torch.randn(rows, dims, generator=torch.Generator().manual_seed(seed))


def _obs(w, h, fraction, block=128, pattern=None):
    """SparseGPT by the inverses of the remaining part of the Hessian at each input, in float64."""
    w, h = w.double().numpy().copy(), h.double().numpy().copy()
    h += 0.01 * np.diag(h).mean() * np.eye(len(h))
    inverse = [np.linalg.inv(h[i:, i:]) for i in range(len(h))]
    least = np.array([part[0, 0] for part in inverse])
    removed, done = np.zeros(w.shape, bool), 0
    for i in range(len(h)):
        width = pattern[1] if pattern else block
        if i % width == 0:
            scores = w[:, i : i + width] ** 2 / least[i : i + width]
            if pattern:
                for row, order in enumerate(np.argsort(scores, axis=1)):
                    removed[row, i + order[: pattern[1] - pattern[0]]] = True
            else:
                count = round(fraction * w.shape[0] * min(i + width, w.shape[1])) - done
                rows, columns = np.unravel_index(np.argsort(scores, axis=None)[:count], scores.shape)
                removed[rows, i + columns] = True
                done += count
        error = np.where(removed[:, i], w[:, i], 0) / inverse[i][0, 0]
        w[:, i:] -= error[:, None] * inverse[i][0]
    return np.where(removed, 0, w), ~removed


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_sparsegpt_is_the_optimal_brain_surgeon_input_by_input(pattern):
    w, h = _weight(4, 160), _moments(_inputs(160))
    found, kept = solve_sparsegpt(w, h, Removal(0.5, pattern))
    expected, mask = _obs(w, h, 0.5, pattern=pattern)
    assert np.array_equal(kept.numpy(), mask)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)
    assert int((~kept).sum()) == 320
    assert not found[~kept].any()


def test_wanda_removes_the_lowest_of_each_output_and_changes_nothing_else():
    w, x = _weight(5, 24), _inputs(24)
    found, kept = solve_wanda(w, _moments(x), Removal(0.25))
    scores = w.abs() * x.norm(dim=0)
    for row, stays in enumerate(kept):
        assert {*(~stays).nonzero().flatten().tolist()} == {*scores[row].argsort()[:6].tolist()}
    assert found.equal(torch.where(kept, w, torch.zeros_like(w)))
    _, pattern = solve_wanda(w, _moments(x), Removal(0.5, (2, 4)))
    assert pattern.view(5, 6, 4).sum(2).eq(2).all()
    assert (
        scores.view(5, 6, 4).masked_fill(~pattern.view(5, 6, 4), 1e9).amin(2) >= scores.view(5, 6, 4).sort(2).values[..., 2]
    ).all()


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_the_error_of_the_outputs_falls_from_magnitude_to_wanda_to_sparsegpt(pattern):
    w, x = _weight(16, 64), _inputs(64)
    removal, h = Removal(0.5, pattern), _moments(x)
    by_magnitude = w * solve_by_magnitude(w, removal)
    errors = [
        float(((w - other) @ x.T).square().sum())
        for other in (by_magnitude, solve_wanda(w, h, removal)[0], solve_sparsegpt(w, h, removal)[0])
    ]
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 1.1 * errors[2]


@pytest.mark.parametrize("solve", [solve_wanda, solve_sparsegpt])
def test_earlier_zeros_stay_and_unused_inputs_cost_nothing(solve):
    w, x = _weight(6, 32), _inputs(32)
    x[:, [3, 17]] = 0
    first, kept = solve(w, _moments(x), Removal(0.25))
    second, still = solve(first, _moments(x), Removal(0.5))
    assert not (still & ~kept).any()
    assert not second[~kept].any()
    assert int((~still).sum()) == 96
    assert second.isfinite().all()


def test_magnitude_is_within_the_layer_for_any_shape():
    w = torch.arange(1.0, 33).view(2, 4, 2, 2)
    assert solve_by_magnitude(w, Removal(0.25)).flatten().tolist() == [False] * 8 + [True] * 24
    groups = solve_by_magnitude(w, Removal(0.5, (2, 4)))
    assert groups.sum(1).eq(2).all()
    assert groups[:, 2:].all()
