"""Prompts and responses as token numbers apart, for networks whose encoder reads the one and whose decoder writes the other.

    prompt   ──► x_1 … x_S, end          read by the encoder
    response ──► y_1 … y_T, end          the decoder reads start, y_1 … y_T and its targets are y_1 … y_T, end

The start of a response has the number of the padding token, as in T5 and Marian; a network with another start puts it there.
Raffel et al. 2020, T5, arXiv:1910.10683, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.batch import BYTES, TARGET, UNLABELLED
from compress.data.text.packing import end_token, token_sizes
from compress.data.text.ragged import Ragged
from compress.data.text.responses import ResponseSplit
from compress.data.text.settings import DECODER_IDS, Lengths
from compress.data.text.split import IDS, TextSplit
from compress.data.text.table import TextTable
from compress.data.text.tokenizer import Encoded, TextTokenizer

Ints = NDArray[np.int64]


def prompt_response_split(table: TextTable, tokenizer: TextTokenizer, lengths: Lengths, name: str) -> ResponseSplit:
    """Prompts as inputs of an encoder, responses as inputs and targets of a decoder.

    Both have the special tokens of the tokenizer, and end in the token that ends a text. A longer prompt loses its end but for
    this token, a longer response its end with it.

    Args:
        table: Prompts as texts with responses as pairs.
        tokenizer: The tokenizer.
        lengths: Longest sequence, of prompt and response each, and what becomes of longer ones.
        name: Name of the split, for messages.

    Raises:
        DataError: A text is too long where the settings refuse it, or the tokenizer has no token that ends a text.
    """
    responses = table.pairs or ()
    most = min(lengths.most, tokenizer.max_length)
    prompts, prompt_sizes = _ended(table.texts, tokenizer)
    answers, sizes = _ended(responses, tokenizer)
    long_prompts = [row for row, ids in enumerate(prompts) if len(ids) > most]
    long_answers = [row for row, ids in enumerate(answers) if len(ids) > most]
    if lengths.overlong == "refuse" and (rows := [*long_prompts, *long_answers]):
        raise DataError(_too_long(table.name(rows[0]), len(prompts[rows[0]]), len(answers[rows[0]]), lengths))
    end = end_token(tokenizer)
    ids = Ragged.of([_cut(each, most, end).tolist() for each in prompts], tokenizer.pad_id)
    targets = [each[:most] for each in answers]
    read = [[tokenizer.pad_id, *each[:-1].tolist()] for each in targets]
    split = TextSplit(
        {IDS: ids, DECODER_IDS: Ragged.of(read, tokenizer.pad_id)},
        {
            TARGET: Ragged.of([each.tolist() for each in targets], UNLABELLED),
            BYTES: torch.tensor([int(each[:most].sum()) for each in sizes]),
        },
        table.texts,
    )
    empty = sum(not each.any() for each in prompt_sizes)
    encoded = Encoded(ids, Ragged(torch.zeros_like(ids.values), ids.offsets), cut=0, empty=empty)
    facts = []
    if long_prompts:
        facts.append(Fact.of("data.sources_cut", name, count=len(long_prompts), texts=len(table), most=most))
    if long_answers:
        facts.append(Fact.of("data.answers_cut", name, count=len(long_answers), texts=len(table), most=most))
    return ResponseSplit(split, encoded, tuple(facts))


def source_tokens(prompts: Sequence[str], tokenizer: TextTokenizer, most: int) -> list[Ints]:
    """Tokens of each prompt as an encoder reads them, with the token that ends a text; longer ones are cut.

    Args:
        prompts: The prompts.
        tokenizer: The tokenizer.
        most: Most tokens.
    """
    end = end_token(tokenizer)
    return [_cut(each, most, end) for each in _ended(prompts, tokenizer)[0]]


def _ended(texts: Sequence[str], tokenizer: TextTokenizer) -> tuple[list[Ints], list[Ints]]:
    """Tokens of texts, each with the token that ends it, and the bytes that each token stands for."""
    end = end_token(tokenizer)
    ids, sizes = [], []
    for text, encoding in zip(texts, tokenizer.whole_encodings(texts), strict=True):
        own = np.asarray(encoding.ids, np.int64)
        size = np.zeros(len(own), np.int64) if all(encoding.special_tokens_mask) else token_sizes(text, encoding)
        if not len(own) or own[-1] != end:
            own, size = np.append(own, end), np.append(size, 0)
        ids.append(own)
        sizes.append(size)
    return ids, sizes


def _cut(ids: Ints, most: int, end: int) -> Ints:
    return ids if len(ids) <= most else np.append(ids[: most - 1], end)


def _too_long(place: str, prompt: int, response: int, lengths: Lengths) -> str:
    return gettext(
        "{place}: a prompt of {prompt} tokens or a response of {response} is longer than {most} tokens; raise `lengths.most`, "
        "leave the row out, or cut such texts with `lengths: {{overlong: cut}}`",
        place=place,
        prompt=prompt,
        response=response,
        most=lengths.most,
    )
