"""Prompts with their responses as token numbers, for causal language models that learn the responses alone.

    prompt, response ──► template ──► prompt tokens | response tokens, end ──► x_1 … x_T

A sample is one conversation, and is not packed with others. Its targets are the next tokens, x_{t+1} at place t, where these
are of a response, and `UNLABELLED` elsewhere. The token that ends a response is one of its targets, so that a network learns
to stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.batch import BYTES, TARGET, UNLABELLED
from compress.data.text.cells import ChatMessage
from compress.data.text.chat_template import ASSISTANT, USER, ChatTemplate
from compress.data.text.packing import end_token, token_sizes
from compress.data.text.ragged import Ragged
from compress.data.text.settings import Lengths
from compress.data.text.split import IDS, TextSplit
from compress.data.text.table import TextTable
from compress.data.text.tokenizer import Encoded, TextTokenizer

Ints = NDArray[np.int64]
Segments = list[tuple[str, bool]]
"""Parts of a text, each with whether it is a response."""
EXAMPLE_PROMPT = "PROMPT"


class Tokens(NamedTuple):
    """Tokens of a conversation.

    Attributes:
        ids: x, (T,).
        learned: Whether a token is of a response, bool (T,).
        sizes: Bytes of text that each token stands for, (T,).
        start: Place of the first token of the last response.
    """

    ids: Ints
    learned: NDArray[np.bool_]
    sizes: Ints
    start: int


@dataclass(frozen=True)
class ResponseSplit:
    """A split of responses.

    Attributes:
        split: Its samples.
        encoded: Their token numbers.
        facts: About prompts and responses that were cut.
    """

    split: TextSplit
    encoded: Encoded
    facts: tuple[Fact, ...]


def response_split(
    table: TextTable, tokenizer: TextTokenizer, lengths: Lengths, template: ChatTemplate | None, name: str
) -> ResponseSplit:
    """Prompts and responses as tokens, with the tokens of the responses as targets.

    Args:
        table: Prompts as texts with responses as pairs, or conversations as targets.
        tokenizer: The tokenizer.
        lengths: Longest sequence and prompt, and what becomes of longer ones.
        template: Writes a conversation as one text; None for a response that follows its prompt.
        name: Name of the split, for messages.

    Raises:
        DataError: Conversations without a template or a response, a sample that is too long where the settings refuse it, or a
            tokenizer without a token that ends a text.
    """
    rows = [_segments(table, row, template) for row in range(len(table))]
    most = min(lengths.most, tokenizer.max_length)
    limits = lengths.model_copy(update={"most": most})
    ids, targets, sizes, prompts_cut, responses_cut, empty = [], [], [], 0, 0, 0
    for row, whole in enumerate(_tokens(rows, tokenizer)):
        tokens, cut_prompt, cut_response = fitted(whole, limits)
        if limits.overlong == "refuse" and (cut_prompt or cut_response):
            raise DataError(_too_long(table.name(row), whole, limits))
        prompts_cut += cut_prompt
        responses_cut += cut_response
        empty += not tokens.sizes[tokens.learned].any()
        ids.append(tokens.ids[:-1])
        targets.append(np.where(tokens.learned[1:], tokens.ids[1:], UNLABELLED))
        sizes.append(int(tokens.sizes[1:][tokens.learned[1:]].sum()))
    rows_of_ids = Ragged.of(ids, tokenizer.pad_id)  # type: ignore[arg-type]  # arrays of integers
    rows_of_targets = Ragged.of(targets, UNLABELLED)  # type: ignore[arg-type]
    split = TextSplit({IDS: rows_of_ids}, {TARGET: rows_of_targets, BYTES: torch.tensor(sizes)}, table.texts)
    types = Ragged(torch.zeros_like(rows_of_ids.values), rows_of_ids.offsets)
    facts = []
    if prompts_cut:
        facts.append(Fact.of("data.prompts_cut", name, count=prompts_cut, texts=len(table), most=most))
    if responses_cut:
        facts.append(Fact.of("data.responses_cut", name, count=responses_cut, texts=len(table), most=most))
    return ResponseSplit(split, Encoded(rows_of_ids, types, cut=0, empty=empty), tuple(facts))


def around_prompt(tokenizer: TextTokenizer, template: ChatTemplate | None) -> tuple[str, str]:
    """The text before and after a prompt, which a response follows.

    A special token that the tokenizer puts before every text is left out of the text before.

    Args:
        tokenizer: The tokenizer.
        template: Writes a conversation as one text; None for a response that follows its prompt.
    """
    if template is None:
        return "", "\n"
    before, _, after = template.render([ChatMessage(USER, EXAMPLE_PROMPT)], to_answer=True).partition(EXAMPLE_PROMPT)
    for number in leading_tokens(tokenizer):
        before = before.removeprefix(str(tokenizer.tokenizer.id_to_token(int(number))))
    return before, after


def fitted(tokens: Tokens, lengths: Lengths) -> tuple[Tokens, bool, bool]:
    """Tokens that fit, and whether the prompt and the response were cut.

    All but the last token are inputs, so that L + 1 tokens fit, with L = `lengths.most`. A prompt of p tokens before a response
    of a tokens keeps its last min(p, `lengths.prompt`) tokens, without this setting min(p, max(L + 1 − a, L // 2)); the
    response keeps the first ones that fit after these.

    Args:
        tokens: Of a conversation.
        lengths: L, and the longest prompt.
    """
    room = lengths.most + 1
    prompt, answer = tokens.start, len(tokens.ids) - tokens.start
    kept = min(prompt, max(room - answer, lengths.most // 2) if lengths.prompt is None else lengths.prompt)
    places = slice(prompt - kept, min(len(tokens.ids), prompt - kept + room))
    cut = Tokens(tokens.ids[places], tokens.learned[places], tokens.sizes[places], kept)
    return cut, kept < prompt, len(cut.ids) - kept < answer


def leading_tokens(tokenizer: TextTokenizer) -> Ints:
    """Special tokens that the tokenizer puts before every text, such as that of its beginning."""
    (encoding,) = tokenizer.whole_encodings(["a"])
    special = [bool(each) for each in encoding.special_tokens_mask]
    count = special.index(False) if False in special else 0
    return np.asarray(encoding.ids[:count], np.int64)


def _segments(table: TextTable, row: int, template: ChatTemplate | None) -> Segments:
    if table.pairs is None:
        messages = [each for each in table.targets[row] or () if isinstance(each, ChatMessage)] if table.targets else []  # type: ignore[union-attr]
        if template is None:
            msg = gettext(
                "the tokenizer has no chat template, which conversations need; give one as data.chat_template, the path of a "
                ".jinja file or the template itself, use the tokenizer of a chat network, or name columns of prompts and "
                "responses: `columns: {prompt: question, response: answer}`"
            )
            raise DataError(msg)
        return template.segments(messages, table.name(row))
    prompt, response = table.texts[row], table.pairs[row]
    if template is not None:
        return template.segments([ChatMessage(USER, prompt), ChatMessage(ASSISTANT, response)], table.name(row))
    return [(prompt if prompt[-1:].isspace() else f"{prompt}\n", False), (response, True)]


def _tokens(rows: Sequence[Segments], tokenizer: TextTokenizer) -> Iterator[Tokens]:
    """Tokens of each row; parts are encoded apart, so that a response begins with a token of its own."""
    end = end_token(tokenizer)
    lead = leading_tokens(tokenizer)
    texts = [text for segments in rows for text, _ in segments]
    encodings = iter(tokenizer.plain_encodings(texts))
    for segments in rows:
        parts, start, length = [], 0, 0
        for number, (text, is_response) in enumerate(segments):
            encoding = next(encodings)
            ids = np.asarray(encoding.ids, np.int64)
            sizes = token_sizes(text, encoding) if len(ids) else np.zeros(0, np.int64)
            if number == 0 and len(lead) and not np.array_equal(ids[: len(lead)], lead):
                ids, sizes = np.concatenate([lead, ids]), np.concatenate([np.zeros_like(lead), sizes])
            if is_response:
                start = length
                ids, sizes, learned = _ended(ids, sizes, tokenizer, end, is_last=number == len(segments) - 1)
            else:
                learned = np.zeros(len(ids), np.bool_)
            parts.append((ids, learned, sizes))
            length += len(ids)
        ids, learned, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
        if not start:  # a response without a token before it
            ids, learned, sizes = np.insert(ids, 0, end), np.insert(learned, 0, False), np.insert(sizes, 0, 0)
            start = 1
        yield Tokens(ids, learned, sizes, start)


def _ended(
    ids: Ints, sizes: Ints, tokenizer: TextTokenizer, end: int, *, is_last: bool
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """A response up to the special token that ends it, which stands for no text; a last one without such a token gets one."""
    special = np.isin(ids, tokenizer.special_ids)
    places = special.nonzero()[0]
    if len(places):
        last = int(places[0])
        learned = np.arange(len(ids)) <= last
        sizes = np.where(special, 0, sizes)
        return (ids[: last + 1], sizes[: last + 1], learned[: last + 1]) if is_last else (ids, sizes, learned)
    if is_last:
        ids, sizes = np.append(ids, end), np.append(sizes, 0)
    return ids, sizes, np.ones(len(ids), np.bool_)


def _too_long(place: str, tokens: Tokens, lengths: Lengths) -> str:
    return gettext(
        "{place}: a prompt of {prompt} tokens and a response of {response} do not fit into {most} tokens; raise `lengths.most` "
        "or `lengths.prompt`, leave the row out, or cut such texts with `lengths: {{overlong: cut}}`",
        place=place,
        prompt=tokens.start,
        response=len(tokens.ids) - tokens.start,
        most=lengths.most,
    )
