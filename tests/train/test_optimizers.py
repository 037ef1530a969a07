import math

import pytest
import torch

from compress.train.optimizers import build_optimizer, lr_factor, parameter_groups
from tests.train.toy_training import conv_net


@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.5])
def test_onecycle_equals_that_of_torch(warmup):
    total = 40
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total, pct_start=warmup, cycle_momentum=False)
    for step in range(total):
        assert lr_factor(step, total, kind="onecycle", warmup=warmup) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        if step + 1 < total:
            theirs.step()


@pytest.mark.parametrize("kind", ["cosine", "onecycle", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("total", [1, 2, 17, 500])
def test_factors_rise_to_the_peak_and_never_above(kind, warmup, total):
    factors = [lr_factor(step, total, kind=kind, warmup=warmup) for step in range(total + 3)]
    assert all(0 < value <= 1 for value in factors[:-3] if kind != "cosine" or value)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    if total > 20:
        assert max(factors) == pytest.approx(1.0, abs=1e-2)
        assert top <= math.ceil(warmup * total)


def test_cosine_ends_near_nothing_and_constant_at_the_peak():
    assert lr_factor(99, 100, kind="cosine", warmup=0.1) < 1e-3
    assert lr_factor(99, 100, kind="constant", warmup=0.1) == 1.0


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_norms_do_not_decay(name):
    module = conv_net()
    module[0].weight.requires_grad_(False)
    groups = parameter_groups(module, 0.1)
    assert {group["weight_decay"]: sorted(p.ndim for p in group["params"]) for group in groups} == {0.1: [2], 0.0: [1, 1, 1, 1]}
    before = {key: value.detach().clone() for key, value in module.named_parameters()}
    optimizer = build_optimizer(name, module, lr=0.1, weight_decay=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {key for key, value in module.named_parameters() if not torch.equal(value, before[key])}
    assert changed == {"6.weight"}
