import pytest
import torch
from torch import nn

from compress.core.sentences import render
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.predict_mask import predict_mask
from compress.prune.schedule_settings import SparseTraining
from compress.prune.sparse_training.greg import GrowingPenalty, describe_growth, greg1, greg2, selection_step
from compress.prune.structured.channels import ChannelPruner
from compress.prune.unstructured.weights import prunable


def test_growth_goes_up_in_steps_to_its_ceiling():
    assert [greg1(t, delta=0.1, every=5, ceiling=0.25) for t in (0, 4, 5, 14, 15, 900)] == pytest.approx(
        [0, 0, 0.1, 0.2, 0.25, 0.25]
    )


def test_growing_draws_only_what_is_to_go_towards_zero(residual, spec):
    pruner = ChannelPruner(residual, spec, measure="params", ranking="global", limits=Constraints())
    gone = predict_mask(pruner, residual, 0.6, magnitude())
    growth = GrowingPenalty(SparseTraining(kind="greg1", strength=1.0, every=1, ceiling=5.0), gone, residual)
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


def test_the_factor_of_all_weights_grows_to_the_picking_and_then_that_of_the_picked_to_the_ceiling():
    pick = selection_step(delta=1e-5, every=5, ceiling=1e-2)
    assert pick == 5000
    at = {t: greg2(t, pick=pick, **PUBLISHED) for t in (0, 4, 5, 2500, 4999, 5000, 5004, 5005, 10_000, 10**6)}
    expected = [0, 0, 1e-5, 0.005, 0.00999, 0.01, 0.01, 0.0101, 0.11, 1.0]
    assert list(at.values()) == pytest.approx(expected)


def _everything(net):
    return {name: torch.ones_like(p, dtype=torch.bool) for name, p in prunable(net).items()}


def test_all_weights_shrink_alike_until_some_are_picked_and_the_others_are_set_free(residual):
    settings = SparseTraining(kind="greg2", strength=1.0, every=1, ceiling=5.0, pick_strength=0.1, pick_ceiling=0.3)
    marks = {name: torch.rand(mask.shape) < 0.5 for name, mask in _everything(residual).items()}
    growth = GrowingPenalty(settings, _everything(residual), residual, lambda _: marks)
    start = {name: residual.get_parameter(name).detach().clone() for name in marks}
    records = {}
    optimizer = torch.optim.SGD(residual.parameters(), lr=0.1)
    for step in range(8):
        optimizer.zero_grad()
        growth.penalty().backward()
        optimizer.step()
        growth()
        records[step + 1] = {name: residual.get_parameter(name).detach().clone() for name in marks}
    for name, mask in marks.items():
        shrunk = start[name] * (1 - 0.01) * (1 - 0.02)  # factors 0, 0.1, 0.2 before the picking after step 3
        assert torch.allclose(records[3][name], shrunk, rtol=1e-5, atol=1e-8)
        assert torch.equal(records[8][name][~mask], records[3][name][~mask])
        assert float(records[8][name][mask].abs().sum()) < 0.5 * float(records[3][name][mask].abs().sum())


def test_a_weight_that_the_loss_holds_fast_is_told_by_its_magnitude():
    """Two weights of the same size, of which the loss is curved 50 times more along the first: only growth tells them apart."""
    net = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1.0]]))
    curvature = torch.tensor([[5.0, 0.1]])
    settings = SparseTraining(kind="greg2", every=1, pick_strength=0.01, pick_ceiling=0.3)
    growth = GrowingPenalty(
        settings, _everything(net), net, lambda module: {"weight": module.weight.abs() < module.weight.abs().mean()}
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(31):
        optimizer.zero_grad()
        ((curvature * (net.weight - 1).square()).sum() / 2 + growth.penalty()).backward()
        optimizer.step()
        growth()
    assert growth.masks["weight"].tolist() == [[False, True]]


def test_growth_goes_on_with_what_was_picked(residual):
    settings = SparseTraining(kind="greg2", every=1, pick_strength=0.1, pick_ceiling=0.1)
    marks = {name: torch.rand(mask.shape) < 0.5 for name, mask in _everything(residual).items()}
    growth, again = (GrowingPenalty(settings, _everything(residual), residual, lambda _: marks) for _ in range(2))
    growth()
    again.load_state_dict(growth.state_dict())
    assert float(again.penalty().detach()) == float(growth.penalty().detach())
    assert all(torch.equal(again.masks[name], mask) for name, mask in marks.items())


@pytest.mark.parametrize(
    ("kind", "steps", "factor", "expected"),
    [
        ("greg1", 100, 0.001, "the factor reached 0.001, below its ceiling 1"),
        ("greg1", 10**6, 1.0, "the factor reached its ceiling 1 within"),
        ("greg2", 100, 1e-4, "selects after step 10000 of training, and the training had 100"),
        (
            "greg2",
            20_000,
            0.11,
            "selected the weights to remove after step 10000 of 20000; the factor reached 0.11, below its ceiling 1",
        ),
    ],
)
def test_how_far_the_growth_got_is_told(kind, steps, factor, expected):
    (fact,) = describe_growth(SparseTraining(kind=kind), steps)
    assert fact.code == ("prune.selection_not_reached" if steps < fact.values["selection"] else "prune.penalty_growth")
    assert (fact.subject, fact.values["steps"]) == (kind, steps)
    assert fact.values["factor"] == pytest.approx(factor)
    assert expected in render(fact)
    assert describe_growth(SparseTraining(kind="l1"), steps) == ()


PUBLISHED = {"delta": 1e-4, "pick_delta": 1e-5, "every": 5, "pick_ceiling": 1e-2, "ceiling": 1.0}
