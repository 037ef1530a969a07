"""Prompts to answer, and written texts. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class GuidedPrompt(NamedTuple):
    """A prompt of a guide.

    Attributes:
        prompt: Its text.
        template: That it was made from.
        reference: The right response; None where none is known.
    """

    prompt: str
    template: str
    reference: str | None = None


class RawText(NamedTuple):
    """A text of a writer.

    Attributes:
        text: The text.
        ended: Whether it ended by itself, and not at the longest length.
    """

    text: str
    ended: bool


@dataclass(frozen=True)
class WrittenText:
    """A text that was written to a prompt.

    Attributes:
        source: Number of the prompt; texts of one prompt have the same.
        prompt: The prompt, without system message and examples.
        template: Of the guide.
        text: The whole text.
        answer: The part of it that answers the prompt, after the reasoning.
        ended: Whether the text ended by itself.
        reference: The right response; None where none is known.
    """

    source: int
    prompt: str
    template: str
    text: str
    answer: str
    ended: bool = True
    reference: str | None = None
