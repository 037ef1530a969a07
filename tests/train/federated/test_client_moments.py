"""Joint moments of batch norm of clients."""

import torch
from torch import nn

from compress.train.federated.client_moments import join_moments


def test_joint_moments_are_those_of_all_samples():
    torch.manual_seed(0)
    inputs = {"input": torch.randn(40, 3) * torch.tensor([1.0, 2.0, 3.0]) + torch.arange(40.0)[:, None]}
    module = nn.Sequential(nn.BatchNorm1d(3)).eval()
    parts = [torch.arange(10), torch.arange(10, 40)]
    join_moments(module, inputs, parts, [0.25, 0.75], "cpu")
    norm = module[0]
    assert torch.allclose(norm.running_mean, inputs["input"].mean(0), atol=1e-4)
    assert torch.allclose(norm.running_var, inputs["input"].var(0), rtol=0.05)  # each client divides by n − 1
    assert not norm.training


def test_a_network_without_batch_norm_stays():
    module = nn.Linear(2, 2)
    before = module.weight.clone()
    join_moments(module, {"input": torch.ones(4, 2)}, [torch.arange(4)], [1.0], "cpu")
    assert torch.equal(module.weight, before)
