"""One block: never worse than nearest rounding, and the error is weighted by the loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compress.quantize.ptq import brecq as brecq_module
from compress.quantize.ptq.brecq import BlockProblem, brecq
from compress.quantize.ptq.quantized_weight import int_range


def branch(weights: list[Tensor], x: Tensor) -> Tensor:
    """A residual block of two matrix products."""
    return x + torch.relu(x @ weights[0]) @ weights[1]


@pytest.fixture(scope="module")
def given() -> tuple[list[Tensor], Tensor, Tensor]:
    """Weights, inputs that are not quite what the float block reads, and its outputs."""
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(12, 24, generator=draw), torch.randn(24, 12, generator=draw)]
    x = torch.randn(200, 12, generator=draw) @ torch.randn(12, 12, generator=draw)
    return weights, x + 0.05 * torch.randn(x.shape, generator=draw), branch(weights, x)


def steps_of(weights: list[Tensor], bits: int) -> list[Tensor]:
    return [w.abs().amax(0, keepdim=True) / int_range(bits)[1] for w in weights]


@pytest.mark.parametrize("bits", [3, 4])
def test_a_block_is_never_worse_than_nearest_and_much_better(given, bits: int) -> None:
    weights, x, z = given
    s = steps_of(weights, bits)
    f = torch.linspace(0.1, 1.9, 12)
    q, least, plain = brecq(BlockProblem(branch, weights, s, x, z, bits, f), iterations=150)
    nearest = [(w / step).round().clamp(*int_range(bits)) * step for w, step in zip(weights, s, strict=True)]
    expected, result = (
        float((f.double() * (branch(values, x) - z).double() ** 2).sum(1).mean())
        for values in (nearest, [variant * step for variant, step in zip(q, s, strict=True)])
    )
    assert plain == pytest.approx(expected, rel=1e-4)
    assert least == pytest.approx(result, rel=1e-4)
    assert result < 0.8 * expected
    for variant, w, step in zip(q, weights, s, strict=True):
        inside = (w / step > int_range(bits)[0]) & (w / step < int_range(bits)[1])
        assert ((variant - w / step).abs()[inside] <= 1).all()


def test_learned_integers_that_are_worse_are_not_taken(given, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, x, z = given
    s = steps_of(weights, 4)
    monkeypatch.setattr(brecq_module, "_learn", lambda *_: [torch.zeros_like(w) for w in weights])
    q, least, plain = brecq(BlockProblem(branch, weights, s, x, z, 4), iterations=5)
    assert least == plain
    for variant, w, step in zip(q, weights, s, strict=True):
        torch.testing.assert_close(variant, (w / step).round().clamp(-8, 7).to(torch.int8))


def test_the_outputs_that_the_loss_minds_come_out_better(given) -> None:
    weights, x, z = given
    s = steps_of(weights, 3)
    errors = []
    for f in (torch.ones(12), torch.tensor([20.0] * 2 + [0.05] * 10)):
        problem = BlockProblem(branch, weights, s, x, z, 3, f)
        q, _, _ = brecq(problem, iterations=600)
        errors.append(replace(problem, fisher=torch.tensor([1.0] * 2 + [0.0] * 10)).error(q))
    assert errors[1] < 0.9 * errors[0]
