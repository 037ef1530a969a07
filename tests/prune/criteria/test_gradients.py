import numpy as np
import pytest
import torch

from compress.prune.criteria import grasp, hessian, snip, synflow, taylor
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import build_graph
from compress.prune.unstructured.weights import prunable
from tests.prune.criteria.smooth_network import cross_entropy, in_float64, scoring_data


def test_hessian_is_the_mean_squared_gradient_of_single_samples_times_the_squared_weight(small, data, task, spec):
    scoring = scoring_data(data, task, small)
    scorer = hessian()
    scorer.collect(small, scoring)
    squares, samples = 0.0, 0
    for batch in scoring.batches:
        net, xs, ys = in_float64(small, batch)
        for x, y in zip(xs, ys, strict=True):
            g = torch.autograd.grad(cross_entropy(net, x[None], y[None]), net.conv.weight)[0]
            squares, samples = squares + g.numpy() ** 2, samples + 1
    expected = squares / samples * small.conv.weight.detach().numpy().astype(np.float64) ** 2
    np.testing.assert_allclose(scorer.weights("conv.weight", small.conv.weight), expected, rtol=1e-3, atol=1e-9)
    root = next(group for group in groups.find_groups(build_graph(small, spec), small) if group.root == "conv")
    own = expected.sum((1, 2, 3))
    head = (small.head.weight.detach() ** 2 * small.head.weight.grad).sum(0).numpy()
    np.testing.assert_allclose(scorer.channels("conv", root.tp_group), (own + head) / 2, rtol=1e-3)


@pytest.mark.parametrize("method", [snip, grasp, synflow])
def test_scores_leave_the_network_as_it_was_and_are_never_negative(method, residual, data, task):
    before = {name: value.clone() for name, value in residual.state_dict().items()}
    scorer = method()
    scorer.collect(residual, scoring_data(data, task, residual, removed=0.5))
    assert all(torch.equal(value, before[name]) for name, value in residual.state_dict().items())
    for name, p in prunable(residual).items():
        assert scorer.weights(name, p).shape == p.shape
        assert bool((scorer.weights(name, p) >= 0).all())


@pytest.mark.parametrize("method", [snip, synflow, hessian, taylor])
def test_scores_asked_for_too_early_say_what_to_do(method, small):
    with pytest.raises(ValueError, match=r"call (collect|accumulate) first"):
        method().weights("conv.weight", small.conv.weight)
