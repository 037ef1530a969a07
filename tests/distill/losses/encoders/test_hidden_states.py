"""Losses on hidden states against their formulas in plain Python."""

import math

import pytest
import torch

from compress.core.errors import ModelError
from compress.distill.losses.encoders.hidden_states import HiddenCosine, HiddenStates, hidden_cosine, hidden_states
from compress.train.loss_term import MatchedLayers
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens, value_of
from tests.distill.losses.feature_checks import close, draw

MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_the_mean_square_equals_the_formula():
    s, t = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    expected = [
        sum((s[n, i, d] - t[n, i, d]).item() ** 2 for i in kept for d in range(4)) / (len(kept) * 4)
        for n, kept in enumerate(([0, 1, 2], [0]))
    ]
    close(hidden_states(s.float(), t.float(), MASK), expected)


def test_the_cosine_equals_the_formula():
    s, t = draw(2, 3, 4), draw(2, 3, 4, seed=1)

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    expected = [
        sum(1 - cosine(s[n, i].tolist(), t[n, i].tolist()) for i in kept) / len(kept) for n, kept in enumerate(([0, 1, 2], [0]))
    ]
    close(hidden_cosine(s.float(), t.float(), MASK), expected)


def test_one_map_serves_all_layers_or_each_has_its_own():
    student, teacher = encoder(layers=2), encoder(seed=1, layers=4, width=24)
    _, shared = loss_of(HiddenStates(), student, teacher, tokens())
    assert sorted(tuple(p.shape) for p in shared.loss_modules.parameters()) == [(24,), (24, 16)]
    _, own = loss_of(HiddenStates(projection="per_layer"), student, teacher, tokens())
    assert len(list(own.loss_modules.parameters())) == 6


def test_the_loss_is_the_mean_over_layers_of_the_projected_states():
    student, teacher, inputs = encoder(layers=2), encoder(seed=1, layers=4, width=24), tokens()
    loss, matcher = loss_of(HiddenStates(), student, teacher, inputs)
    states_s, states_t = (net.network(**inputs, output_hidden_states=True).hidden_states for net in (student, teacher))
    linear, mask = matcher.loss_modules["0"][0], inputs["attention_mask"].bool()
    values = []
    for m, n in ((0, 0), (1, 2), (2, 4)):
        squares = (linear(states_s[m]) - states_t[n]).square().mean(-1)
        values.append(torch.stack([squares[k][mask[k]].mean() for k in range(3)]).mean())
    torch.testing.assert_close(loss, torch.stack(values).mean())
    cosine, matcher = loss_of(HiddenCosine(), student, teacher, inputs)
    projected = matcher.loss_modules["0"][0](states_s[2])
    angles = 1 - torch.nn.functional.cosine_similarity(projected, states_t[4], dim=-1)
    torch.testing.assert_close(cosine, torch.stack([angles[k][mask[k]].mean() for k in range(3)]).mean())


def test_one_map_needs_one_width():
    student = encoder("electra", layers=2)
    pairs = [MatchedLayers("embeddings", (6, 8), "embeddings", (6, 24)), MatchedLayers("0", (6, 16), "0", (6, 24))]
    with pytest.raises(ModelError, match=r"these are 8→24, 16→24; set projection: per_layer, or embeddings: false"):
        HiddenStates().prepare(pairs, 8)
    assert value_of(HiddenStates(embeddings=False), student, encoder(seed=1, width=24), tokens()) > 0


def test_maps_are_no_hidden_states():
    with pytest.raises(ModelError, match=r"hidden states are tokens \(L, D\)"):
        HiddenCosine().prepare([MatchedLayers("a", (3, 4, 4), "b", (3, 4, 4))], 8)
