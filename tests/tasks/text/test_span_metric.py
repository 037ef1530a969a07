"""Span F1 against counts of entities one by one."""

import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.core.network_spec import LOGITS
from compress.data.batch import TARGET
from compress.tasks.metric_quantity import estimate
from compress.tasks.text.span_metric import SpanF1, TokenAccuracy, constant_span_f1, type_f1s
from tests.tasks.text.test_spans import BIO, entities


def logits_of(tags: torch.Tensor, count: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(tags.clamp(min=0), count).float()


def random_tags(samples: int = 60, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """True tags, some of them without one, and the tags of a network that is right for most."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, len(BIO), (samples, length), generator=generator)
    named = torch.where(torch.rand(true.shape, generator=generator) < 0.7, true, torch.randint(0, len(BIO), true.shape))
    true[torch.rand(true.shape, generator=generator) < 0.2] = -1
    true[:, -2:] = -100
    return true, named


def test_f1_is_that_of_counted_entities():
    true, named = random_tags()
    metric = SpanF1(BIO)
    scores = metric.scores({LOGITS: logits_of(named, len(BIO))}, {TARGET: true}).numpy()
    right = total = 0
    for row, answer in zip(true.tolist(), named.tolist(), strict=True):
        kept = [place for place, tag in enumerate(row) if tag >= 0]
        expected, given = (entities([BIO[tags[place]] for place in kept]) for tags in (row, answer))
        right += len(expected & given)
        total += len(expected) + len(given)
    assert metric.value(scores) == pytest.approx(2 * right / total)
    assert metric.resampled(scores)(np.ones(len(scores), int)) == pytest.approx(metric.value(scores))
    assert estimate(metric, scores, "test").low is not None


def test_a_part_of_an_entity_is_wrong():
    true = torch.tensor([[1, 2, 2, 0]])
    for named in ([1, 2, 0, 0], [0, 1, 2, 0], [1, 2, 2, 2], [3, 4, 4, 0], [1, 1, 2, 0]):
        metric = SpanF1(BIO)
        scores = metric.scores({LOGITS: logits_of(torch.tensor([named]), len(BIO))}, {TARGET: true}).numpy()
        assert metric.value(scores) == 0


def test_logits_that_are_not_finite_are_wrong():
    true, _ = random_tags()
    z = logits_of(true, len(BIO))
    z[0] = float("nan")
    scores = SpanF1(BIO).scores({LOGITS: z}, {TARGET: true}).numpy()
    assert scores[0, :2].sum() == 0
    assert SpanF1(BIO).value(scores[1:]) == 1
    rows = TokenAccuracy().scores({LOGITS: z}, {TARGET: true})
    assert rows[0, 0] == 0 < rows[0, 1]
    assert TokenAccuracy().value(rows[1:].numpy()) == 1


def test_the_constant_answer_is_the_best_of_all_tags():
    true, _ = random_tags()
    metric = SpanF1(BIO)
    values = []
    for tag in range(len(BIO)):
        named = torch.full_like(true, tag)
        named[:, 1::2] = tag if tag == 0 else tag - (tag + 1) % 2  # each token an entity by itself: B, B, B, …
        values.append(metric.value(metric.scores({LOGITS: logits_of(named, len(BIO))}, {TARGET: true}).numpy()))
    scores = metric.scores({LOGITS: logits_of(true, len(BIO))}, {TARGET: true}).numpy()
    assert constant_span_f1(scores) == pytest.approx(max(values[1], values[3]))


def test_types_have_their_own_f1():
    true = torch.tensor([[1, 2, 0, 3], [0, 0, 3, 4]])
    named = torch.tensor([[1, 2, 0, 0], [0, 0, 0, 0]])
    values = type_f1s(SpanF1(BIO).scores({LOGITS: logits_of(named, len(BIO))}, {TARGET: true}).numpy())
    assert values.values.tolist() == [1, 0]
    assert values.right.tolist() == [1, 0]
    assert values.samples.tolist() == [1, 2]


def test_without_tags_it_says_what_to_do():
    true, named = random_tags(2)
    with pytest.raises(DataError, match="for_spec"):
        SpanF1().scores({LOGITS: logits_of(named, len(BIO))}, {TARGET: true})
