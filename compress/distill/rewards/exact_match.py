"""Reward of a text that is the response of the data. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.distill.rewards.base import RewardedText, TextReward

if TYPE_CHECKING:
    from compress.core.stage import Context


class ExactMatchReward(TextReward):
    """`exact_match`: 1 for a text that is the response of the data, but for white space at the ends, else 0."""

    def rewards(self, texts: Sequence[RewardedText], context: Context) -> list[float]:  # noqa: ARG002
        """1 or 0 for each text."""
        return [float(each.text.strip() == each.reference.strip()) for each in texts]
