import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.models.pruned_attention import PrunedMHA, SkippedBlock, checkpoint_type, is_skipped, restore_pruned_forwards


class Net(nn.Module):
    """Attention under two names, of 4 heads of width 3 after one was removed, in an input of 16."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.again = self.attention

    def forward(self, x):
        y, _ = self.attention(x, x, x)
        return self.again(y, y, y)[0]


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Net().double().eval()
    attention = made.attention
    attention.in_proj_weight = nn.Parameter(torch.randn(3 * 12, 16, dtype=torch.double))
    attention.in_proj_bias = nn.Parameter(torch.randn(3 * 12, dtype=torch.double))
    attention.out_proj.weight = nn.Parameter(torch.randn(16, 12, dtype=torch.double))
    return made


def reference(attention, x):
    q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    heads = []
    for index in range(attention.num_heads):
        own = slice(index * 3, index * 3 + 3)
        weights = (q[..., own] @ k[..., own].transpose(1, 2) / 3**0.5).softmax(dim=-1)
        heads.append(weights @ v[..., own])
    return F.linear(torch.cat(heads, dim=-1), attention.out_proj.weight, attention.out_proj.bias)


def test_a_narrowed_attention_computes_with_the_heads_it_has_left(net):
    weights = net.attention.in_proj_weight
    assert restore_pruned_forwards(net) is net
    assert type(net.attention) is PrunedMHA
    assert net.attention is net.again
    assert net.attention.in_proj_weight is weights
    assert checkpoint_type(net.attention) == "MultiheadAttention"
    x = torch.randn(2, 5, 16, dtype=torch.double)
    torch.testing.assert_close(net(x), reference(net.attention, reference(net.attention, x)))


def test_a_replaced_module_is_an_ordinary_one(net):
    calls = []
    net.attention.register_forward_hook(lambda *_: calls.append(1))
    restore_pruned_forwards(net)
    replaced = net.attention
    assert restore_pruned_forwards(net).attention is replaced
    x = torch.randn(1, 3, 16, dtype=torch.double)
    expected = net(x)
    assert len(calls) == 2
    net.attention._forward_hooks.clear()
    torch.testing.assert_close(pickle.loads(pickle.dumps(net))(x), expected)  # noqa: S301 - made here


def test_a_block_of_empty_tensors_passes_its_input_on():
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
    for name in ("weight", "bias"):
        setattr(net[0][0], name, nn.Parameter(torch.empty((0,) * getattr(net[0][0], name).ndim)))
    restore_pruned_forwards(net)
    assert isinstance(net[0], SkippedBlock)
    assert is_skipped(net[0])
    assert checkpoint_type(net[0]) == "Sequential"
    x = torch.randn(3, 4)
    torch.testing.assert_close(net(x), net[1](x))
