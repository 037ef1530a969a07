"""Splits of tasks whose targets are parts of texts: tags, answers, masked and next tokens, pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.batch import SPLITS, TARGET
from compress.data.settings import NO_TEMPLATE, DataSettings
from compress.data.text.answer_targets import answer_windows
from compress.data.text.masked_split import MaskedSplit
from compress.data.text.masking import MaskRule
from compress.data.text.packing import packed_split
from compress.data.text.pair_split import PairSplit
from compress.data.text.prompt_response import prompt_response_split
from compress.data.text.ragged import Ragged
from compress.data.text.responses import response_split
from compress.data.text.split import IDS, TYPES, TextSplit
from compress.data.text.table import TextTable
from compress.data.text.tag_targets import tag_names, tag_targets
from compress.data.text.targets import encode_targets
from compress.data.text.tokenizer import Encoded, TextTokenizer

MASK_TOKENS = ("[MASK]", "<mask>")
"""Names of the token that hides another one."""


class TaskSplits(NamedTuple):
    """Splits with their targets.

    Attributes:
        splits: Training, validation and test texts.
        encoded: Their token numbers.
        classes: Names of the classes.
        has_second: Whether a sample of the network is two texts.
        facts: About the samples.
    """

    splits: Sequence[TextSplit]
    encoded: Sequence[Encoded]
    classes: tuple[str, ...] = ()
    has_second: bool = False
    facts: tuple[Fact, ...] = ()


Maker = Callable[[Sequence[TextTable], TextTokenizer, DataSettings], TaskSplits]


def task_splits(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits | None:
    """Splits for targets that are parts of texts; None for other targets.

    Args:
        tables: Training, validation and test texts.
        tokenizer: The tokenizer.
        settings: The `data:` block.

    Raises:
        DataError: Targets that do not fit.
    """
    maker = _MAKERS.get(settings.columns.targets or "classes")
    return None if maker is None else maker(tables, tokenizer, settings)


def _tags(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits:  # noqa: ARG001
    names = tag_names(tables)
    encodings = [tokenizer.encodings(table.texts) for table in tables]
    encoded = [tokenizer.pack(each) for each in encodings]
    targets = [tag_targets(each, table, names) for each, table in zip(encodings, tables, strict=True)]
    splits = [
        TextSplit({IDS: each.ids}, {TARGET: target}, table.texts)
        for each, target, table in zip(encoded, targets, tables, strict=True)
    ]
    return TaskSplits(splits, encoded, names)


def _answers(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits:
    windows = [answer_windows(table, tokenizer, settings.lengths.stride) for table in tables]
    has_types = any(bool(each.encoded.types.values.any()) for each in windows)
    splits = [
        TextSplit(
            {IDS: each.encoded.ids, **({TYPES: each.encoded.types} if has_types else {})},
            each.targets,
            [table.texts[row] for row in each.rows],
        )
        for each, table in zip(windows, tables, strict=True)
    ]
    return TaskSplits(splits, [each.encoded for each in windows], has_second=True)


def _masked(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits:
    views = (settings.masking.views, 1, 1)
    made = [masked_split(table, tokenizer, settings, count) for table, count in zip(tables, views, strict=True)]
    splits, encoded = zip(*made, strict=True)
    return TaskSplits(splits, encoded, has_second=tables[0].pairs is not None)


def masked_split(table: TextTable, tokenizer: TextTokenizer, settings: DataSettings, views: int) -> tuple[MaskedSplit, Encoded]:
    """Texts whose tokens are masked, and their token numbers.

    Args:
        table: The texts.
        tokenizer: The tokenizer.
        settings: The `data:` block.
        views: Ways of masking a text.

    Raises:
        DataError: The tokenizer has no token that hides another one.
    """
    masking = settings.masking
    rule = MaskRule(masking.probability, mask_token(tokenizer), tokenizer.vocabulary, masking.whole_words, settings.seed)
    encodings = tokenizer.encodings(table.texts, table.pairs)
    packed = tokenizer.pack(encodings)
    words = Ragged.of([_words(each.word_ids, each.special_tokens_mask) for each in encodings], -1)
    inputs = {IDS: packed.ids, **({TYPES: packed.types} if bool(packed.types.values.any()) else {})}
    return MaskedSplit(inputs, words, rule, table.texts, views), packed


def _words(words: Sequence[int | None], special: Sequence[int]) -> list[int]:
    """Number of the word of each token, −1 for special ones; a token without a word is a word by itself."""
    free = len(words) + max((word for word in words if word is not None), default=0)
    found = [
        -1 if is_special else free + place if word is None else word
        for place, (word, is_special) in enumerate(zip(words, special, strict=True))
    ]
    return found or [-1]


def mask_token(tokenizer: TextTokenizer) -> int:
    """Number of the token that hides another one.

    Raises:
        DataError: The tokenizer has none.
    """
    for name in MASK_TOKENS:
        number = tokenizer.tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    msg = gettext(
        "the tokenizer has no token {names}, which a masked language model needs; use the tokenizer of such a network, or "
        "train one: tokenizer: {{train: wordpiece}}",
        names=" or ".join(MASK_TOKENS),
    )
    raise DataError(msg)


def _next(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits:
    if settings.columns.text_pair is not None:
        msg = gettext("a causal language model reads single texts; leave `columns: {text_pair: …}` out")
        raise DataError(msg)
    if settings.columns.has_responses:
        found = [
            response_split(table, tokenizer, settings.lengths, tokenizer.chat, name)
            for name, table in zip(SPLITS, tables, strict=True)
        ]
        facts = tuple(fact for each in found for fact in each.facts)
        return TaskSplits([each.split for each in found], [each.encoded for each in found], facts=facts)
    length = min(settings.lengths.most, tokenizer.max_length)
    made = [packed_split(table.texts, tokenizer, length, name) for name, table in zip(SPLITS, tables, strict=True)]
    splits, encoded = zip(*made, strict=True)
    return TaskSplits(splits, encoded)


def _responses(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits:
    columns = settings.columns
    if columns.prompt is None or settings.chat_template not in (None, NO_TEMPLATE):
        msg = gettext(
            "sequence_to_sequence reads prompts and writes responses, without a chat template; name both columns: `columns: "
            "{prompt: question, response: answer}`"
        )
        raise DataError(msg)
    if settings.lengths.prompt is not None:
        msg = gettext(
            "sequence_to_sequence reads prompts apart from responses, and `lengths.most` limits each; leave `lengths.prompt` "
            "out"
        )
        raise DataError(msg)
    found = [
        prompt_response_split(table, tokenizer, settings.lengths, name) for name, table in zip(SPLITS, tables, strict=True)
    ]
    facts = tuple(fact for each in found for fact in each.facts)
    return TaskSplits([each.split for each in found], [each.encoded for each in found], facts=facts)


def _pairs(tables: Sequence[TextTable], tokenizer: TextTokenizer, settings: DataSettings) -> TaskSplits:
    if any(table.pairs is None or settings.columns.text_pair is None for table in tables):
        msg = gettext("vectors of texts are judged on pairs; name both columns: `columns: {text: …, text_pair: …}`")
        raise DataError(msg)
    scores: Sequence[torch.Tensor | None] = [None] * len(tables)
    if settings.columns.targets == "scores":
        if any(table.targets is None for table in tables):
            msg = gettext(
                "the pairs have no scores; name their column: `columns: {target: score}`, or use the task "
                "`{embedding: {pairs: matching}}` for pairs that belong together"
            )
            raise DataError(msg)
        scores = [values[:, 0] for values in encode_targets(tables, "values", ("score",))[0]]
        for name, table, values in zip(SPLITS, tables, scores, strict=True):
            if len(missing := values.isnan().nonzero()):  # type: ignore[union-attr]
                msg = gettext(
                    "{place} of the {name} texts has no score; add it, or leave the row out",
                    place=table.name(int(missing[0])),
                    name=name,
                )
                raise DataError(msg)
    splits, encoded = [], []
    for table, values in zip(tables, scores, strict=True):
        first, second = tokenizer.encode(table.texts), tokenizer.encode(table.pairs or ())
        splits.append(PairSplit(first.ids, second.ids, values, table.texts))
        encoded.append(first._replace(cut=first.cut + second.cut, empty=first.empty + second.empty))
    return TaskSplits(splits, encoded)


_MAKERS: dict[str, Maker] = {
    "tags": _tags,
    "answers": _answers,
    "masked": _masked,
    "next": _next,
    "responses": _responses,
    "scores": _pairs,
    "matching": _pairs,
}
