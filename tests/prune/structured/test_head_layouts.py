import pytest
import torch
from torch import nn

from compress.prune.base import Constraints
from compress.prune.structured import head_layouts
from compress.prune.structured.channels import ChannelPruner
from tests.prune.structured.text_networks import HEADS, LAYERS, make_text_network


class Attention(nn.Module):
    """Attention with one joint projection: (N, L, 8) → the same."""

    def __init__(self, inner=8):
        super().__init__()
        self.num_heads = 2
        self.qkv, self.proj = nn.Linear(8, 3 * inner), nn.Linear(inner, 8)

    def forward(self, x):
        q, k, v = torch.unflatten(self.qkv(x), -1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.attention, self.head = nn.Conv2d(3, 8, 4, stride=4), Attention(), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.attention(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


def test_a_joint_projection_has_three_parts():
    layout = head_layouts.layout_of(Attention())
    assert layout.inner == (("qkv.weight", 3),)
    assert layout.outer == ("proj.weight",)
    assert layout.count(Attention()) == 2
    assert head_layouts.layout_of(nn.Linear(8, 8)) is None


def test_shapes_that_do_not_agree_are_no_attention():
    part = Attention()
    part.proj = nn.Linear(6, 8)
    assert head_layouts.layout_of(part) is None
    part = Attention()
    part.num_heads = 3
    assert head_layouts.layout_of(part) is None


def test_projections_to_heads_are_left_to_the_heads_without_a_trial(large):
    torch.manual_seed(0)
    net = Patches().eval()
    bound = head_layouts.projections(net)
    assert bound == {"attention.qkv"}
    pruner = ChannelPruner(net, large, measure="macs", ranking="global", limits=Constraints(round_to=4))
    assert {fact.subject: fact.code for fact in pruner.skipped}["attention.qkv"] == "prune.attention_projection"


def test_a_shared_table_of_positions_joins_the_heads_of_its_layers(tmp_path):
    pytest.importorskip("transformers")
    net, _ = make_text_network("mpnet", tmp_path)
    assert head_layouts.count_heads(net) == {"network.mpnet.encoder": HEADS}
    layout = head_layouts.attentions(net)["network.mpnet.encoder"]
    assert len(layout.outer) == LAYERS
    assert "network.mpnet.encoder.relative_attention_bias" in head_layouts.projections(net)
    assert len(head_layouts.attention_owners(net)) == LAYERS + 1
