import torch

from compress.merge.experts.average import AverageExperts
from tests.merge.experts.weights import HIDDEN, expert, inputs, output


def test_reordered_copies_of_one_expert_give_that_expert():
    first = expert(0)
    copies = [first, *(first.ordered(torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(n))) for n in (1, 2))]
    shares = torch.tensor([0.5, 0.3, 0.2])
    merged = AverageExperts().merge(copies, shares)
    torch.testing.assert_close(output(merged, inputs()), output(first, inputs()))
    unaligned = AverageExperts(align=False).merge(copies, shares)
    assert (output(unaligned, inputs()) - output(first, inputs())).abs().max() > 0.1


def test_without_alignment_it_is_the_weighted_mean_of_each_matrix():
    experts = [expert(0), expert(1)]
    merged = AverageExperts(align=False).merge(experts, torch.tensor([0.75, 0.25]))
    for own, one, two in zip(merged, *experts, strict=True):
        torch.testing.assert_close(own, 0.75 * one + 0.25 * two)
