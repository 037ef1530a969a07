import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.prune.schedule_settings import SparseTraining
from compress.prune.sparse_training.greg import masked_l2
from compress.prune.sparse_training.penalties import build_penalty, group_lasso, l1


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
    assert float(masked_l2(tensors, masks, 0.3)) == pytest.approx(0.15 * squares, rel=1e-5)


def test_group_lasso_has_a_gradient_even_at_zero():
    w = torch.zeros(2, 3, requires_grad=True)
    with torch.no_grad():
        w[1] = 3.0
    group_lasso([w]).backward()
    assert w.grad[0].tolist() == [0.0] * 3
    assert float(w.grad[1].norm()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["slimming", "l1", "group_lasso"])
def test_protected_layers_are_not_penalised(kind, residual):
    settings = SparseTraining(kind=kind)
    free = build_penalty(settings, residual, frozenset()).forward(None)
    spared = build_penalty(settings, residual, frozenset({"stem.0", "stem.1"})).forward(None)
    part = {"slimming": residual.stem[1].weight.detach().abs().sum(), "l1": residual.stem[0].weight.detach().abs().sum()}
    part["group_lasso"] = residual.stem[0].weight.detach().flatten(1).norm(dim=1).sum()
    assert float((free - spared).detach()) == pytest.approx(settings.lam * float(part[kind]), rel=1e-3)


def test_slimming_without_batch_norm_is_refused():
    with pytest.raises(ModelError, match="acts on batch norms with a scale"):
        build_penalty(SparseTraining(kind="slimming"), nn.Linear(3, 3), frozenset())
