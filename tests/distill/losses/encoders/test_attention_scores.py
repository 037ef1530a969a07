"""TinyBERT's loss on attention scores against its formula in plain Python."""

import pytest
import torch

from compress.core.errors import ModelError
from compress.distill.losses.encoders.attention_scores import AttentionScores, attention_scores
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens, value_of
from tests.distill.losses.feature_checks import close, draw


def test_the_loss_equals_the_formula():
    s, t = 60 * draw(2, 2, 3, 3), 60 * draw(2, 2, 3, 3, seed=1)
    assert float(s.min()) < -100
    mask = torch.tensor([[True, True, True], [True, True, False]])

    def clamp(value):
        return value if value > -100 else 0.0

    expected = []
    for n, length in enumerate((3, 2)):
        terms = [
            (clamp(s[n, a, i, j].item()) - clamp(t[n, a, i, j].item())) ** 2
            for a in range(2) for i in range(length) for j in range(length)
        ]  # fmt: skip
        expected.append(sum(terms) / len(terms))
    close(attention_scores(s.float(), t.float(), mask), expected)


def test_different_numbers_of_heads_are_refused_or_averaged():
    student, teacher, inputs = encoder(layers=2), encoder(seed=1, layers=4, width=24, heads=3), tokens()
    with pytest.raises(
        ModelError, match=r"the student has 2 heads and the teacher 3 in .*; set heads: mean .* or use `relations`"
    ):
        loss_of(AttentionScores(), student, teacher, inputs)
    assert value_of(AttentionScores(heads="mean"), student, teacher, inputs) > 0
