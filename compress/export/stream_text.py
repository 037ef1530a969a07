"""Tokens as pieces of text, with their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class GenerationTimes:
    """Times of one text.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        first_token_s: Time to the first token, s; None before it.
        further_s: Time of each further token, s.
        tokens: Numbers of the tokens that were generated.
    """

    prompt_tokens: int
    first_token_s: float | None = None
    further_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


def stream_text(tokens: Iterable[tuple[int, float]], tokenizer: Tokenizer, times: GenerationTimes) -> Iterator[str]:
    """Pieces of a text, as soon as their characters are complete.

    Args:
        tokens: Numbers of tokens, each with its time in s.
        tokenizer: The tokenizer.
        times: Receives tokens and times.
    """
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=True)
    for token, seconds in tokens:
        if times.first_token_s is None:
            times.first_token_s = seconds
        else:
            times.further_s.append(seconds)
        times.tokens.append(token)
        if piece := stream.step(tokenizer, token):
            yield piece
