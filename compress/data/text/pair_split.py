"""`PairSplit`: pairs of texts that a network reads one after the other, for vectors of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from compress.data.text.ragged import Ragged
from compress.data.text.split import IDS, MASK, TextSplit

PAIR = "pair_"
"""Prefix of the targets that are the inputs of the second texts."""
SCORE = "score"


class PairSplit(TextSplit):
    """Pairs of texts: the first ones are the inputs, the second ones targets. See `compress.data.batch.Split`.

    Args:
        first: Tokens of the first texts.
        second: Tokens of the second texts.
        scores: Similarity of each pair, float32 (N,); None for pairs that belong together.
        texts: First texts, for messages.
    """

    def __init__(self, first: Ragged, second: Ragged, scores: Tensor | None, texts: Sequence[str] = ()) -> None:
        ones = Ragged(torch.ones_like(second.values), second.offsets, 0)
        targets: Mapping[str, Tensor | Ragged] = {
            f"{PAIR}{IDS}": second,
            f"{PAIR}{MASK}": ones,
            **({} if scores is None else {SCORE: scores}),
        }
        super().__init__({IDS: first}, targets, texts)
        self.second = second

    def _bytes(self, index: int) -> bytes:
        """Both texts: a first text may be in several pairs."""
        return super()._bytes(index) + b"|" + self.second.row(index).numpy().tobytes()
