"""Tables of texts → token numbers, targets, and the checks of the splits.

train, validation, test ──► tokenizer (read, or trained on train) ──► token numbers ──► `TextSplit`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec, TextPreprocessing
from compress.core.signature import BATCH, RESPONSE, SEQUENCE, AxisSizes, Signature, TensorSpec
from compress.data.batch import SPLITS, TARGET, Split
from compress.data.settings import DataSettings, DataSource
from compress.data.split_checks import find_copies, find_missing_classes
from compress.data.text.chat_template import TEMPLATE_FILE, chosen_template
from compress.data.text.origin import TextOrigin
from compress.data.text.packing import end_token
from compress.data.text.ragged import Ragged
from compress.data.text.responses import around_prompt
from compress.data.text.settings import DECODER_IDS, FILE, WHOLE, WRITTEN, Columns, PrunedTokenizer, TrainedTokenizer
from compress.data.text.split import IDS, MASK, TYPES, TextSplit
from compress.data.text.table import TextTable
from compress.data.text.targets import encode_targets
from compress.data.text.task_splits import TaskSplits, task_splits
from compress.data.text.tokenizer import Encoded, TextTokenizer
from compress.data.text.tokenizer_files import load_tokenizer
from compress.data.text.train_tokenizer import train_tokenizer


class EncodedTables(NamedTuple):
    """Token numbers and targets of the three splits.

    Attributes:
        tokenizer: Of the token numbers.
        tokens: Token numbers of each split.
        targets: Targets of each split by name.
        classes: Names of the classes or values.
        made: Splits of a task with targets of other forms, in place of `targets`.
    """

    tokenizer: TextTokenizer
    tokens: Sequence[Encoded]
    targets: Sequence[Mapping[str, Tensor | Ragged]]
    classes: Sequence[str]
    made: TaskSplits | None = None


def encode_tables(
    tables: Sequence[TextTable], settings: DataSettings, origin: DataSource, tokenizer: TextTokenizer | None = None
) -> EncodedTables:
    """Token numbers and targets of training, validation and test texts.

    Args:
        tables: The texts.
        settings: The `data:` block.
        origin: The source.
        tokenizer: The tokenizer; None for that of the settings.

    Raises:
        DataError: As for `build_text_data`.
    """
    _check_has_targets(tables[0], settings)
    _check_counts(tables, settings.source)
    tokenizer = tokenizer or make_tokenizer(settings, tables[0], origin.base)
    if settings.columns.has_responses and settings.columns.targets == "next":
        tokenizer = with_template(tokenizer, settings, origin.base)
    if (made := task_splits(tables, tokenizer, settings)) is not None:
        return EncodedTables(tokenizer, made.encoded, (), made.classes, made)
    tokens = [tokenizer.encode(table.texts, table.pairs) for table in tables]
    return EncodedTables(tokenizer, tokens, *_targets(tables, settings.columns))


def with_template(tokenizer: TextTokenizer, settings: DataSettings, base: Path) -> TextTokenizer:
    """The tokenizer with the template that the settings choose.

    Args:
        tokenizer: The tokenizer.
        settings: The `data:` block.
        base: Folder for relative paths.
    """
    end = str(tokenizer.tokenizer.id_to_token(end_token(tokenizer)))
    tokens = {"eos_token": end, "bos_token": "", **tokenizer.tokens}
    return replace(tokenizer, chat=chosen_template(settings, tokenizer.chat, tokens, base))


def _check_has_targets(train: TextTable, settings: DataSettings) -> None:
    """A column of targets that is empty, for which texts are not divided, since those without a target are for training."""
    if settings.columns.targets in WHOLE and train.targets and all(target is None for target in train.targets):
        target = settings.columns.target
        msg = gettext(
            "{source}: no training text has a target in the column {column}; fill it, or name the column of targets, such as "
            "`columns: {{target: label}}`",
            source=settings.source,
            column=target if isinstance(target, str) else ", ".join(target),
        )
        raise DataError(msg)


def _check_counts(tables: Sequence[TextTable], source: str) -> None:
    for name, table, least in zip(SPLITS, tables, (2, 1, 1), strict=True):
        if len(table) < least:
            msg = gettext(
                "{source}: {count} {name} texts, at least {least} needed; add texts, raise `limit`, or change `validation` and "
                "`test`",
                source=source,
                count=len(table),
                name=name,
                least=least,
            )
            raise DataError(msg)


def make_tokenizer(settings: DataSettings, train: TextTable, base: Path) -> TextTokenizer:
    """Read the tokenizer and prune it, or train it on the training texts.

    Raises:
        DataError: There is none.
    """
    choice, most = settings.tokenizer, settings.lengths.most
    writes = settings.columns.targets in WRITTEN
    if choice is None:
        choice = TrainedTokenizer(train="bpe", lowercase=False) if writes else TrainedTokenizer(train="wordpiece")
    if isinstance(choice, TrainedTokenizer):
        return train_tokenizer(choice, [*train.texts, *(train.pairs or ())], most, adds_special=not writes)
    if isinstance(choice, PrunedTokenizer):
        return load_tokenizer(choice.of, base, most).pruned([*train.texts, *(train.pairs or ())])
    return load_tokenizer(choice, base, most)


class TextParts(NamedTuple):
    """The parts of `Data` of texts.

    Attributes:
        spec: Specification of a network for them.
        splits: Training, validation and test.
        facts: About texts that are cut, empty or copies.
        files: Contents of the tokenizer's file by name.
    """

    spec: NetworkSpec
    splits: Sequence[Split]
    facts: tuple[Fact, ...]
    files: Mapping[str, bytes]


def assemble(tables: Sequence[TextTable], encoded: EncodedTables, settings: DataSettings) -> TextParts:
    """The data of encoded texts with their targets, checked.

    Args:
        tables: Training, validation and test texts.
        encoded: Their token numbers and targets.
        settings: The `data:` block.
    """
    tokenizer, tokens, targets, classes, made = encoded
    pairs = any(bool(each.types.values.any()) for each in tokens)
    splits = (
        made.splits
        if made is not None
        else [
            TextSplit({IDS: each.ids, **({TYPES: each.types} if pairs else {})}, target, table.texts)
            for table, each, target in zip(tables, tokens, targets, strict=True)
        ]
    )
    for split, table in zip(splits, tables, strict=True):
        split.origin = TextOrigin(table, tokenizer, settings, tuple(classes))
    labels = dict(zip(SPLITS, (split.labels for split in splits), strict=True))
    judged = {name: values for name, values in labels.items() if values is not None and name != "training"}
    facts = (
        *_unlabelled_fact(tables[0], settings),
        *length_facts(tokens, tokenizer),
        *(() if made is None else made.facts),
        *find_copies(*splits),
        *find_missing_classes(judged, classes),
    )
    has_second = tables[0].pairs is not None if made is None else made.has_second
    spec = text_spec(tokenizer, settings, classes, pairs=pairs, has_second=has_second)
    files = writer_files(tokenizer) if settings.columns.targets in WRITTEN else {FILE: tokenizer.file}
    return TextParts(spec, splits, facts, files)


def writer_files(tokenizer: TextTokenizer) -> dict[str, bytes]:
    """Contents of the files of the tokenizer of a network that writes texts, by name."""
    template = {} if tokenizer.chat is None else {TEMPLATE_FILE: tokenizer.chat.text.encode()}
    return {**tokenizer.beside, FILE: tokenizer.file, **template}


def text_spec(
    tokenizer: TextTokenizer, settings: DataSettings, classes: Sequence[str], *, pairs: bool, has_second: bool
) -> NetworkSpec:
    """Specification of a network for token numbers: int64 (batch, sequence) each.

    Args:
        tokenizer: The tokenizer.
        settings: The `data:` block, with the lengths.
        classes: Names of the classes or values.
        pairs: Whether second texts have a type of their own, so that `token_type_ids` is an input.
        has_second: Whether samples are pairs of texts.
    """
    shape, most = (BATCH, SEQUENCE), tokenizer.max_length
    inputs = [
        TensorSpec(name=IDS, dtype="int64", shape=shape, values=(0, tokenizer.vocabulary - 1)),
        TensorSpec(name=MASK, dtype="int64", shape=shape, values=(1, 1)),  # examples hold no padding
    ]
    if pairs:
        inputs.append(TensorSpec(name=TYPES, dtype="int64", shape=shape, values=(0, 1)))
    sizes = {SEQUENCE: AxisSizes(1, min(settings.lengths.typical, most), most)}
    has_decoder = settings.columns.targets == "responses"
    if has_decoder:
        inputs.append(TensorSpec(name=DECODER_IDS, dtype="int64", shape=(BATCH, RESPONSE), values=inputs[0].values))
        sizes[RESPONSE] = sizes[SEQUENCE]
    writes = settings.columns.targets in WRITTEN
    text = TextPreprocessing(
        tokenizer=tokenizer.sha256,
        max_length=most,
        pad_id=tokenizer.pad_id,
        pairs=has_second,
        kept=tokenizer.kept,
        end_token=str(tokenizer.tokenizer.id_to_token(end_token(tokenizer))) if writes else None,
        prompt=around_prompt(tokenizer, tokenizer.chat) if settings.columns.has_responses and not has_decoder else None,
    )
    return NetworkSpec(signature=Signature(inputs=tuple(inputs), sizes=sizes), classes=tuple(classes), preprocessing=text)


def _targets(tables: Sequence[TextTable], columns: Columns) -> tuple[list[dict[str, Tensor | Ragged]], tuple[str, ...]]:
    if all(table.targets is None for table in tables):
        return [{} for _ in tables], ()
    if missing := [name for name, table in zip(SPLITS, tables, strict=True) if table.targets is None]:
        msg = gettext(
            "the {splits} texts have no targets, those of the other splits have; give the column {target} in all files",
            splits=", ".join(missing),
            target=columns.target,
        )
        raise DataError(msg)
    names = (columns.target,) if isinstance(columns.target, str) else columns.target
    tensors, classes = encode_targets(tables, columns.targets or ("labels" if len(names) > 1 else "classes"), names)
    return [{TARGET: tensor} for tensor in tensors], classes


def _unlabelled_fact(train: TextTable, settings: DataSettings) -> tuple[Fact, ...]:
    """A fact about training texts without a target, unless the recipe withholds targets."""
    count = sum(target is None for target in train.targets or ())
    if not count or settings.labelled is not None or settings.columns.targets not in WHOLE:
        return ()
    first = next(row for row, target in enumerate(train.targets or ()) if target is None)
    return (Fact.of("data.texts_without_target", train.name(first), count=count, texts=len(train)),)


def length_facts(encoded: Sequence[Encoded], tokenizer: TextTokenizer) -> tuple[Fact, ...]:
    """Facts about texts that are cut or empty, and about a tokenizer without a padding token."""
    facts = []
    for name, each in zip(SPLITS, encoded, strict=True):
        if each.cut:
            facts.append(Fact.of("data.texts_cut", name, count=each.cut, texts=len(each.ids), most=tokenizer.max_length))
        if each.empty:
            facts.append(Fact.of("data.texts_empty", name, count=each.empty, texts=len(each.ids)))
    if not tokenizer.has_pad:
        facts.append(Fact.of("data.no_padding_token", "", token=tokenizer.pad_id))
    return tuple(facts)
