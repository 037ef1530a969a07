import copy

import numpy as np
import pytest
import torch
from torch import nn

from compress.prune.base import Constraints
from compress.prune.criteria import ScoringData, grasp, hessian, snip, synflow, taylor
from compress.prune.criteria.synflow import prune_iteratively
from compress.prune.structured import dependency_graph as groups
from compress.prune.unstructured.weights import UnstructuredPruner, count_zeros, prunable


class Small(nn.Module):
    """One convolution and a head, smooth so that second derivatives are not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small().eval()


def _material(data, task, net, count=2, **fields):
    batches = [batch for _, batch in zip(range(count), data.train.ordered(8), strict=False)]
    return ScoringData(batches, task, prunable=tuple(prunable(net)), **fields)


def _double(net, batch):
    return copy.deepcopy(net).double(), batch.inputs.double(), batch.targets


def _loss(net, x, y):
    z = net(x)
    return (torch.logsumexp(z, 1) - z[torch.arange(len(y)), y]).mean()


def test_hessian_is_the_mean_squared_gradient_of_single_samples_times_the_squared_weight(small, data, task, spec):
    given = _material(data, task, small)
    scorer = hessian()
    scorer.collect(small, given)
    squares, samples = 0.0, 0
    for batch in given.batches:
        net, xs, ys = _double(small, batch)
        for x, y in zip(xs, ys, strict=True):
            g = torch.autograd.grad(_loss(net, x[None], y[None]), net.conv.weight)[0]
            squares, samples = squares + g.numpy() ** 2, samples + 1
    expected = squares / samples * small.conv.weight.detach().numpy().astype(np.float64) ** 2
    np.testing.assert_allclose(scorer.weights("conv.weight", small.conv.weight), expected, rtol=1e-3, atol=1e-9)
    root = next(found for found in groups.find_groups(groups.build_graph(small, spec), small) if found.root == "conv")
    own = expected.sum((1, 2, 3))
    head = (small.head.weight.detach() ** 2 * small.head.weight.grad).sum(0).numpy()
    np.testing.assert_allclose(scorer.channels("conv", root.tp_group), (own + head) / 2, rtol=1e-3)


def test_snip_is_the_gradient_of_a_gate_on_each_weight(small, data, task):
    given = _material(data, task, small, count=1)
    scorer = snip()
    scorer.collect(small, given)
    net, x, y = _double(small, given.batches[0])
    gate = torch.ones_like(net.conv.weight, requires_grad=True)
    z = net.head(torch.tanh(nn.functional.conv2d(x, net.conv.weight * gate, padding=1)).mean((2, 3)))
    loss = (torch.logsumexp(z, 1) - z[torch.arange(len(y)), y]).mean()
    expected = torch.autograd.grad(loss, gate)[0].abs()
    found = scorer.weights("conv.weight", small.conv.weight)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-8)
    assert small.conv.weight.grad is None


def test_grasp_ranks_by_the_change_of_the_gradients_norm(small, data, task):
    given = _material(data, task, small, count=1)
    scorer = grasp()
    scorer.collect(small, given)
    found = scorer.weights("conv.weight", small.conv.weight).double()
    net, x, y = _double(small, given.batches[0])

    def flow(step, place):
        """Squared norm of the gradient with one weight made smaller by a fraction `step`."""
        moved = copy.deepcopy(net)
        with torch.no_grad():
            moved.conv.weight.view(-1)[place] *= 1 - step
        z = moved(x) / 200.0
        loss = (torch.logsumexp(z, 1) - z[torch.arange(len(y)), y]).mean()
        return sum(float(g.square().sum()) for g in torch.autograd.grad(loss, list(moved.parameters())))

    places = range(0, 108, 9)
    slopes = np.array([(flow(-1e-4, p) - flow(1e-4, p)) / 2e-4 / 2 for p in places])  # by central differences: w · (H g)
    mine = found.view(-1)[list(places)].numpy()
    np.testing.assert_allclose(mine - mine[0], slopes - slopes[0], rtol=1e-3, atol=1e-3 * np.abs(slopes).max())
    assert min(float(scorer.weights(name, p).min()) for name, p in prunable(small).items()) == 0.0


def _deep(layers=6, width=24):
    torch.manual_seed(0)
    inner = [part for _ in range(layers) for part in (nn.Linear(width, width, bias=False), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(192, width, bias=False), nn.ReLU(), *inner, nn.Linear(width, 4)).eval()


def test_synflow_scores_the_product_of_paths(spec):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5, bias=False), nn.ReLU(), nn.Linear(5, 4, bias=False)).double().eval()
    a, b = (net[place].weight.detach().abs().clone() for place in (1, 3))
    found = prune_iteratively(net, torch.ones(1, *spec.shape, dtype=torch.float64), 0.5, ("1.weight", "3.weight"), iterations=1)
    torch.testing.assert_close(found["1.weight"], a * b.sum(0)[:, None])
    torch.testing.assert_close(found["3.weight"], b * a.sum(1)[None])


def test_synflow_does_not_collapse_where_one_shot_scores_do(data, task, spec):
    net = _deep()
    counts = {}
    for name, method in (("synflow", synflow), ("snip", snip)):
        scorer = method()
        scorer.collect(net, _material(data, task, net, removed=0.98))
        pruner = UnstructuredPruner(net, spec, measure="sparsity", ranking="global", limits=Constraints(max_ratio=0.9999))
        made = pruner.prune(net, 0.98, scorer).module
        counts[name] = [n - zero for zero, n in count_zeros(made).values()]
        assert sum(counts[name]) == pytest.approx(0.02 * sum(p.numel() for p in prunable(net).values()), abs=1)
    assert min(counts["synflow"]) >= 2 > min(counts["snip"])


@pytest.mark.parametrize("removed", [0.99, 0.999])
def test_synflow_goes_on_when_a_branch_beside_a_residual_is_left_without_flow(removed, residual, data, task):
    scorer = synflow()
    scorer.collect(residual, _material(data, task, residual, removed=removed))
    scores = {name: scorer.weights(name, p) for name, p in prunable(residual).items()}
    assert all(bool(torch.isfinite(s).all()) for s in scores.values())
    assert all(bool((scores[name] > 0).any()) for name in ("stem.0.weight", "head.weight"))


def test_synflow_says_when_nothing_flows(data, task, spec):
    from compress.core.errors import ModelError

    net = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 4)).eval()
    with pytest.raises(ModelError, match="use snip or grasp"):
        synflow().collect(net, _material(data, task, net, removed=0.5))


@pytest.mark.parametrize("method", [snip, grasp, synflow])
def test_scores_leave_the_network_as_it_was_and_are_never_negative(method, residual, data, task):
    before = {name: value.clone() for name, value in residual.state_dict().items()}
    scorer = method()
    scorer.collect(residual, _material(data, task, residual, removed=0.5))
    assert all(torch.equal(value, before[name]) for name, value in residual.state_dict().items())
    for name, p in prunable(residual).items():
        assert scorer.weights(name, p).shape == p.shape
        assert bool((scorer.weights(name, p) >= 0).all())


@pytest.mark.parametrize("method", [snip, grasp, synflow])
def test_pruning_at_initialisation_has_no_score_for_channels(method):
    with pytest.raises(TypeError, match="single weights"):
        method().channels("conv", None)


@pytest.mark.parametrize("method", [snip, synflow, hessian, taylor])
def test_scores_asked_for_too_early_say_what_to_do(method, small):
    with pytest.raises(ValueError, match=r"call (collect|accumulate) first"):
        method().weights("conv.weight", small.conv.weight)
