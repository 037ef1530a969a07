"""Texts packed into blocks of equal length, for causal language models.

    texts ──► tokens, a token that ends a text after each ──► one row of T tokens ──► blocks of L tokens

Block i holds the tokens x_{iL} … x_{iL+L−1}, and its targets are the next ones, x_{iL+1} … x_{iL+L}; the last block is shorter.
So every token but the first one is predicted once. A block may hold parts of several texts, and attends to all before it in the
block, as in GPT-2 and GPT-3 (Brown et al. 2020, arXiv:2005.14165, section 2.1): the end-of-text token parts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import BYTES, TARGET, UNLABELLED
from compress.data.text.ragged import Ragged
from compress.data.text.settings import ENDS
from compress.data.text.split import IDS, TextSplit
from compress.data.text.tokenizer import Encoded, TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding

Ints = NDArray[np.int64]


class Stream(NamedTuple):
    """Tokens of texts, one after the other.

    Attributes:
        ids: Tokens, (T,).
        sizes: Bytes of text that each token stands for, (T,); those of a text sum up to its size in UTF-8.
        texts: Number of the text of each token, (T,).
        empty: Texts without a token.
    """

    ids: Ints
    sizes: Ints
    texts: Ints
    empty: int


def end_token(tokenizer: TextTokenizer) -> int:
    """Number of the token that ends a text.

    Raises:
        DataError: The tokenizer has none.
    """
    for name in filter(None, (tokenizer.end_token, *ENDS)):
        number = tokenizer.tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    msg = gettext(
        "the tokenizer has no token that ends a text, such as {names}; add one, name it as `eos_token` in the "
        "tokenizer_config.json beside it, or train a tokenizer: `tokenizer: {{train: bpe, lowercase: false}}`",
        names=", ".join(ENDS[:3]),
    )
    raise DataError(msg)


def token_stream(texts: Sequence[str], tokenizer: TextTokenizer) -> Stream:
    """The tokens of texts, each of which ends in the token for it.

    Args:
        texts: N texts, of any length.
        tokenizer: The tokenizer.
    """
    end = end_token(tokenizer)
    ids, sizes, numbers, empty = [], [], [], 0
    for number, (text, encoding) in enumerate(zip(texts, tokenizer.whole_encodings(texts), strict=True)):
        if all(encoding.special_tokens_mask):
            empty += 1
            continue
        own = np.asarray(encoding.ids, np.int64)
        size = token_sizes(text, encoding)
        if own[-1] != end:
            own, size = np.append(own, end), np.append(size, 0)
        ids.append(own)
        sizes.append(size)
        numbers.append(np.full(len(own), number))
    return Stream(_joined(ids), _joined(sizes), _joined(numbers), empty)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)


def token_sizes(text: str, encoding: Encoding) -> Ints:
    """Bytes of UTF-8 that each token of a text stands for, (L,); characters before a token, such as blanks, count with it.

    Args:
        text: The text.
        encoding: Its tokens, with the characters that they are of.
    """
    place = np.cumsum([0, *(len(letter.encode("utf-8", "replace")) for letter in text)])
    ends = np.maximum.accumulate([place[end] for _, end in encoding.offsets])
    ends[max(index for index, special in enumerate(encoding.special_tokens_mask) if not special) :] = place[-1]
    sizes: Ints = np.diff(ends, prepend=0)
    return sizes


def packed_split(texts: Sequence[str], tokenizer: TextTokenizer, length: int, name: str) -> tuple[TextSplit, Encoded]:
    """Texts as blocks of tokens with the next tokens as targets, and their token numbers.

    Args:
        texts: The texts.
        tokenizer: The tokenizer.
        length: L, tokens of a block.
        name: Name of the split, for messages.

    Raises:
        DataError: The texts are too few, or the tokenizer has no token that ends a text.
    """
    stream = token_stream(texts, tokenizer)
    count = max(0, len(stream.ids) - 1)
    least = 2 if name == "training" else 1
    if -(-count // length) < least:
        msg = gettext(
            "the {name} texts have {tokens} tokens, fewer than {least} blocks of {length}; give more text, or lower "
            "`lengths: {{most: {length}}}`",
            name=name,
            tokens=len(stream.ids),
            least=least,
            length=length,
        )
        raise DataError(msg)
    starts = np.arange(0, count, length)
    offsets = torch.from_numpy(np.append(starts, count))
    ids = Ragged(_values(stream.ids[:-1]), offsets, tokenizer.pad_id)
    targets = Ragged(_values(stream.ids[1:]), offsets, UNLABELLED)
    sizes = torch.from_numpy(np.add.reduceat(stream.sizes[1:], starts))
    split = TextSplit({IDS: ids}, {TARGET: targets, BYTES: sizes}, [texts[number] for number in stream.texts[starts]])
    types = Ragged(torch.zeros_like(ids.values), offsets)
    return split, Encoded(ids, types, cut=0, empty=stream.empty)


def _values(ids: Ints) -> torch.Tensor:
    return torch.from_numpy(ids.astype(np.int32))
