import copy

import pytest
import torch

from compress.prune.criteria import Importance, magnitude
from compress.prune.criteria.base import refuse_channels
from compress.prune.structured.attention_heads import unprunable_queries
from compress.prune.structured.query_heads import query_choice, query_roots, query_rows, query_scores, remove_queries
from tests.prune.structured.decoder_networks import make_decoder
from tests.tasks.text.text_arrays import tokens

pytest.importorskip("transformers")
NAME = "network.model.layers.0.self_attn"


@pytest.fixture(scope="module")
def llama():
    return make_decoder("llama")


def test_each_group_loses_its_own_query_and_nothing_else_changes(llama):
    net, _ = llama
    small, muted = copy.deepcopy(net), copy.deepcopy(net)
    remove_queries(small, NAME, [1, 2, 4, 7])  # of queries 0–3 and of 4–7
    with torch.no_grad():
        columns = muted.get_submodule(NAME).o_proj.weight.view(32, 8, 4)
        columns[:, [1, 2, 4, 7]] = 0
        expected, found = muted(*tokens(2, 0).values()), small(*tokens(2, 0).values())
    assert torch.allclose(found, expected, atol=1e-5)
    assert small.get_submodule(NAME).num_key_value_groups == 2
    rows = {str(row["layer"]): (row["out_before"], row["out_after"]) for row in query_rows(net, small)}
    assert rows[f"{NAME} (queries)"] == (8, 4)


@pytest.mark.parametrize("indices", [[0], [0, 1, 4], list(range(8))])
def test_groups_keep_the_same_number_of_queries_and_at_least_one(llama, indices):
    with pytest.raises(ValueError, match="the same number from each"):
        remove_queries(copy.deepcopy(llama[0]), NAME, indices)


def test_every_group_loses_the_queries_of_its_own_lowest_scores(llama):
    net = copy.deepcopy(llama[0])
    with torch.no_grad():
        for query in (1, 6):
            net.get_submodule(NAME).q_proj.weight[4 * query : 4 * query + 4] = 0
            net.get_submodule(NAME).o_proj.weight[:, 4 * query : 4 * query + 4] = 0
    choice = query_choice(net, NAME, magnitude(), 4, 0.75)
    assert choice is not None
    assert (choice.root, choice.width, choice.smaller) == (f"{NAME}.q_proj", 8, (6, 4, 2))
    assert choice.lowest_channels(6) == [1, 6]
    assert len(choice.lowest_channels(2)) == 6
    assert query_choice(net, NAME, magnitude(), 4, 0.0) is None


def test_scores_are_of_gates_of_norms_or_of_weights(llama):
    net, _ = llama
    inputs = torch.arange(32.0)
    norms = Importance(refuse_channels, lambda _, w: w, inputs=lambda _: inputs)
    by_norm = query_scores(net, NAME, norms)
    expected = inputs.view(2, 4, 4).norm(dim=2)
    assert torch.allclose(by_norm, expected / expected.mean())
    samples = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    gates = Importance(refuse_channels, lambda _, w: w, gates=lambda _: samples, loss_change=True)
    assert torch.allclose(query_scores(net, NAME, gates), samples.view(5, 2, 4, 4).sum(3).square().sum(0))
    part = net.get_submodule(NAME)
    weights = part.o_proj.weight.abs().view(32, 8, 4).sum((0, 2)) + part.q_proj.weight.abs().view(8, 4, 32).sum((1, 2))
    expected = (weights / weights.mean()).view(2, 4)
    assert torch.allclose(query_scores(net, NAME, magnitude()), expected, atol=1e-6)


def test_the_trial_passes_and_finds_a_network_that_counts_its_queries_itself(llama):
    net, spec = llama
    assert query_roots(net)[f"{NAME}.q_proj"] == NAME
    assert unprunable_queries(net, spec, [NAME]) == {}
    fixed = copy.deepcopy(net)
    fixed.get_submodule(NAME).register_forward_pre_hook(lambda part, _: setattr(part, "num_key_value_groups", 4))
    assert unprunable_queries(fixed, spec, [NAME])[NAME].code == "prune.fails_with_fewer_heads"
