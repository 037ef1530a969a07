import torch

from compress.merge.experts.most_used import MostUsedExperts
from tests.merge.experts.weights import HIDDEN, expert, inputs, output


def test_it_computes_the_mixture_of_the_most_used_experts_with_constant_weights():
    experts, shares = [expert(n) for n in range(4)], torch.tensor([0.1, 0.4, 0.2, 0.3])
    method = MostUsedExperts(experts=2)
    merged = method.merge(experts, shares)
    x = inputs()
    torch.testing.assert_close(output(merged, x), 4 / 7 * output(experts[1], x) + 3 / 7 * output(experts[3], x))
    assert merged.gate.shape[0] == 2 * HIDDEN
    assert method.kept(shares.tolist()) == (1, 3)


def test_more_experts_than_there_are_do_not_fit():
    assert MostUsedExperts(experts=4).misfit(4) is None
    assert MostUsedExperts(experts=5).misfit(4) == "most_used takes 5 experts and a layer has 4"
