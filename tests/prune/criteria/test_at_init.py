import copy

import numpy as np
import pytest
import torch
from torch import nn

from compress.prune.criteria import grasp, snip, synflow
from compress.prune.unstructured.weights import prunable
from tests.prune.criteria.smooth_network import in_float64, scoring_data


def test_snip_is_the_gradient_of_a_gate_on_each_weight(small, data, task):
    samples = scoring_data(data, task, small, count=1)
    scorer = snip()
    scorer.collect(small, samples)
    net, x, y = in_float64(small, samples.batches[0])
    gate = torch.ones_like(net.conv.weight, requires_grad=True)
    z = net.head(torch.tanh(nn.functional.conv2d(x, net.conv.weight * gate, padding=1)).mean((2, 3)))
    loss = (torch.logsumexp(z, 1) - z[torch.arange(len(y)), y]).mean()
    expected = torch.autograd.grad(loss, gate)[0].abs()
    result = scorer.weights("conv.weight", small.conv.weight)
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-8)
    assert small.conv.weight.grad is None


def test_grasp_ranks_by_the_change_of_the_gradients_norm(small, data, task):
    samples = scoring_data(data, task, small, count=1)
    scorer = grasp()
    scorer.collect(small, samples)
    result = scorer.weights("conv.weight", small.conv.weight).double()
    net, x, y = in_float64(small, samples.batches[0])

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
    mine = result.view(-1)[list(places)].numpy()
    np.testing.assert_allclose(mine - mine[0], slopes - slopes[0], rtol=1e-3, atol=1e-3 * np.abs(slopes).max())
    assert min(float(scorer.weights(name, p).min()) for name, p in prunable(small).items()) == 0.0


@pytest.mark.parametrize("method", [snip, grasp, synflow])
def test_pruning_at_initialisation_has_no_score_for_channels(method):
    with pytest.raises(TypeError, match="single weights"):
        method().channels("conv", None)
