"""Vectors of words from a network's table of tokens, and the nearest ones of a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.augmentation.words import special_tokens
from compress.data.text.tokenizer import TextTokenizer

_BEFORE = "a"
"""Text before a blank and a word, so that its tokens are those of a word within a text."""
_CHUNK = 512
_FORMS = 8
"""Forms of a word in upper and lower case, which are no neighbours of it."""


def pieces(tokenizer: TextTokenizer, words: Sequence[str]) -> list[list[int]]:
    """Tokens of each word within a text, with that of the blank before it where the blank is a token.

    Args:
        tokenizer: The tokenizer.
        words: W words.
    """
    encodings = tokenizer.encodings([f"{_BEFORE} {word}" for word in words])
    return [[token for token, (_, end) in zip(each.ids, each.offsets, strict=True) if end > len(_BEFORE)] for each in encodings]


def whole_words(tokenizer: TextTokenizer) -> dict[int, str]:
    """Tokens that are a word of letters by themselves, with the word: no special tokens and no parts of words."""
    special = special_tokens(tokenizer)
    numbers = [number for number in sorted(tokenizer.tokenizer.get_vocab().values()) if number not in special]
    words = [tokenizer.tokenizer.decode([number]).strip() for number in numbers]
    alone = pieces(tokenizer, words)
    rows = zip(numbers, words, alone, strict=True)
    return {number: word for number, word, own in rows if word.isalpha() and own == [number]}


def token_table(module: nn.Module, vocabulary: int) -> Tensor:
    """The vectors of all tokens, float32 (V, D), on the CPU.

    Args:
        module: A network; the first `nn.Embedding` with V rows, or rows of a larger one that `module.numbers` maps tokens to.
        vocabulary: V.

    Raises:
        DataError: It has none.
    """
    tables = [part.weight.detach() for part in module.modules() if isinstance(part, nn.Embedding)]
    found = next((table for table in tables if len(table) == vocabulary), None)
    numbers = getattr(module, "numbers", None)
    if found is None and isinstance(numbers, Tensor) and len(numbers) == vocabulary:
        found = max(tables, key=len)[numbers]
    if found is None:
        msg = gettext(
            "the network has no table with a vector for each of the {count} tokens of the data; name a file of word vectors as "
            "the source, or use the tokenizer of the network",
            count=vocabulary,
        )
        raise DataError(msg)
    return found.float().cpu()


class Neighbours:
    """The words whose vectors are nearest by cosine.

    Args:
        words: W words.
        vectors: Their vectors, float32 (W, D).
        k: How many.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor, k: int) -> None:
        self.words, self.k = list(words), k
        self.unit = nn.functional.normalize(vectors, dim=1)
        self._folded = [word.casefold() for word in self.words]

    def of(self, word: str, vector: Tensor) -> tuple[str, ...]:
        """The k nearest words in the order of falling cosine, without the word itself in any case.

        Args:
            word: The word.
            vector: Its vector, (D,).
        """
        if not len(self.words):
            return ()
        likeness = self.unit @ nn.functional.normalize(vector, dim=0)
        order = likeness.topk(min(len(self.words), self.k + _FORMS)).indices.tolist()
        return tuple([self.words[index] for index in order if self._folded[index] != word.casefold()][: self.k])


class TokenNeighbours:
    """Nearest whole words of a table of tokens; the vector of a word is the mean of those of its tokens.

    Args:
        tokenizer: The tokenizer.
        table: A vector for each token, float32 (V, D).
        k: How many.
    """

    def __init__(self, tokenizer: TextTokenizer, table: Tensor, k: int) -> None:
        self.tokenizer, self.table = tokenizer, table
        self.unknown = special_tokens(tokenizer)
        self.words = whole_words(tokenizer)
        self.nearest = Neighbours(list(self.words.values()), table[torch.tensor(list(self.words), dtype=torch.int64)], k)
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Neighbours of each word; none of a word with an unknown token."""
        wanted = sorted(set(words))
        new = [word for word in wanted if word not in self._known]
        for start in range(0, len(new), _CHUNK):
            chunk = new[start : start + _CHUNK]
            for word, tokens in zip(chunk, pieces(self.tokenizer, chunk), strict=True):
                known = bool(tokens) and not self.unknown & set(tokens)
                self._known[word] = self.nearest.of(word, self.table[tokens].mean(0)) if known else ()
        return {word: self._known[word] for word in wanted}
