import copy

import pytest
import torch
from torch import nn

from compress.models.text.plain_linear import to_conv1d, to_linear

transformers = pytest.importorskip("transformers")


def _gpt2():
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=8)
    return transformers.GPT2LMHeadModel(config).eval()


def test_gpt2_computes_the_same_with_linear_layers_and_back():
    own = _gpt2()
    network = to_linear(copy.deepcopy(own))
    layer = network.transformer.h[0].attn.c_attn
    assert isinstance(layer, nn.Linear)
    assert layer.weight.equal(own.transformer.h[0].attn.c_attn.weight.T)
    assert not any(type(part).__name__ == "Conv1D" for part in network.modules())
    ids = torch.arange(8)[None]
    with torch.no_grad():
        assert torch.allclose(network(ids).logits, own(ids).logits, atol=1e-6)
        to_conv1d(network, own)
        assert network(ids).logits.equal(own(ids).logits)
    assert {name: type(part) for name, part in network.named_modules()} == {
        name: type(part) for name, part in own.named_modules()
    }


def test_other_networks_stay():
    net = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Linear(4, 2))
    before = list(net.modules())
    assert list(to_linear(net).modules()) == before
