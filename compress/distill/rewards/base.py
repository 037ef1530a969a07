"""Interface of rewards of texts. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from compress.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from compress.core.stage import Context


class RewardedText(NamedTuple):
    """A text to be judged.

    Attributes:
        prompt: Its prompt.
        text: The text that the student wrote.
        reference: The response of the data.
    """

    prompt: str
    text: str
    reference: str


class TextReward(FrozenModel):
    """A reward of a whole text, which no gradient passes through."""

    def rewards(self, texts: Sequence[RewardedText], context: Context) -> list[float]:
        """The reward of each text, finite.

        Args:
            texts: Texts of the student.
            context: Of the stage.

        Raises:
            CompressError: A reward cannot be computed.
        """
        msg = f"{type(self).__name__} must define `rewards`"
        raise NotImplementedError(msg)
