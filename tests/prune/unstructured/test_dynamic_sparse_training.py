import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.prune.unstructured.dynamic_sparse_training import DropGrow, DropGrowSchedule, drop_and_grow

EVERY_STEP = DropGrowSchedule(every=1, alpha=0.4, end=100)


def test_the_fraction_falls_along_a_cosine_and_ends():
    plan = DropGrowSchedule(every=10, alpha=0.3, end=75)
    assert plan.fraction(10) == pytest.approx(0.15 * (1 + math.cos(math.pi * 10 / 75)))
    assert [plan.fraction(t) for t in (0, 5, 75, 80)] == [0.0] * 4
    curve = plan.curve()
    assert curve.x == (10, 20, 30, 40, 50, 60, 70)
    assert list(curve.y) == sorted(curve.y, reverse=True)


def test_the_smallest_go_and_the_largest_gradients_come():
    w = torch.tensor([[5.0, -0.1, 0.0], [0.2, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    growth = torch.tensor([[9.0, 0.0, 1.0], [0.0, 3.0, 2.0]])
    expected = [[True, False, False], [False, True, True]]
    assert drop_and_grow(w, mask, growth, 2).tolist() == expected


def test_a_dropped_connection_may_come_back_at_once():
    w, mask = torch.tensor([1.0, 0.1, 0.0]), torch.tensor([True, True, False])
    assert drop_and_grow(w, mask, torch.tensor([0.0, 5.0, 1.0]), 1).tolist() == [True, True, False]


@given(n=st.integers(2, 40), active=st.floats(0.1, 1.0), fraction=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_every_layer_keeps_its_number_of_connections(n, active, fraction, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=generator)[: max(1, int(active * n))]] = True
    w, growth = torch.randn(n, generator=generator) * mask, torch.rand(n, generator=generator)
    count = int(fraction * int(mask.sum()))
    new = drop_and_grow(w, mask, growth, count)
    assert int(new.sum()) == int(mask.sum())
    weakest_kept = w.abs()[mask & new]
    dropped = w.abs()[mask & ~new]
    assert len(dropped) <= count
    assert not len(dropped) or not len(weakest_kept) or dropped.max() <= w.abs()[mask].sort().values[count - 1]


def _one_step(net, x, hook, optimizer):
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()
    hook()


@pytest.fixture
def sparse():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    masks = {name: torch.rand(net.get_parameter(name).shape) > 0.6 for name in ("0.weight", "2.weight")}
    with torch.no_grad():
        for name, mask in masks.items():
            net.get_parameter(name).masked_fill_(~mask, 0.0)
    return net, masks


def test_rigl_grows_where_the_dense_gradient_is_largest_and_new_ones_start_from_zero(sparse):
    net, masks = sparse
    x = torch.randn(16, 6)
    dense = copy.deepcopy(net)
    dense(x).square().mean().backward()
    hook = DropGrow(net, masks, "rigl", EVERY_STEP, seed=0)
    _one_step(net, x, hook, torch.optim.SGD(net.parameters(), lr=0.01))
    for name, old in masks.items():
        new, w = hook.masks[name], net.get_parameter(name)
        grown = new & ~old
        count = int(EVERY_STEP.fraction(1) * int(old.sum()))
        assert int(new.sum()) == int(old.sum())
        assert bool((w[~new] == 0).all())
        assert bool((w[grown] == 0).all())
        g = dense.get_parameter(name).grad.abs()
        candidates = g[~old | ~new]
        assert g[grown].min() >= candidates.sort(descending=True).values[: 2 * count].min()


def test_what_is_inactive_gathers_no_momentum_and_stays_zero_between_exchanges(sparse):
    net, masks = sparse
    hook = DropGrow(net, masks, "rigl", DropGrowSchedule(every=1000, alpha=0.3, end=2000), seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        _one_step(net, torch.randn(16, 6), hook, optimizer)
    for name, mask in masks.items():
        w = net.get_parameter(name)
        assert torch.equal(hook.masks[name], mask)
        assert bool((w[~mask] == 0).all())
        assert bool((optimizer.state[w]["momentum_buffer"][~mask] == 0).all())


def test_gradients_added_up_over_batches_are_all_seen(sparse):
    net, masks = sparse
    x = torch.randn(16, 6)
    hook = DropGrow(net, masks, "rigl", EVERY_STEP, seed=0)
    for part in x.split(8):
        (net(part).square().mean() / 2).backward()
    twice = {name: result.clone() for name, result in hook.dense.items()}
    hook.dense.clear()
    net.zero_grad()
    net(x).square().mean().backward()
    for name, mask in masks.items():
        torch.testing.assert_close(twice[name], hook.dense[name])
        assert bool((net.get_parameter(name).grad[~mask] == 0).all())


def test_set_grows_at_random_by_seed_and_ends_where_it_is_told(sparse):
    net, masks = sparse
    x = torch.randn(16, 6)

    def masks_after(seed, plan, steps=3):
        own = copy.deepcopy(net)
        hook = DropGrow(own, masks, "set", plan, seed=seed)
        optimizer = torch.optim.SGD(own.parameters(), lr=0.01)
        for _ in range(steps):
            _one_step(own, x, hook, optimizer)
        return hook.masks

    same = [masks_after(seed, EVERY_STEP) for seed in (0, 0, 1)]
    assert all(torch.equal(same[0][name], same[1][name]) for name in masks)
    assert not all(torch.equal(same[0][name], same[2][name]) for name in masks)
    ended = masks_after(0, DropGrowSchedule(every=1, alpha=0.4, end=1))
    assert all(torch.equal(ended[name], masks[name]) for name in masks)


def test_closed_it_leaves_gradients_alone(sparse):
    net, masks = sparse
    DropGrow(net, masks, "rigl", EVERY_STEP, seed=0).close()
    net(torch.randn(16, 6)).square().mean().backward()
    assert bool((net.get_parameter("0.weight").grad[~masks["0.weight"]] != 0).any())
