"""Layouts of torch networks: heads of each layer, positions, windows, and networks that are not known."""

import pytest
import torch
from torch import nn

from compress.backends.decoder.module_layout import module_layout
from tests.backends.decoder.small_decoders import CONTEXT, decoder

pytest.importorskip("transformers")


def test_layers_have_their_own_heads():
    layout = module_layout(decoder("qwen2"))
    assert [(layer.heads, layer.groups, layer.width) for layer in layout.layers] == [(4, 2, 16), (2, 1, 16)]
    assert layout.layers[1].query == "network.model.layers.1.self_attn.q_proj"
    assert layout.context == CONTEXT
    assert not layout.positions
    assert layout.bytes_per_token == 2 * (2 + 1) * 16 * 4


def test_angles_are_those_of_the_network():
    network = decoder("qwen2")  # with the scaled rotation of Llama 3
    layout = module_layout(network)
    steps = torch.arange(5)[None]
    cosine, _ = network.network.model.rotary_emb(torch.zeros(1, 5, 1), steps)
    expected = torch.cos(steps[0, :, None].float() * torch.tensor(layout.frequencies)) * layout.rotary_scale
    torch.testing.assert_close(cosine[0, :, : len(layout.frequencies)], expected)
    plain = module_layout(decoder("llama"))
    assert plain.frequencies != layout.frequencies
    assert plain.frequencies[0] == 1.0


@pytest.mark.parametrize("family", ["gpt2", "conv1d"])
def test_gpt2_has_learned_positions_and_joint_layers(family):
    layout = module_layout(decoder(family))
    assert layout.positions == "network.transformer.wpe"
    assert not layout.frequencies
    assert all(layer.is_joint and layer.heads == layer.groups == 4 for layer in layout.layers)


def test_a_window_shorter_than_the_context_counts():
    assert module_layout(decoder("mistral")).window == 4
    assert module_layout(decoder("mistral", sliding_window=2 * CONTEXT)).window is None


@pytest.mark.parametrize(
    "network",
    [lambda: nn.Linear(2, 2), lambda: decoder("llama", num_attention_heads=8), lambda: with_norms(decoder("llama"))],
    ids=["no decoder", "narrow heads", "norms of heads"],
)
def test_other_networks_have_none(network):
    assert module_layout(network()) is None


def with_norms(network):
    network.network.model.layers[0].self_attn.q_norm = nn.Identity()
    return network
