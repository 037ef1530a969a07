"""Reward by common n-grams with the response of the data. Imports no torch.

Shen et al. 2016, Minimum risk training for neural machine translation, arXiv:1512.02433, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.distill.rewards.base import RewardedText, TextReward

if TYPE_CHECKING:
    from compress.core.stage import Context


class BleuReward(TextReward):
    """`bleu`: BLEU of the single text, smoothed, up to the longest n-grams that it has, in [0, 1]."""

    def rewards(self, texts: Sequence[RewardedText], context: Context) -> list[float]:  # noqa: ARG002
        """BLEU / 100 of each text; errors as for the metric."""
        from compress.tasks.text.generated_text_metrics import sentence_bleu

        return [sentence_bleu(each.text, each.reference) / 100.0 for each in texts]
