import torch
from torch import nn

from compress.prune.base import Constraints
from compress.prune.criteria import l1 as l1_norm
from compress.prune.criteria import magnitude
from compress.prune.predict_mask import predict_mask
from compress.prune.structured.channels import ChannelPruner
from compress.prune.unstructured.weights import UnstructuredPruner, prunable


def test_what_channels_a_cut_would_take_is_told_before(residual, spec):
    pruner = ChannelPruner(residual, spec, measure="params", ranking="global", limits=Constraints())
    gone = predict_mask(pruner, residual, 0.6, magnitude())
    network = pruner.prune(residual, 0.6, magnitude()).module
    for name, part in residual.named_modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            mask, small = gone[f"{name}.weight"], network.get_submodule(name).weight
            remaining = ~mask.flatten(1).any(1)
            assert torch.equal(mask.flatten(1).all(1), mask.flatten(1).any(1))
            assert int(remaining.sum()) == small.shape[0]
            big = part.weight[remaining]
            assert set(small.flatten(1).sum(1).tolist()) <= set(big.flatten(1).sum(1).tolist()) or small.shape[1] < big.shape[1]
    stem = ~gone["stem.0.weight"].flatten(1).any(1)
    assert torch.equal(network.get_submodule("stem.0").weight, residual.stem[0].weight[stem])


def test_what_weights_a_cut_would_take_is_told_before(residual, spec):
    pruner = UnstructuredPruner(residual, spec, measure="sparsity", ranking="global", limits=Constraints(max_ratio=0.99))
    gone = predict_mask(pruner, residual, 0.5, l1_norm())
    network = pruner.prune(residual, 0.5, l1_norm()).module
    assert all(torch.equal(gone[name], p == 0) for name, p in prunable(network).items())
