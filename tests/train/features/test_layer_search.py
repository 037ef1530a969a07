"""The search of layers by linear CKA."""

import numpy as np
import pytest
import torch

from compress.core.sentences import render
from compress.distill.losses.encoders.hidden_states import HiddenStates
from compress.train.features.layer_search import as_rows, linear_cka, search_layer_map
from compress.train.features.matched_layers import FeatureMatcher
from tests.distill.losses.encoders.encoder_checks import encoder, tokens

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def test_cka_equals_its_form_with_kernels():
    """The form with centred kernel matrices: HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))."""
    x, y = draw(20, 3).numpy(), draw(20, 5).numpy()
    centre = np.eye(20) - 1 / 20
    k, m = (centre @ values @ values.T @ centre for values in (x, y))
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected)


def test_a_rotation_and_a_scale_change_nothing():
    x = draw(30, 4)
    rotation = torch.linalg.qr(draw(4, 4)).Q
    assert linear_cka(x, 3 * x @ rotation) == pytest.approx(1.0)


def test_rows_hold_no_padding():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    tokens_ = draw(2, 3, 4)
    assert torch.equal(as_rows(tokens_, mask), tokens_[mask])
    attention = draw(2, 5, 3, 3)
    assert as_rows(attention, mask).shape == (4 + 9, 5)
    assert as_rows(draw(2, 3, 5, 3, 4), mask).shape == (5, 60)
    assert as_rows(draw(2, 6, 4, 4), None).shape == (2, 6)


def test_the_map_increases_and_has_the_largest_sum():
    layers = [draw(50, 6) for _ in range(4)]
    pairs, similarity = search_layer_map([layers[2], layers[3]], layers, None)
    assert pairs == [(0, 2), (1, 3)]
    assert similarity == pytest.approx([1.0, 1.0])
    crossed, _ = search_layer_map([layers[3], layers[2]], layers, None)
    assert crossed[0][1] < crossed[1][1]
    assert search_layer_map(layers, layers[:2], None)[0] == [(2, 0), (3, 1)]


def test_a_student_of_copied_layers_finds_them():
    teacher, student = encoder(seed=1, layers=4), encoder(layers=2)
    blocks, copies = teacher.network.bert.encoder.layer, student.network.bert.encoder.layer
    student.network.bert.embeddings.load_state_dict(teacher.network.bert.embeddings.state_dict())
    for number in range(2):
        copies[number].load_state_dict(blocks[number].state_dict())
    inputs = tokens(samples=8)
    matcher = FeatureMatcher((HiddenStates(layers="searched"),), student, [teacher], tuple(inputs.values()), search=inputs)
    assert [layers.teacher[-1] for layers in matcher.matched[0][1:]] == ["0", "1"]
    assert all(row["similarity"] == pytest.approx(1.0) for row in matcher.rows())
    fact = next(fact for fact in matcher.facts() if fact.code == "train.layers_searched")
    assert render(fact).startswith("loss 'hidden_states': the layers were chosen by linear CKA on 8 validation samples before")
