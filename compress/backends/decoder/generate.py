"""Continue a text token by token."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from compress.backends.decoder.sampling import Sampler

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array


class ReadingSession(Protocol):
    """A network that reads the tokens of one text."""

    @property
    def length(self) -> int:
        """Tokens that were read so far."""

    @property
    def capacity(self) -> int:
        """Most tokens of the text."""

    def start(self) -> None:
        """Begin a new text."""

    def read(self, tokens: Sequence[int]) -> Array:
        """Read the next tokens; logits of the token after the last one are the last row."""


class GeneratedToken(NamedTuple):
    """One token of a text.

    Attributes:
        token: Its number.
        seconds: Time of the run that gave its logits: of the whole prompt for the first token.
    """

    token: int
    seconds: float


def generate(
    session: ReadingSession, prompt: Sequence[int], sampler: Sampler, *, most: int, stops: Collection[int] = ()
) -> Iterator[GeneratedToken]:
    """The tokens after a prompt, up to one that ends the text, which is not among them, or the context of the network.

    Args:
        session: The network; it begins a new text.
        prompt: Token numbers, at least one.
        sampler: Chooses each token.
        most: Most tokens.
        stops: Tokens that end a text.

    Raises:
        ConversionError: The prompt is longer than the context.
    """
    session.start()
    tokens = list(prompt)
    for _ in range(most):
        start = time.perf_counter()
        logits = session.read(tokens)[-1]
        seconds = time.perf_counter() - start
        token = sampler.choose(logits)
        if token in stops:
            return
        yield GeneratedToken(token, seconds)
        if session.length >= session.capacity:
            return
        tokens = [token]
