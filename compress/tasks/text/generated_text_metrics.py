"""Metrics of written texts against reference texts: ROUGE-L, exact match, BLEU, CER. One row of statistics for each text.

exact match   fraction of the texts that are the reference, but for white space at both ends
ROUGE-L       mean of F = 2PR / (P + R),  P = LCS / words of the text,  R = LCS / words of the reference, with the longest
common subsequence LCS of their words; Lin 2004, by the package rouge-score, without stemming
BLEU          100 · BP · exp(¼ Σ_n log p_n) over the n-grams of all texts, n = 1 … 4; Papineni et al. 2002, by the package
sacrebleu with its default tokenization; Post 2018, arXiv:1804.08771
CER           Σ edit distance of text and reference in characters / Σ characters of the references
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import MissingPackageError
from compress.core.language import gettext
from compress.core.record import Metric
from compress.tasks.audio.transcript_metrics import CER
from compress.tasks.edit_distance import edit_distance
from compress.tasks.metric import RatioOfSums, Scores
from compress.tasks.text.answer_metric import EXACT_MATCH

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

ROUGE_L = Metric(name="rouge_l", label="ROUGE-L", unit="fraction", higher_is_better=True)
BLEU_SCORE = Metric(name="bleu", label="BLEU", unit="1", higher_is_better=True)
ORDER = 4
"""Longest n-grams of BLEU."""
_WORD = re.compile(r"[a-z0-9]+|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_a-z0-9\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


class MeanOfTexts:
    """Base class of metrics that are the mean of one number of each text.

    Attributes:
        info: Name, label, unit and direction.
        is_mean: Whether the number is 0 or 1, so that the value is a fraction of the texts.
    """

    info: ClassVar[Metric]
    is_mean: ClassVar[bool] = False

    def value(self, scores: Scores) -> float:
        """The metric of the texts of these statistics."""
        return float(scores.mean()) if len(scores) else float("nan")

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value as a function of how often each text is drawn, (N,)."""
        rows = scores.astype(np.float64)
        return lambda counts: float(counts @ rows / counts.sum())


class SumShare:
    """Sum of a score of the texts as a share of the sum of another network's, Σ a / Σ b; NaN where Σ b is 0.

    Args:
        info: Name, label, unit and direction.

    Attributes:
        is_mean: No.
    """

    is_mean: ClassVar[bool] = False

    def __init__(self, info: Metric) -> None:
        self.info = info

    def value(self, scores: Scores) -> float:
        """The share, of scores a and b of each text, (N, 2)."""
        own, other = scores.sum(axis=0, dtype=np.float64)
        return float(own / other) if other else float("nan")


class GeneratedTextMetric(MeanOfTexts):
    """Base class of metrics of written texts against references."""

    @abstractmethod
    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Scores:
        """Statistics of each text, (N,) for the mean of one number, else (N, S).

        Args:
            texts: Written texts.
            references: The reference of each.

        Raises:
            MissingPackageError: The package of the metric is not installed.
        """


class ExactMatch(GeneratedTextMetric):
    """Fraction of the texts that are the reference."""

    info: ClassVar[Metric] = EXACT_MATCH
    is_mean: ClassVar[bool] = True

    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Scores:
        """1 for a text that is its reference, else 0, (N,)."""
        pairs = zip(texts, references, strict=True)
        return np.array([text.strip() == reference.strip() for text, reference in pairs], dtype=np.float32)


class RougeL(GeneratedTextMetric):
    """ROUGE-L, see the module; words are those of rouge-score, and in other scripts words or single characters of Chinese."""

    info: ClassVar[Metric] = ROUGE_L

    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Scores:
        """F of each text, (N,); 0 where the text or the reference has no word, 1 where both have none."""
        pairs = zip(texts, references, strict=True)
        return np.array([self._score(text, reference) for text, reference in pairs], dtype=np.float64)

    def _score(self, text: str, reference: str) -> float:
        if not words(text) and not words(reference):
            return 1.0
        return float(self._scorer.score(reference, text)["rougeL"].fmeasure)

    @cached_property
    def _scorer(self) -> RougeScorer:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise MissingPackageError("rouge_score", "language", gettext("the metric {name}", name=ROUGE_L.label)) from error
        return RougeScorer(["rougeL"], tokenizer=_Words())


class Bleu(GeneratedTextMetric):
    """BLEU of all texts together, see the module; from 0 to 100."""

    info: ClassVar[Metric] = BLEU_SCORE

    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Scores:
        """Words of text and reference, right n-grams and n-grams of each order, float64 (N, 10)."""
        rows = []
        for text, reference in zip(texts, references, strict=True):
            score = self.scorer.sentence_score(text, [reference])
            rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
        return np.array(rows, dtype=np.float64).reshape(-1, 2 + 2 * ORDER)

    def value(self, scores: Scores) -> float:
        """BLEU of the texts of these statistics."""
        return self._of_sums(scores.sum(axis=0, dtype=np.float64))

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """BLEU as a function of how often each text is drawn."""
        rows = scores.astype(np.float64)
        return lambda counts: self._of_sums(counts @ rows)

    def _of_sums(self, sums: NDArray[np.float64]) -> float:
        counts = [int(count) for count in sums]
        found = self.scorer.compute_bleu(
            counts[2 : 2 + ORDER], counts[2 + ORDER :], counts[0], counts[1], smooth_method="exp", max_ngram_order=ORDER
        )
        return float(found.score)

    @cached_property
    def scorer(self) -> BLEU:
        """That of sacrebleu."""
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as error:
            raise MissingPackageError("sacrebleu", "language", gettext("the metric {name}", name=BLEU_SCORE.label)) from error
        return BLEU(effective_order=True)


def sentence_bleu(text: str, reference: str) -> float:
    """BLEU of a single text, from 0 to 100, with smoothing, and up to the longest n-grams that it has.

    Raises:
        MissingPackageError: sacrebleu is not installed.
    """
    return float(Bleu().scorer.sentence_score(text, [reference]).score)


class CharacterErrors(GeneratedTextMetric):
    """Character error rate, a ratio of sums over the texts, see the module; it can be above 1."""

    info: ClassVar[Metric] = CER

    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Scores:
        """Errors of each text and characters of its reference, float64 (N, 2); white space at both ends is left out."""
        pairs = [(text.strip(), reference.strip()) for text, reference in zip(texts, references, strict=True)]
        rows = [(edit_distance(text, reference), len(reference)) for text, reference in pairs]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def value(self, scores: Scores) -> float:
        """Errors per character of the references."""
        return _RATE.value(scores)

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The rate as a function of how often each text is drawn."""
        return lambda counts: _RATE.value(counts[:, None] * scores)


_RATE = RatioOfSums(CER)
TEXT_METRICS: tuple[GeneratedTextMetric, ...] = (ExactMatch(), RougeL(), Bleu())
"""The metrics of written texts, in the order of reports."""


def words(text: str) -> list[str]:
    """Words of a text in lower case; ASCII as in rouge-score; of Chinese and Japanese each character is a word."""
    return _WORD.findall(text.lower())


class _Words:
    """The tokenizer that rouge-score calls."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)
