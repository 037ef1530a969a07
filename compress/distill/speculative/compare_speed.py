"""Texts and times of a target alone and with its draft, in turns."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from compress.backends.decoder.generate import generate
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import SpeculativeDecoder

DRAWS = 2000


class SpeedComparison(NamedTuple):
    """Result of the comparison.

    Attributes:
        texts: Number of texts.
        identical: Texts with equal tokens.
        ratio: Time of the target alone over that of the pair, sums over all texts.
        low: Lower end of the 95 % bootstrap interval over texts.
        high: Upper end.
    """

    texts: int
    identical: int
    ratio: float
    low: float
    high: float


def compare_speed(
    decoder: SpeculativeDecoder, prompts: Sequence[Sequence[int]], *, most: int, stops: Collection[int]
) -> SpeedComparison:
    """Continue each prompt both ways.

    Args:
        decoder: The pair; its target is a `DecoderSession`.
        prompts: Prompts.
        most: Most tokens of a text.
        stops: Tokens that end a text.

    Raises:
        TypeError: The target is no `DecoderSession`.
    """
    if not isinstance(decoder.target, DecoderSession):
        raise TypeError(type(decoder.target).__name__)
    identical, alone, paired = 0, list[float](), list[float]()
    decoder.target.start(decoder.context)
    for index, prompt in enumerate([prompts[0], *prompts]):
        start = time.perf_counter()
        expected = [each.token for each in generate(decoder.target, prompt, Sampler(), most=most, stops=stops)]
        middle = time.perf_counter()
        found = [token for one in decoder.rounds(prompt, most=most, stops=stops) for token in one.tokens]
        if index:  # the first runs allocate
            alone.append(middle - start)
            paired.append(time.perf_counter() - middle)
            identical += found == expected
    low, high = _interval(np.array(alone), np.array(paired))
    return SpeedComparison(len(prompts), identical, sum(alone) / sum(paired), low, high)


def _interval(alone: np.ndarray, paired: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    rows = rng.integers(len(alone), size=(DRAWS, len(alone)))
    low, high = np.quantile(alone[rows].sum(axis=1) / paired[rows].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)
