"""Answers of several windows of one text."""

import numpy as np
import pytest
import torch

from compress.tasks.metric_quantity import estimate
from compress.tasks.text.answer_metric import ANSWER_F1, EXACT_MATCH, AnswerMetric, text_places
from compress.tasks.text.answer_text import encode_text, encode_texts

TEXT = "Ada met Bob in Paris"
OFFSETS = [(0, 0), (0, 3), (4, 7), (8, 11), (12, 14), (15, 20)]
"""The first token is no part of the text."""


def padded(rows):
    most = max(1, *map(len, rows))
    return torch.tensor([row + [0] * (most - len(row)) for row in rows])


def targets(answers, questions=None, windows=None):
    count = len(answers)
    first, following = (torch.tensor([[pair[side] for pair in OFFSETS]] * count) for side in (0, 1))
    for row, (low, high) in enumerate(windows or []):
        outside = torch.tensor([not low <= place < high for place in range(len(OFFSETS))])
        following[row, outside] = first[row, outside]
    values = {
        "start": torch.zeros(count, dtype=torch.int64),
        "end": torch.zeros(count, dtype=torch.int64),
        "context": padded([encode_text(TEXT)] * count),
        "first_character": first,
        "next_character": following,
        "answers": padded([encode_texts(each) for each in answers]),
    }
    return values if questions is None else values | {"question": torch.tensor(questions)}


def outputs(spans, null=-9.0):
    start, end = (torch.full((len(spans), len(OFFSETS)), -5.0) for _ in range(2))
    for row, (first, last, height) in enumerate(spans):
        start[row, first], end[row, last] = height, height
        start[row, 0], end[row, 0] = null, 0.0
    return {"start_logits": start, "end_logits": end}


def values(given, true, **options):
    return [
        metric.value(metric.scores(given, true).numpy())
        for metric in (AnswerMetric(info, **options) for info in (EXACT_MATCH, ANSWER_F1))
    ]


def test_the_text_of_the_best_span_is_compared():
    given = outputs([(1, 1, 3.0), (3, 5, 3.0)])
    assert values(given, targets([["Ada"], ["Paris", "Rome"]])) == [0.5, pytest.approx((1 + 2 / 4) / 2)]


def test_the_best_window_of_a_question_answers_it():
    true = targets([["Paris"], ["Paris"], ["Bob"]], questions=[7, 7, 2], windows=[(1, 3), (3, 6), (1, 6)])
    given = outputs([(1, 1, 2.0), (5, 5, 3.0), (3, 3, 1.0)])
    assert values(given, true) == [1, 1]
    given = outputs([(1, 1, 4.0), (5, 5, 3.0), (3, 3, 1.0)])
    assert values(given, true) == [0.5, 0.5]


def test_no_answer_is_given_where_its_score_is_higher_in_all_windows():
    true = targets([[], ["Bob"]], questions=[0, 1])
    given = outputs([(1, 1, 1.0), (3, 3, 1.0)], null=5.0)
    assert values(given, true) == [0.5, 0.5]
    assert values(given, true, null_answers=True) == [0.5, 0.5]
    given = outputs([(1, 1, 1.0), (3, 3, 4.0)], null=5.0)
    assert values(given, true, null_answers=True) == [1, 1]


def test_questions_are_drawn_for_the_interval_not_windows():
    generator = torch.Generator().manual_seed(0)
    questions = torch.randint(0, 30, (80,), generator=generator).tolist()
    true = targets([["Ada"] for _ in questions], questions=questions)
    spans = [(1 + int(n) % 5, 1 + int(n) % 5, float(n % 3)) for n in torch.randint(0, 9, (80,), generator=generator)]
    metric = AnswerMetric(EXACT_MATCH)
    scores = metric.scores(outputs(spans), true).numpy()
    assert metric.resampled(scores)(np.ones(80, int)) == pytest.approx(metric.value(scores))
    quantity = estimate(metric, scores, "test")
    assert quantity.low <= quantity.value <= quantity.high


def test_without_text_places_are_compared():
    true = {"start": torch.tensor([2, 1]), "end": torch.tensor([3, 1])}
    given = outputs([(2, 3, 2.0), (1, 2, 2.0)])
    assert values(given, true) == [0.5, pytest.approx((1 + 2 / 3) / 2)]
    assert bool(text_places(true, given["start_logits"]).all())
