import copy

import pytest

from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.attention_choices import find_choices
from tests.prune.structured.decoder_networks import make_decoder

pytest.importorskip("transformers")
NAMES = [f"network.model.layers.{index}.self_attn" for index in range(2)]


def test_groups_and_queries_are_choices_and_are_removed_together():
    net, spec = make_decoder("llama")
    found = find_choices(net, spec, Constraints(), frozenset())
    assert (dict(found.heads), dict(found.queries)) == (dict.fromkeys(NAMES, 2), dict.fromkeys(NAMES, 4))
    assert (len(found), found.skipped) == (4, ())
    roots = [choice.root for choice in found.choices(net, magnitude())]
    assert roots == [*NAMES, *(f"{name}.q_proj" for name in NAMES)]
    small, picks = copy.deepcopy(net), {NAMES[0]: [1], f"{NAMES[0]}.q_proj": [0, 5], "other": [3]}
    found.remove(small, picks)
    assert picks == {"other": [3]}
    part, before = small.get_submodule(NAMES[0]), net.get_submodule(NAMES[0])
    assert part.q_proj.weight.equal(before.q_proj.weight[4:16])  # queries 1 to 3 of the first group
    assert (part.k_proj.out_features, part.num_key_value_groups) == (4, 3)


def test_protected_modules_and_low_ceilings_have_reasons():
    net, spec = make_decoder("llama")
    found = find_choices(net, spec, Constraints(ceilings={NAMES[1]: 0.3}), frozenset({NAMES[0]}))
    assert (dict(found.heads), dict(found.queries)) == ({}, {NAMES[1]: 4})
    assert {(fact.subject, fact.code) for fact in found.skipped} == {
        (NAMES[0], "prune.heads_protected"),
        (NAMES[1], "prune.no_fewer_heads"),
    }
