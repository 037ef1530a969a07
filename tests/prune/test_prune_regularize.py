import numpy as np
import pytest
import torch
from torch import nn

from compress.errors import ModelError
from compress.prune.channel import Channels
from compress.prune.cut import Limits
from compress.prune.importance import l1 as l1_norm
from compress.prune.importance import magnitude
from compress.prune.picked import picked
from compress.prune.regularize import Growth, group_lasso, growing, l1, penalty_of, strength_at
from compress.prune.settings import SparseTraining
from compress.prune.weight import Weights, prunable


def _arrays(*shapes):
    torch.manual_seed(0)
    return [torch.randn(shape) for shape in shapes]


def test_the_penalties_are_those_of_plain_numpy():
    tensors = _arrays((4, 3, 3, 3), (5, 4))
    arrays = [t.numpy().astype(np.float64) for t in tensors]
    assert float(l1(tensors)) == pytest.approx(sum(np.abs(a).sum() for a in arrays), rel=1e-5)
    rows = sum(np.sqrt((row**2).sum()) for a in arrays for row in a)
    assert float(group_lasso(tensors)) == pytest.approx(rows, rel=1e-5)
    masks = [t > 0 for t in tensors]
    squares = sum((a[m.numpy()] ** 2).sum() for a, m in zip(arrays, masks, strict=True))
    assert float(growing(tensors, masks, 0.3)) == pytest.approx(0.15 * squares, rel=1e-5)


def test_group_lasso_has_a_gradient_even_at_zero():
    w = torch.zeros(2, 3, requires_grad=True)
    with torch.no_grad():
        w[1] = 3.0
    group_lasso([w]).backward()
    assert w.grad[0].tolist() == [0.0] * 3
    assert float(w.grad[1].norm()) == pytest.approx(1.0)


def test_growth_goes_up_in_steps_to_its_ceiling():
    assert [strength_at(t, delta=0.1, every=5, ceiling=0.25) for t in (0, 4, 5, 14, 15, 900)] == pytest.approx(
        [0, 0, 0.1, 0.2, 0.25, 0.25]
    )


@pytest.mark.parametrize("kind", ["slimming", "l1", "group_lasso"])
def test_protected_layers_are_not_penalised(kind, residual):
    settings = SparseTraining(kind=kind)
    free = penalty_of(settings, residual, frozenset()).value(None)
    spared = penalty_of(settings, residual, frozenset({"stem.0", "stem.1"})).value(None)
    part = {"slimming": residual.stem[1].weight.detach().abs().sum(), "l1": residual.stem[0].weight.detach().abs().sum()}
    part["group_lasso"] = residual.stem[0].weight.detach().flatten(1).norm(dim=1).sum()
    assert float((free - spared).detach()) == pytest.approx(settings.lam * float(part[kind]), rel=1e-3)


def test_slimming_without_batch_norm_is_refused():
    with pytest.raises(ModelError, match="no unprotected batch norm"):
        penalty_of(SparseTraining(kind="slimming"), nn.Linear(3, 3), frozenset())


def test_what_channels_a_cut_would_take_is_told_before(residual, spec):
    pruner = Channels(residual, spec, measure="params", ranking="global", limits=Limits())
    gone = picked(pruner, residual, 0.6, magnitude())
    made = pruner.cut(residual, 0.6, magnitude()).module
    for name, part in residual.named_modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            mask, small = gone[f"{name}.weight"], made.get_submodule(name).weight
            kept = ~mask.flatten(1).any(1)
            assert torch.equal(mask.flatten(1).all(1), mask.flatten(1).any(1))
            assert int(kept.sum()) == small.shape[0]
            big = part.weight[kept]
            assert set(small.flatten(1).sum(1).tolist()) <= set(big.flatten(1).sum(1).tolist()) or small.shape[1] < big.shape[1]
    stem = ~gone["stem.0.weight"].flatten(1).any(1)
    assert torch.equal(made.get_submodule("stem.0").weight, residual.stem[0].weight[stem])


def test_what_weights_a_cut_would_take_is_told_before(residual, spec):
    pruner = Weights(residual, spec, measure="sparsity", ranking="global", limits=Limits(max_ratio=0.99))
    gone = picked(pruner, residual, 0.5, l1_norm())
    made = pruner.cut(residual, 0.5, l1_norm()).module
    assert all(torch.equal(gone[name], p == 0) for name, p in prunable(made).items())


def test_growing_draws_only_what_is_to_go_towards_zero(residual, spec):
    pruner = Channels(residual, spec, measure="params", ranking="global", limits=Limits())
    gone = picked(pruner, residual, 0.6, magnitude())
    growth = Growth(SparseTraining(kind="growing", strength=1.0, every=1, ceiling=5.0), gone, residual)
    before = {name: residual.get_parameter(name).detach().clone() for name in gone}
    optimizer = torch.optim.SGD(residual.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        growth.penalty().backward()
        optimizer.step()
        growth()
    for name, mask in gone.items():
        now = residual.get_parameter(name).detach()
        assert torch.equal(now[~mask], before[name][~mask])
        assert float(now[mask].abs().sum()) <= 0.2 * float(before[name][mask].abs().sum())
