"""A torch network as a session of one text, so that a draft can serve while its weights change between texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from compress.backends.runner_protocol import Array
from compress.models.text.task_networks import NextTokens


class ModuleSession:
    """A network that reads a text piece by piece, with keys and values of the tokens before.

    A network that keeps none, or keeps those of a window alone, reads the whole text for each piece.

    Args:
        module: A network of token numbers and mask, on the CPU. Its weights may change before a new text.
        context: Most tokens of a text.
    """

    def __init__(self, module: nn.Module, context: int) -> None:
        self.module, self._context = module, context
        self.length = 0
        self._text: list[int] = []
        self._cache: Any = None
        self._cached = 0

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        return self._context

    def start(self, capacity: int | None = None) -> None:  # noqa: ARG002  # as a `DecoderSession` has it
        """Begin a new text."""
        self.length, self._text, self._cache, self._cached = 0, [], None, 0

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first `length`."""
        self.length = min(length, self.length)

    @torch.no_grad()
    def read(self, tokens: Sequence[int]) -> Array:
        """Logits of the token after each of the next ones, (L, V)."""
        self._text = [*self._text[: self.length], *tokens]
        self.length = len(self._text)
        if isinstance(self.module, NextTokens):
            return self._read_cached(self.module, len(tokens))
        ids = torch.tensor([self._text])
        logits: Array = self.module(ids, torch.ones_like(ids))[0, -len(tokens) :].float().numpy()
        return logits

    def _read_cached(self, module: NextTokens, count: int) -> Array:
        """Logits of the last `count` tokens, from runs of those that are not in the cache."""
        known = min(self._cached, self.length - count)
        if known < self._cached:
            known = known if _shorten(self._cache, self._cached - known) else 0
        if not known:
            self._cache = None
        logits, self._cache = module.extend(torch.tensor([self._text[known:]]), self._cache)
        self._cached = self.length
        result: Array = logits[0, -count:].float().numpy()
        return result


def _shorten(cache: Any, count: int) -> bool:
    """Remove the last tokens of a cache of transformers; False where it has lost some of those before."""
    if any(getattr(layer, "is_sliding", False) for layer in cache.layers):
        return False
    cache.crop(-count)
    return True
