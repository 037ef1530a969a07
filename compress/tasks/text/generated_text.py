"""Settings of the texts that a network writes to validation prompts, in the options of a task. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from compress.core.frozen_model import FrozenModel


class GeneratedText(FrozenModel):
    """Texts that a network writes with its likeliest tokens, which the report compares with the responses of the data.

    Writing takes a pass of the network for each token, in the evaluation of every stage.

    Attributes:
        prompts: Number of validation prompts that are answered, the first ones.
        max_new_tokens: Longest text in tokens.
        answer_after: Texts are compared from the last occurrence of this on, such as `Answer:`, where a network writes its
            reasoning before; None compares whole texts.
    """

    prompts: int = Field(default=128, ge=1, le=100_000)
    max_new_tokens: int = Field(default=64, ge=1, le=100_000)
    answer_after: str | None = Field(default=None, min_length=1)

    def answer(self, text: str) -> str:
        """The part of a text that is compared."""
        return text if self.answer_after is None else text.rpartition(self.answer_after)[2]
