"""`TextTokenizer`: a tokenizer that cuts at the longest sequence, and the token numbers of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from compress.core.kept_tokens import KeptTokens
from compress.data.text.chat_template import ChatTemplate
from compress.data.text.prune_vocabulary import prune_vocabulary
from compress.data.text.ragged import Ragged

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_CHUNK = 4096
"""Texts that are encoded together."""


class Encoded(NamedTuple):
    """Token numbers of texts.

    Attributes:
        ids: Tokens.
        types: 1 for the tokens of a second text, else 0.
        cut: Texts that are longer than the longest sequence.
        empty: Texts without a token besides the special ones.
    """

    ids: Ragged
    types: Ragged
    cut: int
    empty: int


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """A tokenizer of the package `tokenizers`, with its padding and the length it cuts at, which are part of its file.

    Attributes:
        tokenizer: The tokenizer.
        max_length: Longest sequence in tokens.
        pad_id: Token that fills shorter sequences.
        has_pad: Whether that is a token for this purpose, and not any token that the attention mask hides.
        kept: The tokens that were left of a larger vocabulary; None for all.
        end_token: Name of the token that ends a text, where its files name one.
        chat: How a conversation becomes one text; None without a template.
        tokens: Special tokens by name, such as `bos_token`, that its files name.
        beside: Contents of further files of its folder, such as a chat template, by name.
    """

    tokenizer: Tokenizer
    max_length: int
    pad_id: int
    has_pad: bool = True
    kept: KeptTokens | None = None
    end_token: str | None = None
    chat: ChatTemplate | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_length: int, pad: str | None, end: str | None = None) -> TextTokenizer:
        """A tokenizer that cuts and pads so, whatever its file said.

        Args:
            tokenizer: Changed in place.
            max_length: Longest sequence in tokens.
            pad: Token that fills shorter sequences; None for none.
            end: Token that ends a text, where it is known.
        """
        number = tokenizer.token_to_id(pad) if pad is not None else None
        tokenizer.enable_truncation(max_length)
        tokenizer.enable_padding(pad_id=number or 0, pad_token=pad if number is not None and pad else "[PAD]")
        return cls(tokenizer, max_length, number or 0, number is not None, end_token=end)

    def pruned(self, texts: Sequence[str]) -> TextTokenizer:
        """The tokenizer without the tokens that texts do not use, see `prune_vocabulary`."""
        tokenizer, kept = prune_vocabulary(self.tokenizer, texts)
        return replace(self, tokenizer=tokenizer, pad_id=int((tokenizer.padding or {}).get("pad_id", 0)), kept=kept, beside={})

    @cached_property
    def special_ids(self) -> list[int]:
        """Numbers of the special tokens."""
        return [number for number, token in self.tokenizer.get_added_tokens_decoder().items() if token.special]

    @property
    def vocabulary(self) -> int:
        """Largest token number, and 1."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1

    @property
    def file(self) -> bytes:
        """Contents of `tokenizer.json`."""
        return self.tokenizer.to_str(pretty=False).encode()

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.file).hexdigest()

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Encoded:
        """Token numbers of texts or pairs of texts, cut at the longest sequence, without padding.

        A text without any token becomes one padding token, which is attended to, so that a network has an input.

        Args:
            texts: N texts.
            pairs: Second texts, (N,); None for single texts.
        """
        ids: list[list[int]] = []
        types: list[list[int]] = []
        cut = empty = 0
        for start in range(0, len(texts), _CHUNK):
            first = texts[start : start + _CHUNK]
            inputs = list(first) if pairs is None else list(zip(first, pairs[start : start + _CHUNK], strict=True))
            for encoding in self._without_padding(inputs):
                cut += bool(encoding.overflowing)
                empty += all(encoding.special_tokens_mask)
                ids.append(encoding.ids or [self.pad_id])
                types.append(encoding.type_ids or [0])
        return Encoded(Ragged.of(ids, self.pad_id), Ragged.of(types), cut, empty)

    def encodings(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokens of texts or pairs with the characters and words that they are of, cut at the longest sequence, not padded.

        Args:
            texts: N texts.
            pairs: Second texts, (N,); None for single texts.
        """
        return self._without_padding(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))

    def whole_encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """As `encodings` of single texts, which are not cut."""
        limits = self.tokenizer.truncation
        self.tokenizer.no_truncation()
        try:
            return self._without_padding(list(texts))
        finally:
            if limits is not None:
                self.tokenizer.enable_truncation(**limits)

    def plain_encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """As `encodings` of single texts, which are not cut and get no special tokens but those that they spell out."""
        limits = self.tokenizer.truncation
        self.tokenizer.no_truncation()
        try:
            return self._without_padding(list(texts), add_special=False)
        finally:
            if limits is not None:
                self.tokenizer.enable_truncation(**limits)

    def pack(self, encodings: Sequence[Encoding], *, cut: int | None = None) -> Encoded:
        """Token numbers of `encodings`.

        Args:
            encodings: Of N texts.
            cut: Number of texts that are cut; None counts those with tokens left over.
        """
        ids = [encoding.ids or [self.pad_id] for encoding in encodings]
        types = [encoding.type_ids or [0] for encoding in encodings]
        empty = sum(all(encoding.special_tokens_mask) for encoding in encodings)
        over = sum(bool(encoding.overflowing) for encoding in encodings) if cut is None else cut
        return Encoded(Ragged.of(ids, self.pad_id), Ragged.of(types), over, empty)

    def _without_padding(self, inputs: list[str] | list[tuple[str, str]], *, add_special: bool = True) -> list[Encoding]:
        padding = self.tokenizer.padding or {}
        self.tokenizer.no_padding()
        try:
            return list(self.tokenizer.encode_batch(inputs, add_special_tokens=add_special))
        finally:
            self.tokenizer.enable_padding(**padding)
