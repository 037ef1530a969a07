"""CIDEr-D of written captions against reference captions, one row of statistics for each image.

    g_k(s) = h_k(s) · log(N / max(1, d_k))          for the n-gram ω_k, which s has h_k times, and d_k of the N references have
    CIDEr-D_n(c, s) = 10 · exp(−(l(c) − l(s))² / 2σ²) · min(g(c), g(s)) · g(s) / (‖g(c)‖ ‖g(s)‖)
    CIDEr-D = mean over the images and n = 1 … 4, with l the number of words and σ = 6

Vedantam et al. 2015, CIDEr, arXiv:1411.5726, section 6, for one reference for each image. Words are those of ROUGE-L.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from compress.core.record import Metric
from compress.tasks.metric import Scores
from compress.tasks.text.generated_text_metrics import GeneratedTextMetric, words

CIDER_D = Metric(name="cider_d", label="CIDEr-D", unit="1", higher_is_better=True)
ORDER, SIGMA, FACTOR = 4, 6.0, 10.0
Grams = list[Counter[tuple[str, ...]]]
"""How often a text has each n-gram, for n = 1 … 4."""


class CiderD(GeneratedTextMetric):
    """CIDEr-D, see the module; from 0 to 10. A text of one word has at most 2.5, as it has no longer n-grams.

    The frequencies d_k are those of all references of a comparison, in each draw of a bootstrap too.
    """

    info: ClassVar[Metric] = CIDER_D

    def compare(self, texts: Sequence[str], references: Sequence[str]) -> Scores:
        """CIDEr-D of each text, float64 (N,)."""
        given, wanted = ([_grams(text) for text in each] for each in (texts, references))
        frequencies = Counter(gram for grams in wanted for counts in grams for gram in counts)
        weights = {gram: math.log(len(wanted) / count) for gram, count in frequencies.items()}
        largest = math.log(max(1, len(wanted)))
        scores = [_similarity(own, other, weights, largest) for own, other in zip(given, wanted, strict=True)]
        return np.array(scores, dtype=np.float64)


def _grams(text: str) -> Grams:
    found = words(text)
    return [Counter(tuple(found[start : start + n]) for start in range(len(found) - n + 1)) for n in range(1, ORDER + 1)]


def _similarity(text: Grams, reference: Grams, weights: dict[tuple[str, ...], float], largest: float) -> float:
    """CIDEr-D of one text.

    Args:
        text: Of the text.
        reference: Of its reference.
        weights: log(N / d_k) of the n-grams of all references.
        largest: The weight of an n-gram that no reference has.
    """
    total = 0.0
    for own, other in zip(text, reference, strict=True):
        c, s = ({gram: count * weights.get(gram, largest) for gram, count in counts.items()} for counts in (own, other))
        norms = math.sqrt(sum(value**2 for value in c.values()) * sum(value**2 for value in s.values()))
        if norms:
            total += sum(min(value, s.get(gram, 0.0)) * s.get(gram, 0.0) for gram, value in c.items()) / norms
    apart = sum(text[0].values()) - sum(reference[0].values())
    return FACTOR * math.exp(-(apart**2) / (2 * SIGMA**2)) * total / ORDER
