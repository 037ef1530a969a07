"""`MaskedSplit`: texts whose tokens are masked, otherwise in each view of an epoch, and always the same in an evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import torch

from compress.data.batch import TARGET, Batch
from compress.data.text.masking import MaskRule, mask_tokens
from compress.data.text.ragged import Ragged
from compress.data.text.split import IDS, TextSplit

FIXED = 2**31 - 1
"""View of an evaluation."""


class MaskedSplit(TextSplit):
    """Texts of a split, masked. See `compress.data.batch.Split` for the interface.

    Args:
        inputs: `input_ids`, and for pairs `token_type_ids`.
        words: Number of the word of each token; negative for tokens that are never masked.
        rule: How tokens are masked.
        texts: Text of each sample for messages.
        views: Ways that training texts are masked; epoch e has way e mod views, as in RoBERTa (Liu et al. 2019,
            arXiv:1907.11692, section 4.1).
    """

    def __init__(
        self, inputs: Mapping[str, Ragged], words: Ragged, rule: MaskRule, texts: Sequence[str] = (), views: int = 1
    ) -> None:
        super().__init__(inputs, {}, texts, [inputs] * views)
        self.words, self.rule = words, rule
        self.fingerprint = hashlib.sha256(f"{self.fingerprint} {rule} {views}".encode()).hexdigest()

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, always masked in the same way."""
        return (self._masked(batch, FIXED) for batch in super().ordered(batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, masked as in this view."""
        return (self._masked(batch, number % len(self.forms)) for batch in super().view(number, batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches of sequences of similar lengths, masked as in the view of this epoch."""
        return (self._masked(batch, number % len(self.forms)) for batch in super().epoch(number, batch_size, seed))

    def _masked(self, batch: Batch, view: int) -> Batch:
        assert batch.samples is not None  # noqa: S101  # texts have numbers
        words = self.words.padded(batch.samples).numpy()
        ids, target = mask_tokens(batch.inputs[IDS].numpy(), words, batch.samples.numpy(), view, self.rule)
        inputs = {**batch.inputs, IDS: torch.from_numpy(ids)}
        return batch._replace(inputs=inputs, targets={TARGET: torch.from_numpy(target)})
