"""Images with questions and answers → `Data`: division into splits, tokens, and the specification of a network that answers.

    image, question and answer ──► image, tokens "question ⏎ answer end" ──► targets: the tokens of the answer and its end

A caption answers `REQUEST`, as in LLaVA's first stage of training (Liu et al. 2023, arXiv:2304.08485, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.batch import SPLITS
from compress.data.image_text.build import ImageReaders, divided_pairs, image_splits, pair_spec
from compress.data.image_text.captions import Captions
from compress.data.image_text.split import ImageTextSplit
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.split_checks import find_copies
from compress.data.text.encode import length_facts, make_tokenizer, text_spec, with_template, writer_files
from compress.data.text.responses import around_prompt, response_split
from compress.data.text.split import IDS
from compress.data.text.table import TextTable

REQUEST = "describe the image"
"""Prompt of every caption."""


def build_answer_data(
    splits: Mapping[str, Captions],
    readers: ImageReaders,
    settings: DataSettings,
    origin: DataSource,
    facts: tuple[Fact, ...] = (),
) -> Data:
    """Divide the pairs, encode questions and answers, and read the images.

    Args:
        splits: Pairs of `train`, `val` and `test`, or of `all`.
        readers: Of the images.
        settings: The `data:` block.
        origin: The source.
        facts: About the source.

    Raises:
        DataError: Too few pairs, no tokenizer or one that has no token for most answers, or texts that are too long where the
            settings refuse them.
        MissingPackageError: tokenizers is not installed.
    """
    pairs = divided_pairs(splits, settings)
    tables = [TextTable(part.prompts or [REQUEST] * len(part), pairs=part.texts) for part in pairs]
    tokenizer = with_template(make_tokenizer(settings, tables[0], origin.base), settings, origin.base)
    written = [
        response_split(table, tokenizer, settings.lengths, tokenizer.chat, name)
        for name, table in zip(SPLITS, tables, strict=True)
    ]
    _check_written(sum(each.encoded.empty for each in written), sum(map(len, pairs)), settings.source)
    images = image_splits([readers.of(part.image) for part in pairs], readers, settings)
    train, validation, test = (
        ImageTextSplit(image, each.split.inputs[IDS], each.split.targets, {}, _names(table))
        for image, each, table in zip(images, written, tables, strict=True)
    )
    text = text_spec(tokenizer, settings, (), pairs=False, has_second=False)
    assert text.text is not None  # noqa: S101  # `text_spec` has just made it
    prompt = around_prompt(tokenizer, tokenizer.chat)
    text = text.model_copy(update={"preprocessing": text.text.model_copy(update={"prompt": prompt})})
    cut = tuple(fact for each in written for fact in each.facts)
    return Data(
        pair_spec(images[0], text, settings, readers.resize),
        train,
        validation,
        test,
        source=settings.source,
        warnings=(
            *facts,
            *cut,
            *length_facts([each.encoded for each in written], tokenizer),
            *find_copies(train, validation, test),
        ),
        files=writer_files(tokenizer),
        groups=pairs[2].members,
    )


def _names(table: TextTable) -> list[str]:
    """Question and answer of each row, for messages."""
    return [f"{question} {answer}" for question, answer in zip(table.texts, table.pairs or (), strict=True)]


def _check_written(empty: int, total: int, source: str) -> None:
    """Refuse a tokenizer that has no token for most answers.

    Raises:
        DataError: It has none.
    """
    if empty > total / 2:
        msg = gettext(
            "{source}: the tokenizer has no token for {empty} of {total} answers; use a tokenizer of their language, or train "
            "one: `tokenizer: {{train: bpe, vocabulary: 4000}}`",
            source=source,
            empty=empty,
            total=total,
        )
        raise DataError(msg)
