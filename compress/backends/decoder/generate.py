"""Continue a text token by token."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession


class GeneratedToken(NamedTuple):
    """One token of a text.

    Attributes:
        token: Its number.
        seconds: Time of the run that gave its logits: of the whole prompt for the first token.
    """

    token: int
    seconds: float


def generate(
    session: DecoderSession, prompt: Sequence[int], sampler: Sampler, *, most: int, stops: Collection[int] = ()
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
