"""Fake quantization in blocks: the same matrix as the integers, gradients of LSQ, and starting at given integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compress.quantize.qat.block_fake_quantize import BlockFakeQuantize, read_rounded, round_weight
from compress.quantize.weight_only.blockwise import BlockwiseWeight, quantize_blocks

BLOCK = 16


def matrix(inputs: int = 40) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, inputs)).astype(np.float32)


def shifted(rounded: BlockwiseWeight) -> BlockwiseWeight:
    """Other integers on the same grid, as a rounding with compensation finds them."""
    q = np.clip(rounded.q.astype(int) + np.random.default_rng(1).integers(-1, 2, rounded.q.shape), 0, 15).astype(np.uint8)
    return BlockwiseWeight(q, rounded.s, rounded.z, bits=4, inputs=rounded.inputs)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("inputs", [32, 40])
def test_a_layer_starts_at_the_given_integers(inputs: int, transposed: bool, symmetric: bool) -> None:
    w = matrix(inputs)
    given = shifted(quantize_blocks(w, 4, BLOCK, symmetric=symmetric))
    layer = nn.Linear(6, inputs) if transposed else nn.Linear(inputs, 6)
    layer.weight.data = torch.from_numpy(w.T.copy() if transposed else w)
    round_weight(layer, given, transposed=transposed, learned=True)
    found = layer.weight.detach().numpy()
    np.testing.assert_allclose(found.T if transposed else found, given.dequantize(), atol=1e-6)
    again = read_rounded(layer)
    part = np.s_[:, :, :]
    assert (again.dequantize() == given.dequantize()).all()
    assert (again.z[part[:2]] == given.z).all()
    assert again.inputs == inputs


def test_weights_between_the_given_integer_and_its_neighbours_stay_what_they_are() -> None:
    w = matrix(32)
    rounded = quantize_blocks(w, 4, BLOCK, search=False)
    fake = BlockFakeQuantize(rounded, transposed=False, learned=True)
    start = fake.start(torch.from_numpy(w), rounded).numpy()
    near = np.abs(w - rounded.dequantize()) < 0.48 * np.repeat(rounded.s, BLOCK, 1)
    assert near.mean() > 0.9
    np.testing.assert_array_equal(start[near], w[near])


def test_gradients_are_those_of_lsq() -> None:
    """∂Ŵ/∂W is 1 within the range, ∂Ŵ/∂θ = s (q − z − W/s) within it and s (q − z) outside, ÷ √(block · 2^b)."""
    w = torch.from_numpy(matrix(32) * 1.5)
    rounded = quantize_blocks(w.numpy() / 2, 4, BLOCK)  # so that some weights are outside of the range
    fake = BlockFakeQuantize(rounded, transposed=False, learned=True)
    leaf = w.clone().requires_grad_()
    upstream = torch.randn(w.shape, generator=torch.Generator().manual_seed(0))
    (fake(leaf) * upstream).sum().backward()
    s = torch.from_numpy(rounded.s).repeat_interleave(BLOCK, 1)
    z = torch.from_numpy(rounded.z.astype(np.float32)).repeat_interleave(BLOCK, 1)
    inside = (w / s + z >= 0) & (w / s + z <= 15)
    assert 0.5 < inside.float().mean() < 0.99
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, upstream * inside)
    q = (w / s + z).round().clamp(0, 15)
    per_weight = torch.where(inside, q - z - w / s, q - z) * s * upstream / (BLOCK * 16) ** 0.5
    expected = per_weight.view(6, 2, BLOCK).sum(2)
    assert fake.theta.grad is not None
    torch.testing.assert_close(fake.theta.grad, expected, rtol=1e-3, atol=1e-4)


def test_a_frozen_weight_has_no_gradients() -> None:
    layer = nn.Linear(32, 6)
    layer.weight.requires_grad_(False)
    round_weight(layer, quantize_blocks(layer.weight.numpy(), 4, BLOCK), transposed=False, learned=True)
    assert [name for name, value in layer.named_parameters() if value.requires_grad] == ["bias"]


def test_bfloat16_weights_stay_bfloat16() -> None:
    layer = nn.Linear(32, 6).to(torch.bfloat16)
    w = layer.weight.detach().float().numpy()
    round_weight(layer, quantize_blocks(w, 4, BLOCK), transposed=False, learned=True)
    assert layer.weight.dtype == torch.bfloat16
    np.testing.assert_allclose(layer.weight.detach().float().numpy(), w, atol=0.05)
