import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.unstructured.blocks import Block
from compress.prune.unstructured.weights import block_pruner, compressed_bytes, count_zeros, prunable


def _cut(net, spec, pattern, fraction=0.5, measure="sparsity", ranking="global", **limits):
    pruner = block_pruner(
        net, spec, pattern=pattern, measure=measure, ranking=ranking, limits=Constraints(**{"max_ratio": 0.99, **limits})
    )
    return pruner, pruner.prune(net, fraction, magnitude())


@pytest.mark.parametrize(("pattern", "rows", "columns"), [("1x4", 1, 4), ("4x1", 4, 1), ("2x2", 2, 2)])
def test_zeros_come_in_whole_blocks_and_as_many_as_asked(residual, spec, pattern, rows, columns):
    pruner, cut = _cut(residual, spec, pattern)
    left = {fact.subject for fact in pruner.skipped}
    fits = {name: p for name, p in prunable(cut.module).items() if name not in left}
    assert len(fits) >= 3
    for p in fits.values():
        per_block = (p == 0).float().unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).mean((1, 3))
        assert set(per_block.unique().tolist()) <= {0.0, 1.0}
    gone, n = (sum(part) for part in zip(*count_zeros(cut.module, pruner.protected).values(), strict=True))
    assert gone == round(0.5 * n) // (rows * columns) * rows * columns


def test_what_does_not_divide_is_left_with_the_reason(residual, spec):
    pruner, _ = _cut(residual, spec, "1x4")
    reasons = {fact.subject: render(fact) for fact in pruner.skipped}
    assert reasons["stem.0.weight"] == "its 32×3 channels do not divide into blocks of 1×4"
    with pytest.raises(ModelError, match="do not divide into blocks of 1×32"):
        _cut(nn.Sequential(nn.Conv2d(3, 4, 1)), spec, "1x32")


def test_pooling_and_spreading_are_each_other_s_inverse():
    mask = torch.rand(3, 2, 3, 3) > 0.5
    block = Block(2, 4)
    assert torch.equal(block.pool(block.spread(mask).float()), mask.float())


def test_the_weakest_block_goes_first(spec):
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 4, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.arange(32.0).view(4, 8) + 1)
    _, cut = _cut(net, spec, "1x4", fraction=0.25)
    assert torch.equal(cut.module[1].weight == 0, torch.arange(32).view(4, 8) < 8)


@pytest.mark.parametrize("fraction", [0.6, 0.4])
def test_a_target_in_bytes_is_met_after_compression(residual, spec, fraction):
    _, cut = _cut(residual, spec, "1x4", fraction, "bytes")
    ratio = compressed_bytes(cut.module) / compressed_bytes(residual)
    assert fraction - 0.03 <= ratio <= fraction


def test_bytes_out_of_reach_are_told_and_the_best_kept(residual, spec):
    _, cut = _cut(residual, spec, "1x4", 0.2, "bytes", max_ratio=0.5)
    assert "compressed bytes, target 0.200; limited by max_ratio 0.5" in render(cut.notes[0])


def test_ceilings_of_single_layers_hold_and_globs_that_match_nothing_are_refused(residual, spec):
    _, cut = _cut(residual, spec, "1x4", 0.8, ranking="erk", ceilings={"expand*": 0.25, "project*": 0})
    counted = count_zeros(cut.module)
    assert counted["expand.0.weight"][0] <= 0.25 * counted["expand.0.weight"][1]
    assert counted["project.0.weight"][0] == 0
    with pytest.raises(ModelError, match="max_ratio 'expnd' matches no module"):
        _cut(residual, spec, "1x4", ceilings={"expnd": 0.5})
