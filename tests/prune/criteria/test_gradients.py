import copy

import numpy as np
import pytest
import torch
from torch import nn

from compress.prune.criteria import ScoringData, grasp, hessian, snip, synflow, taylor
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import build_graph
from compress.prune.unstructured.weights import prunable


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
    root = next(found for found in groups.find_groups(build_graph(small, spec), small) if found.root == "conv")
    own = expected.sum((1, 2, 3))
    head = (small.head.weight.detach() ** 2 * small.head.weight.grad).sum(0).numpy()
    np.testing.assert_allclose(scorer.channels("conv", root.tp_group), (own + head) / 2, rtol=1e-3)


@pytest.mark.parametrize("method", [snip, grasp, synflow])
def test_scores_leave_the_network_as_it_was_and_are_never_negative(method, residual, data, task):
    before = {name: value.clone() for name, value in residual.state_dict().items()}
    scorer = method()
    scorer.collect(residual, _material(data, task, residual, removed=0.5))
    assert all(torch.equal(value, before[name]) for name, value in residual.state_dict().items())
    for name, p in prunable(residual).items():
        assert scorer.weights(name, p).shape == p.shape
        assert bool((scorer.weights(name, p) >= 0).all())


@pytest.mark.parametrize("method", [snip, synflow, hessian, taylor])
def test_scores_asked_for_too_early_say_what_to_do(method, small):
    with pytest.raises(ValueError, match=r"call (collect|accumulate) first"):
        method().weights("conv.weight", small.conv.weight)
