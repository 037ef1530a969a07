import torch

from compress.merge.experts.align import aligned
from tests.merge.experts.weights import HIDDEN, expert, inputs, output


def test_a_reordered_copy_gets_the_order_of_the_reference_back():
    reference = expert(0)
    mixed = reference.ordered(torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(1)))
    found = aligned(mixed, reference)
    assert all(torch.equal(a, b) for a, b in zip(found, reference, strict=True))


def test_an_aligned_expert_computes_the_same():
    own = expert(1)
    torch.testing.assert_close(output(aligned(own, expert(0)), inputs()), output(own, inputs()))
