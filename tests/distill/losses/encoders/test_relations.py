"""MiniLM's relations against their formulas in plain Python."""

import math

import pytest
import torch

from compress.core.errors import ModelError
from compress.distill.losses.encoders.relations import Relations, ValueRelation, relation_divergence, relation_heads
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens, value_of
from tests.distill.losses.feature_checks import close, draw
from tests.reference import kl_divergence, softmax


def reference(s, t, heads, length):
    """Mean over heads and rows of KL(R_t ‖ R_s) of one sample, lists of lists."""

    def rows(x, head):
        d = len(x[0]) // heads
        part = [row[head * d : (head + 1) * d] for row in x[:length]]
        return [softmax([sum(a * b for a, b in zip(p, q, strict=True)) / math.sqrt(d) for q in part]) for p in part]

    values = [kl_divergence(p_t, p_s) for head in range(heads) for p_t, p_s in zip(rows(t, head), rows(s, head), strict=True)]
    return sum(values) / len(values)


def test_the_divergence_equals_the_formula():
    s, t = draw(2, 3, 4), draw(2, 3, 8, seed=1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    expected = [reference(s[n].tolist(), t[n].tolist(), 2, length) for n, length in enumerate((3, 2))]
    close(relation_divergence(s.float(), t.float(), heads=2, mask=mask), expected)


def test_minilm_and_its_second_version_compare_the_networks_own_values():
    student, teacher, inputs = encoder(layers=2), encoder(seed=1, layers=4, width=24), tokens()
    parts = {}
    for network, layer in ((student, 1), (teacher, 3)):
        attention = network.network.bert.encoder.layer[layer].attention.self
        for name in ("query", "key", "value"):
            getattr(attention, name).register_forward_hook(lambda _, __, out, n=(layer, name): parts.__setitem__(n, out))
    value, _ = loss_of(ValueRelation(), student, teacher, inputs)
    lengths = inputs["attention_mask"].sum(1).tolist()

    def expected(name):
        s, t = parts[1, name].tolist(), parts[3, name].tolist()
        return sum(reference(a, b, 2, length) for a, b, length in zip(s, t, lengths, strict=True)) / 3

    close(value.detach(), expected("value"))
    every, _ = loss_of(Relations(), student, teacher, inputs)
    close(every.detach(), sum(map(expected, ("query", "key", "value"))))
    query, _ = loss_of(Relations(of=["query"]), student, teacher, inputs)
    close(query.detach(), expected("query"))


def test_networks_with_other_heads_meet_in_relation_heads():
    student, teacher = encoder(layers=2), encoder(seed=1, layers=2, width=24, heads=3)
    with pytest.raises(ModelError, match=r"3 relation heads do not divide the widths 16 .* and 24 .*that do: 1, 2, 4, 8"):
        loss_of(Relations(heads=3), student, teacher, tokens())
    assert value_of(Relations(heads=4), student, teacher, tokens()) > 0
    assert value_of(Relations(), student, teacher, tokens()) > 0
    assert relation_heads((12, 26), (12, 64), None) == 12
    assert relation_heads((2, 8), (3, 8), None) == 2
    assert relation_heads((3, 5), (2, 8), None) == 1


def test_a_mean_of_queries_is_no_query():
    with pytest.raises(ValueError, match="layers"):
        Relations(layers="learned")
