"""Masked tokens of texts, the same ones for equal seeds, whatever the batch.

Of 15 % of the tokens, 80 % become [MASK], 10 % another token, and 10 % stay.
Devlin et al. 2019, arXiv:1810.04805, section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.data.batch import UNLABELLED

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MASKED, REPLACED = 0.8, 0.9
"""Bounds of the draw of a chosen token: below the first it is masked, below the second replaced."""


class MaskRule(NamedTuple):
    """How tokens are masked.

    Attributes:
        probability: Of a token, or of a word, to be chosen.
        mask: Number of the token [MASK].
        vocabulary: Number of tokens.
        whole_words: Whether all tokens of a word are chosen together.
        seed: Of the draws.
    """

    probability: float
    mask: int
    vocabulary: int
    whole_words: bool = False
    seed: int = 0


def mask_tokens(ids: Ints, words: Ints, samples: Ints, view: int, rule: MaskRule) -> tuple[Ints, Ints]:
    """Token numbers with masked ones, and the tokens at the masked places, `UNLABELLED` elsewhere; (N, L) each.

    Args:
        ids: Tokens, (N, L).
        words: Number of the word of each token in its text; negative for tokens that are never masked, (N, L).
        samples: Number of each sample, (N,).
        view: Number of the view.
        rule: The rule.
    """
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    units = words if rule.whole_words else places
    chosen = (words >= 0) & (uniform(rule.seed, view, samples, units, 0) < rule.probability)
    kind = uniform(rule.seed, view, samples, places, 1)
    other = (uniform(rule.seed, view, samples, places, 2) * rule.vocabulary).astype(np.int64)
    changed = np.where(kind < MASKED, rule.mask, np.where(kind < REPLACED, other, ids))
    return np.where(chosen, changed, ids), np.where(chosen, ids, UNLABELLED)


def uniform(seed: int, view: int, samples: Ints, places: Ints, draw: int) -> Floats:
    """A number in [0, 1) for each sample and place, by the finalizer of SplitMix64 (Steele et al. 2014, OOPSLA).

    Args:
        seed: Seed.
        view: View.
        samples: (N,).
        places: (N, L).
        draw: Number of the draw, for several of one place.
    """
    with np.errstate(over="ignore"):
        state = _mixed(np.uint64(seed % 2**32) * np.uint64(2**32) + np.uint64(view % 2**31) * np.uint64(4) + np.uint64(draw))
        state = _mixed(state + samples.astype(np.uint64)[:, None])
        state = _mixed(state + places.astype(np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(state: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    values = np.asarray(state, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
