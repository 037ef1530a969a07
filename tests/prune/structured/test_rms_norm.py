import copy

import pytest
import torch
from torch import nn

from compress.prune.structured.rms_norm import is_exact, run_exactly, set_mask


class TinyRMSNorm(nn.Module):
    """In float32 whatever its input, as in transformers."""

    def __init__(self, width=6, offset=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))
        self.eps, self.offset = 1e-6, offset

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps) * (self.weight.float() + self.offset)).to(x.dtype)


class OtherRMSNorm(TinyRMSNorm):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_it_computes_the_same_in_the_precision_of_the_input_also_in_a_copy(offset):
    own = TinyRMSNorm(offset=offset).double()
    exact = copy.deepcopy(own)
    run_exactly(exact)
    assert is_exact(exact)
    x = torch.randn(3, 6, dtype=torch.float64)
    expected = x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() * (own.weight + offset)
    assert torch.allclose(exact(x), expected, rtol=0, atol=1e-14)
    assert torch.allclose(exact(x), own(x), atol=1e-6)
    second = copy.deepcopy(exact)
    with torch.no_grad():
        second.weight.zero_()
    assert torch.allclose(second(x), x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() * offset, atol=1e-14)
    assert torch.allclose(exact(x), expected, rtol=0, atol=1e-14)


def test_the_mean_is_over_the_channels_of_the_mask():
    norm = TinyRMSNorm().double()
    run_exactly(norm)
    x = torch.randn(3, 6, dtype=torch.float64)
    set_mask(norm, torch.tensor([1.0, 1, 0, 1, 0, 1]).double())
    kept = [0, 1, 3, 5]
    small = x[:, kept] / (x[:, kept].square().mean(1, keepdim=True) + 1e-6).sqrt() * norm.weight[kept]
    assert torch.allclose(norm(x)[:, kept], small, rtol=0, atol=1e-14)
    set_mask(norm, None)
    assert not torch.allclose(norm(x)[:, kept], small)


@pytest.mark.parametrize("part", [OtherRMSNorm(), nn.LayerNorm(6)])
def test_what_computes_something_else_stays(part):
    run_exactly(part)
    assert not is_exact(part)
