"""Stored logits that lack most classes: the rest is one class."""

import torch

from compress.distill.losses.response import response
from compress.train.teachers.rows import fill_rest


def test_the_divergence_and_its_gradient_are_those_with_the_rest_as_one_class():
    generator = torch.Generator().manual_seed(0)
    dense, z = (torch.randn(4, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    top = dense.topk(3, dim=1).indices
    known = torch.zeros_like(dense, dtype=torch.bool).scatter(1, top, value=True)
    log_t = dense.log_softmax(1)

    def merged(log_p):
        kept = log_p.gather(1, top)
        return torch.cat([kept, log_p.masked_fill(known, -torch.inf).logsumexp(1, keepdim=True)], dim=1)

    z_a, z_b = (z.clone().requires_grad_() for _ in range(2))
    found = response(z_a, fill_rest(log_t.masked_fill(~known, -torch.inf), z_a), T=1.0)
    log_a, log_b = merged(log_t), merged(z_b.log_softmax(1))
    expected = (log_a.exp() * (log_a - log_b)).sum(1)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(z_a.grad, z_b.grad)


def test_rows_that_are_known_whole_stay():
    log_p = torch.randn(2, 5).log_softmax(1)
    torch.testing.assert_close(fill_rest(log_p, torch.randn(2, 5)), log_p)
