"""Rewards of tokens from those of whole texts: the last token has that of the text, the others 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.distill.rewards.base import RewardedText, TextReward

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from compress.core.stage import Context


class TokenRewards:
    """Rewards of the tokens of texts.

    Args:
        reward: Of whole texts.
        tokenizer: Of the tokens.
        context: Of the stage.
    """

    def __init__(self, reward: TextReward, tokenizer: Tokenizer, context: Context) -> None:
        self.reward, self.tokenizer, self.context = reward, tokenizer, context

    def of(self, prompts: Sequence[Tensor], texts: Sequence[Tensor], references: Sequence[Tensor]) -> list[Tensor]:
        """The reward of each token of each text, float32 (T,); errors as for the reward.

        Args:
            prompts: Tokens of the prompts.
            texts: Tokens of the texts, with their end.
            references: Tokens of the responses of the data.
        """
        decoded = [
            RewardedText(*(self.tokenizer.decode(tokens.tolist()) for tokens in row))
            for row in zip(prompts, texts, references, strict=True)
        ]
        rewards = []
        for tokens, value in zip(texts, self.reward.rewards(decoded, self.context), strict=True):
            row = torch.zeros(len(tokens), device=tokens.device)
            row[-1] = value
            rewards.append(row)
        return rewards
