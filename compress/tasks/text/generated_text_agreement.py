"""Agreement of the tokens that two networks write to the same prompts. One row of statistics for each text.

greedy agreement    fraction of the tokens of the parent's texts that are the network's likeliest ones, after the parent's
tokens before them; rows as of `PredictedAccuracy`
first divergence    tokens before the first one in which the network's own text differs from the parent's, mean of the texts;
a text that does not differ counts with its length
identical texts     fraction of the texts that do not differ
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import ClassVar

import numpy as np

from compress.core.record import Metric
from compress.tasks.metric import Scores
from compress.tasks.text.generated_text_metrics import MeanOfTexts
from compress.tasks.text.token_metrics import PredictedAccuracy

Tokens = Sequence[int]
AGREEMENT = PredictedAccuracy(Metric(name="greedy_agreement", label="greedy agreement", unit="fraction", higher_is_better=True))


class FirstDivergence(MeanOfTexts):
    """Mean number of tokens before two texts differ."""

    info: ClassVar[Metric] = Metric(name="first_divergence", label="first divergence", unit="1", higher_is_better=True)

    def compare(self, texts: Sequence[Tokens], references: Sequence[Tokens]) -> Scores:
        """Equal tokens before the first different one, float64 (N,).

        Args:
            texts: Tokens of each text.
            references: Tokens of the parent's.
        """
        return np.array([_equal_start(*pair) for pair in zip(texts, references, strict=True)], dtype=np.float64)


class IdenticalTexts(MeanOfTexts):
    """Fraction of the texts whose tokens are all equal."""

    info: ClassVar[Metric] = Metric(name="identical_texts", label="identical texts", unit="fraction", higher_is_better=True)
    is_mean: ClassVar[bool] = True

    def compare(self, texts: Sequence[Tokens], references: Sequence[Tokens]) -> Scores:
        """1 for equal texts, else 0, float32 (N,); arguments as for `FirstDivergence.compare`."""
        return np.array([tuple(text) == tuple(other) for text, other in zip(texts, references, strict=True)], dtype=np.float32)


def _equal_start(text: Tokens, reference: Tokens) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, reference, strict=False)))
