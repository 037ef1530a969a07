"""Each encoder family of transformers as `hf:` builds it: what is pruned equals what is set to zero, what stays says why."""

import copy

import pytest
import torch
from torch import nn

from compress.core.sentences import render
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.attention_heads import count_heads_of, remove_heads
from compress.prune.structured.channels import ChannelPruner
from compress.prune.structured.head_layouts import attentions, count_heads
from compress.prune.structured.mask_channels import mask_channels
from compress.prune.structured.tolerant_graph import build_graph
from tests.prune.structured.text_networks import FAMILIES, HEADS, HIDDEN, LAYERS, make_text_network, padded

pytest.importorskip("transformers")

FEW = {"bert", "albert", "mpnet", "deberta-v2"}
"""Families in every test run; the others are in the slow one."""
each = pytest.mark.parametrize("family", FAMILIES)
each_if_slow = pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in FAMILIES]
)
SKIPPED = {
    "deberta": {"prune.own_normalisation", "prune.not_in_graph"},  # its LayerNorm is its own code, in single precision
}


@pytest.fixture
def encoder(family, tmp_path):
    return make_text_network(family, tmp_path)


def _same_without_padding(net, spec):
    """Whether the second sample gives the same without its padding."""
    x = padded(spec)
    length = int(x[1][1].sum())
    assert length < x[1].shape[1]
    with torch.no_grad():
        return torch.allclose(net(*x)[1:], net(*(values[1:, :length] for values in x)), atol=1e-6)


@each
def test_removing_heads_is_muting_them(encoder):
    net, spec = encoder
    muted, small = copy.deepcopy(net).double(), copy.deepcopy(net).double()
    assert count_heads(net)
    for name, layout in attentions(net).items():
        for key in layout.outer:
            weight = muted.get_submodule(name).get_parameter(key)
            columns = weight.shape[1] // HEADS
            with torch.no_grad():
                weight[:, columns : 3 * columns] = 0
        remove_heads(small, name, [1, 2])
        assert count_heads_of(small, [name]) == {name: HEADS - 2}
    with torch.no_grad():
        assert torch.allclose(muted(*padded(spec)), small(*padded(spec)), rtol=0, atol=1e-9)
    assert count_network(small, spec).macs < count_network(net, spec).macs
    assert _same_without_padding(small, spec)


@each_if_slow
def test_feed_forward_columns_and_the_hidden_width_go_everywhere_at_once(encoder, family):
    net, spec = encoder
    pruner = ChannelPruner(net, spec, measure="macs", ranking="global", limits=Constraints(round_to=4))
    small, masked = copy.deepcopy(net).double(), copy.deepcopy(net).double()
    graph, masked_graph = build_graph(small, spec), build_graph(masked, spec)
    width = {group.root: group.width for group in groups.find_groups(graph, small)}
    picks = {root: [0, 1, 3, 6] for root in pruner.prunable}
    chosen = [groups.channels_of(masked_graph, masked.get_submodule(root), channels) for root, channels in picks.items()]
    with torch.no_grad(), mask_channels(masked_graph, chosen) as unknown:
        expected = masked(*padded(spec))
    assert not unknown
    groups.remove_channels(small, graph, picks)
    with torch.no_grad():
        assert torch.allclose(small(*padded(spec)), expected, rtol=0, atol=1e-6)
    assert sum(width[root] == 24 for root in picks) == (1 if family == "albert" else LAYERS)
    if family == "deberta":  # its hidden width stays
        return
    hidden = {part.normalized_shape[0] for part in small.modules() if isinstance(part, nn.LayerNorm)}
    assert hidden
    assert HIDDEN not in hidden
    assert _same_without_padding(small, spec)


@each_if_slow
def test_half_of_the_macs_go_and_the_rest_says_why(encoder, family, tmp_path):
    net, spec = encoder
    pruner = ChannelPruner(net, spec, measure="macs", ranking="local", limits=Constraints(round_to=4))
    assert {*pruner.heads.heads} == {*count_heads(net)}
    cut = pruner.prune(net, 0.5, magnitude())
    assert cut.notes == ()
    assert count_network(cut.module, spec).macs <= 0.5 * count_network(net, spec).macs
    reasons = {fact.code for fact in pruner.skipped} - {"prune.attention_projection", "prune.output_layer"}
    assert reasons == SKIPPED.get(family, set())
    assert all(render(fact) for fact in pruner.skipped)
    save(cut.module, net, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors", net)
    x = padded(spec)
    with torch.no_grad():
        assert torch.equal(again(*x), cut.module(*x))
    assert _same_without_padding(cut.module.double(), spec)
