"""Targets of texts that name parts of them. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple


class TaggedWord(NamedTuple):
    """A word of a text with its tag.

    Attributes:
        start: Its first character.
        end: The character after its last one.
        tag: Its tag, such as `B-PER`.
    """

    start: int
    end: int
    tag: str


class LabelledSpan(NamedTuple):
    """A part of a text with its label.

    Attributes:
        start: Its first character.
        end: The character after its last one.
        label: Its type, such as `PER`.
    """

    start: int
    end: int
    label: str


class Answer(NamedTuple):
    """A part of a text that answers a question.

    Attributes:
        text: The answer.
        start: Its first character in the text.
    """

    text: str
    start: int


class ChatMessage(NamedTuple):
    """A message of a conversation.

    Attributes:
        role: Who wrote it: `system`, `user`, `assistant`, or another role that the chat template knows.
        content: Its text.
    """

    role: str
    content: str
