"""Random tensors and a small network in float64."""

import torch

from compress.dataset_distillation.convnet import ConvNet


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def small(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(1, 3, (8, 8), width=4, depth=2).double()
