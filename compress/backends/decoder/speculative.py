"""Speculative decoding with the likeliest tokens: a draft proposes k tokens, and the target reads them in one run.

    draft      d_1 … d_k                         k runs of one token
    target     g_i = argmax p_T(· | y, d_<i)     one run of k + 1 tokens
    accepted   d_1 … d_n, the longest run with d_i = g_i; then g_{n+1} follows

The text is that of the target alone: every token is the likeliest one of the target (Leviathan et al. 2023, arXiv:2211.17192;
here without sampling). Runs of one and of several tokens round differently, so that two tokens of equal logits may exchange.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from compress.core.errors import ConversionError
from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array


class TextSession(Protocol):
    """One text that a network reads piece by piece, such as a `DecoderSession`."""

    length: int

    @property
    def context(self) -> int:
        """Most tokens of a text."""

    def start(self, capacity: int | None = None) -> None:
        """Begin a new text."""

    def read(self, tokens: Sequence[int]) -> Array:
        """Logits of the token after each of the next ones, (L, V), or after the last one, (1, V)."""

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first `length`."""


class SpeculativeRound(NamedTuple):
    """One run of the target.

    Attributes:
        tokens: Tokens of the text that it gave, at least one; the last one is the target's own.
        drafted: Tokens that the draft proposed before.
        logits: Logits of the target after each token that it read in this run, (drafted + 1, V).
        seconds: Time of the draft's runs and that of the target.
    """

    tokens: tuple[int, ...]
    drafted: tuple[int, ...]
    logits: Array
    seconds: float

    @property
    def accepted(self) -> int:
        """Proposed tokens that the target took."""
        return len(self.tokens) - 1


class SpeculativeDecoder:
    """A target and its draft, with the same tokens.

    Args:
        target: Session of a file with the logits of all tokens.
        draft: Session of the draft.
        k: Tokens that the draft proposes, at least 1.

    Raises:
        ConversionError: The networks have other numbers of tokens, or the target gives the logits of the last token alone.
    """

    def __init__(self, target: TextSession, draft: TextSession, k: int) -> None:
        self.target, self.draft, self.k = target, draft, k
        shapes = []
        for session in (target, draft):
            session.start()
            shapes.append(session.read([0, 0]).shape)
        if shapes[0][0] != 2:
            msg = gettext("the target of speculative decoding needs the logits of all tokens; write it with `logits: all`")
            raise ConversionError(msg)
        if shapes[0][1] != shapes[1][1]:
            msg = gettext(
                "the draft has {draft} tokens and the target {target}; both need one tokenizer",
                draft=shapes[1][1],
                target=shapes[0][1],
            )
            raise ConversionError(msg)

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        return min(self.target.context, self.draft.context)

    def rounds(self, prompt: Sequence[int], *, most: int, stops: Collection[int] = ()) -> Iterator[SpeculativeRound]:
        """Rounds until a token ends the text, which is not among the tokens, `most` tokens, or the context.

        Args:
            prompt: Token numbers, at least one.
            most: Most tokens.
            stops: Tokens that end a text.

        Raises:
            ConversionError: The prompt is longer than the context.
        """
        for session in (self.target, self.draft):
            session.start(self.context)
        text, start, count = list(prompt), len(prompt), 0
        while count < most:
            began = time.perf_counter()
            room = min(self.k, most - count - 1, self.context - len(text) - 1) if count else 0
            drafted = self._propose(text, room) if room > 0 else []
            unread = text[self.target.length :]
            logits = self.target.read([*unread, *drafted])[len(unread) - 1 :]
            chosen = [int(row.argmax()) for row in logits]
            accepted = 0
            while accepted < len(drafted) and drafted[accepted] == chosen[accepted]:
                accepted += 1
            tokens = chosen[: accepted + 1]
            seconds = time.perf_counter() - began
            ended = next((index for index, token in enumerate(tokens) if token in stops), None)
            tokens = tokens if ended is None else tokens[:ended]
            text += tokens
            self.target.rewind(min(self.target.length, len(text) - 1))
            self.draft.rewind(min(self.draft.length, len(text) - 1))
            count = len(text) - start
            if tokens:
                yield SpeculativeRound(tuple(tokens), tuple(drafted), logits, seconds)
            if ended is not None or len(text) > self.context:
                return

    def _propose(self, text: Sequence[int], count: int) -> list[int]:
        """The next tokens of the draft."""
        unread, proposed = list(text[self.draft.length :]), list[int]()
        for _ in range(count):
            token = int(self.draft.read(unread)[-1].argmax())
            proposed.append(token)
            unread = [token]
        return proposed


def expected_tokens(acceptance: float, k: int) -> float:
    """Mean number of tokens of a round, (1 − a^{k+1}) / (1 − a): each proposal is taken with the same probability.

    Args:
        acceptance: a in [0, 1].
        k: Proposed tokens.
    """
    return float(k + 1) if acceptance >= 1.0 else (1.0 - acceptance ** (k + 1)) / (1.0 - acceptance)


def expected_speedup(acceptance: float, k: int, draft_cost: float, target_cost: float = 1.0) -> float:
    """Speed-up over the target alone, (1 − a^{k+1}) / ((1 − a) (c k + v)).

    With v = 1 it is that of Liu et al. 2023, arXiv:2310.07177: a run of the target on k + 1 tokens is as long as on one. On a
    processor it is not, so v is measured.

    Args:
        acceptance: a in [0, 1].
        k: Proposed tokens, from 0 on.
        draft_cost: c, time of a run of the draft over that of the target on one token.
        target_cost: v, time of a run of the target on k + 1 tokens over that on one token.
    """
    return expected_tokens(acceptance, k) / (draft_cost * k + target_cost)
