"""Reward by the longest common subsequence with the response of the data. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.distill.rewards.base import RewardedText, TextReward

if TYPE_CHECKING:
    from compress.core.stage import Context


class RougeLReward(TextReward):
    """`rouge_l`: ROUGE-L of the text, in [0, 1], as in `compress.tasks.text.generated_text_metrics`."""

    def rewards(self, texts: Sequence[RewardedText], context: Context) -> list[float]:  # noqa: ARG002
        """ROUGE-L of each text; errors as for the metric."""
        from compress.tasks.text.generated_text_metrics import RougeL

        found: list[float] = RougeL().compare([each.text for each in texts], [each.reference for each in texts]).tolist()
        return found
