"""A whole rotation changes nothing; the first components are those of the largest variance."""

import copy

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.models.text.rotated_layer import is_rotated
from compress.prune.criteria import ScoringData
from compress.prune.structured.hidden_places import find_places
from compress.prune.structured.rotate_hidden import hidden_moments, kept_variance, principal_axes, rotate
from tests.models.text.expert_networks import expert_decoder, next_tokens
from tests.prune.structured.decoder_networks import HIDDEN, LAYERS, TASK, make_decoder
from tests.tasks.text.text_arrays import tokens

pytest.importorskip("transformers")
from transformers.pytorch_utils import Conv1D


def _with_scales(network):
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if name.endswith("norm.weight") or "layernorm" in name or ("ln_" in name and name.endswith("weight")):
            nn.init.uniform_(parameter, 0.5, 2.0, generator=generator)
    return network


def _data(size=8):
    return ScoringData(tuple(next_tokens(size, 0).epoch(0, 4, 0)), TASK)


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize(
    "make", [lambda: make_decoder("llama")[0], lambda: expert_decoder().eval(), lambda: make_decoder("gpt2")[0]]
)
def test_with_all_components_the_network_computes_the_same(make, common):
    network = _with_scales(make()).double()
    places = find_places(network)
    axes = principal_axes(hidden_moments(network, places, _data()), common=common, is_centred=places.is_centred)
    turned = rotate(network, places, axes, 32)
    inputs = tokens(3, 5)
    with torch.no_grad():
        torch.testing.assert_close(turned(**inputs), network(**inputs), rtol=1e-3, atol=1e-4)  # norms are in float32
    assert any(map(is_rotated, turned.modules())) is not common
    assert turned.network.lm_head.weight is not turned.network.get_input_embeddings().weight


def test_moments_are_those_of_normed_vectors_at_every_norm_without_padding():
    network = _with_scales(make_decoder("llama")[0])
    places, data = find_places(network), _data()
    moments = hidden_moments(network, places, data)
    assert len(moments) == len(places.norms) == 2 * LAYERS + 1
    seen = []
    last = network.get_submodule(places.norm)
    handle = last.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for batch in data.batches:
            network(**batch.inputs)
    handle.remove()
    kept = torch.cat([x[batch.inputs["attention_mask"].bool()] for x, batch in zip(seen, data.batches, strict=True)]).double()
    normed = kept / kept.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(moments[-1], normed.T @ normed / len(normed), rtol=1e-5, atol=1e-6)


def test_components_without_variance_cost_nothing():
    network = _with_scales(make_decoder("llama")[0]).double()
    generator = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=generator, dtype=torch.float64)).Q[:, :24]
    with torch.no_grad():  # all hidden vectors lie in 24 dimensions
        table = network.network.get_input_embeddings().weight
        head = table.detach().clone()
        network.network.lm_head.weight = nn.Parameter(head)
        table.copy_(table @ basis @ basis.T)
        for name, parameter in network.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.copy_(basis @ basis.T @ parameter)
    places = find_places(network)
    moments = hidden_moments(network, places, _data())
    inputs = tokens(3, 5)
    for common in (True, False):
        axes = principal_axes(moments, common=common)
        small = rotate(network, places, axes, 24)
        assert kept_variance(moments, axes, 24) == pytest.approx(1)
        assert kept_variance(moments, axes, 12) < 1
        with torch.no_grad():
            torch.testing.assert_close(small(**inputs), network(**inputs), rtol=1e-4, atol=1e-4)


def test_components_of_each_block_hold_at_least_as_much_as_common_ones():
    network = _with_scales(make_decoder("llama")[0])
    moments = hidden_moments(network, find_places(network), _data())
    own, common = (kept_variance(moments, principal_axes(moments, common=each), 16) for each in (False, True))
    assert 0.5 < common < own < 1


def test_the_network_is_not_changed_and_other_shapes_are_refused():
    network = make_decoder("llama")[0]
    before = copy.deepcopy(network.state_dict())
    places = find_places(network)
    rotate(network, places, principal_axes(hidden_moments(network, places, _data()), common=False), 16)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    transposed = Conv1D(96, 32)
    other = make_decoder("gpt2")[0]
    other.network.transformer.h[0].attn.c_attn = transposed
    with pytest.raises(ModelError, match="decoders of the shapes of Llama"):
        find_places(other)


@pytest.mark.parametrize("common", [True, False])
def test_layer_norms_become_norms_of_vectors_with_mean_0_and_keep_their_form(common):
    """A narrower network after a narrower one computes what it computed with the components that are left."""
    network = _with_scales(make_decoder("gpt2")[0]).double()
    places = find_places(network)
    assert places.is_centred
    moments = hidden_moments(network, places, _data())
    ones = torch.ones(HIDDEN, dtype=torch.float64)
    assert all(float((moment @ ones).norm()) < 1e-6 for moment in moments)
    axes = principal_axes(moments, common=common, is_centred=True)
    assert all(torch.allclose(each[:, -1].abs(), ones / HIDDEN**0.5) for each in axes)
    small = rotate(network, places, axes, 20)
    seen = []
    handles = [small.get_submodule(name).register_forward_pre_hook(lambda _m, i: seen.append(i[0])) for name in places.norms]
    inputs = tokens(3, 5)
    with torch.no_grad():
        expected = small(**inputs)
    for handle in handles:
        handle.remove()
    assert all(float(x.mean(-1).abs().max()) < 1e-9 for x in seen)
    norms = [small.get_submodule(name) for name in places.norms]
    assert all(type(norm) is nn.LayerNorm and torch.equal(norm.weight, torch.ones(20).double()) for norm in norms)
    again = rotate(small, find_places(small), [torch.linalg.qr(_mean_last(20)).Q.roll(-1, dims=1)] * 5, 20)
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs), expected, rtol=1e-6, atol=1e-6)


def _mean_last(width):
    noise = torch.randn(width, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    noise[:, 0] = 1.0
    return noise


def test_without_components_of_no_variance_layer_norms_compute_the_same():
    network = _with_scales(make_decoder("gpt2")[0]).double()
    generator = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=generator, dtype=torch.float64)).Q[:, :23]
    with torch.no_grad():  # all hidden vectors lie in 23 dimensions, and without their mean as well
        own = network.network.get_input_embeddings().weight.detach().clone()
        network.network.lm_head.weight = nn.Parameter(own)
        for table in (network.network.transformer.wte, network.network.transformer.wpe):
            table.weight.copy_(table.weight @ basis @ basis.T)
        for name, parameter in network.named_parameters():
            if "c_proj" in name:
                parameter.copy_(basis @ basis.T @ parameter)
    places = find_places(network)
    axes = principal_axes(hidden_moments(network, places, _data()), common=True, is_centred=True)
    small = rotate(network, places, axes, 24)
    inputs = tokens(3, 5)
    with torch.no_grad():
        torch.testing.assert_close(small(**inputs), network(**inputs), rtol=1e-3, atol=1e-3)  # ε counts less in fewer channels
