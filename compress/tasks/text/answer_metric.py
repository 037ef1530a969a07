"""Metrics of answers to questions: exact match and F1 of words, over windows of long texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.record import Metric
from compress.data.batch import Tensors
from compress.tasks.metric import Scores
from compress.tasks.text.answer_text import best_scores, decode_text, decode_texts
from compress.tasks.text.best_span import best_spans

if TYPE_CHECKING:
    from torch import Tensor

START, END = "start_logits", "end_logits"
START_TARGET, END_TARGET = "start", "end"
QUESTION, CONTEXT, ANSWERS = "question", "context", "answers"
FIRST_CHARACTER, NEXT_CHARACTER = "first_character", "next_character"
EXACT_MATCH = Metric(name="exact_match", label="exact match", unit="fraction", higher_is_better=True)
ANSWER_F1 = Metric(name="answer_f1", label="F1 of answers", unit="fraction", higher_is_better=True)


class _Window(NamedTuple):
    """Columns of the statistics of a window.

    Attributes:
        question: Number of the question, or −1 for one window each, (N,).
        span: Score of the best span, (N,).
        null: Score of no answer, (N,).
        match: Exact match or F1 of the best span, (N,).
        unanswerable: Whether the question has no answer, (N,).
    """

    question: NDArray[np.float64]
    span: NDArray[np.float64]
    null: NDArray[np.float64]
    match: NDArray[np.float64]
    unanswerable: NDArray[np.float64]


class AnswerMetric:
    """Exact match or F1, the mean over the questions of that of the answer of each.

    The answer is the best span of all windows of a text. With answers that may be missing, there is none where the score of the
    first token, start_0 + end_0, is in every window that has an answer above that of the best span of all (Devlin et al. 2019,
    arXiv:1810.04805, section 4.3): min over the windows, as in their script.

    Args:
        info: `EXACT_MATCH` or `ANSWER_F1`.
        null_answers: Whether a question may have no answer.

    Attributes:
        info: Its description.
        is_mean: No: a question may have several windows.
    """

    is_mean: bool = False

    def __init__(self, info: Metric, *, null_answers: bool = False) -> None:
        self.info, self.null_answers = info, null_answers

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Columns of each window, see `_Window`; float64 (N, 5)."""
        import torch

        start, end = outputs[START].double(), outputs[END].double()
        spans = best_spans(start, end, text_places(targets, start))
        matches, unanswerable = _matches(spans.starts.tolist(), spans.ends.tolist(), targets)
        number = targets[QUESTION].double() if QUESTION in targets else torch.full_like(spans.scores, -1)
        match = torch.tensor(matches, dtype=torch.float64)[:, int(self.info == ANSWER_F1)]
        null = (start[:, 0] + end[:, 0]).nan_to_num(-np.inf)
        return torch.stack([number, spans.scores, null, match, torch.tensor(unanswerable, dtype=torch.float64)], dim=1)

    def value(self, scores: Scores) -> float:
        """The mean over the questions."""
        _, values = self._questions(scores)
        return float(values.mean())

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value by how often each window is drawn; a question is drawn as often as its first window."""
        first, values = self._questions(scores)

        def value(counts: NDArray[np.int64]) -> float:
            weights = counts[first]
            return float((weights * values).sum() / weights.sum()) if weights.any() else float("nan")

        return value

    def _questions(self, scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """First window and value of each question."""
        window = _Window(*scores.astype(np.float64).T)
        number = np.where(window.question < 0, np.arange(len(scores)) + window.question.max() + 1, window.question)
        _, first, index = np.unique(number, return_index=True, return_inverse=True)
        order = np.lexsort((window.span, index))
        best = order[np.append(np.flatnonzero(np.diff(index[order])), len(order) - 1)]
        values = window.match[best]
        if self.null_answers:
            null = np.full(len(first), np.inf)
            np.minimum.at(null, index, window.null)
            values = np.where(null > window.span[best], window.unanswerable[best], values)
        return first, values


def text_places(targets: Tensors, logits: Tensor) -> Tensor:
    """Whether each token is one of the text that has the answer, bool (N, L); all tokens where their characters are not known.

    Args:
        targets: With the first character of each token and the one after its last, int64 (N, L); equal for tokens of the
            question, special tokens and padding.
        logits: (N, L).
    """
    import torch

    if FIRST_CHARACTER not in targets:
        return torch.ones_like(logits, dtype=torch.bool)
    return targets[NEXT_CHARACTER] > targets[FIRST_CHARACTER]


def _matches(starts: Sequence[int], ends: Sequence[int], targets: Tensors) -> tuple[list[tuple[float, float]], list[bool]]:
    """Exact match and F1 of a span of each window, and whether its question has no answer."""
    if CONTEXT not in targets:
        places = list(zip(targets[START_TARGET].tolist(), targets[END_TARGET].tolist(), strict=True))
        spans = zip(starts, ends, strict=True)
        return [_overlap(span, each) for span, each in zip(spans, places, strict=True)], [max(each) <= 0 for each in places]
    matches, unanswerable = [], []
    points_of, first_of, following_of, answers_of = (
        targets[name] for name in (CONTEXT, FIRST_CHARACTER, NEXT_CHARACTER, ANSWERS)
    )
    columns = zip(starts, ends, points_of, first_of, following_of, answers_of, strict=True)
    for start, end, points, first, following, answers in columns:
        text = decode_text(points[int(first[start]) : int(following[end])].tolist())
        true = decode_texts(answers.tolist())
        matches.append(best_scores(text, true))
        unanswerable.append(not true)
    return matches, unanswerable


def _overlap(span: tuple[int, int], true: tuple[int, int]) -> tuple[float, float]:
    """Exact match and F1 of places, for data without text."""
    common = max(0, min(span[1], true[1]) - max(span[0], true[0]) + 1)
    return float(span == true), 2 * common / (span[1] - span[0] + true[1] - true[0] + 2)
