"""A training split with changed copies of its texts."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.data.batch import UNLABELLED, Split
from compress.data.text.augmentation.base import Resources, TextAugmentation
from compress.data.text.augmentation.copies import Copy, Texts, make_copies, read_copies, texts_of, write_copies
from compress.data.text.augmentation.fitting import FAMILY, misfit
from compress.data.text.cells import LabelledSpan, TaggedWord
from compress.data.text.masked_split import MaskedSplit
from compress.data.text.origin import TextOrigin
from compress.data.text.ragged import Ragged
from compress.data.text.split import TYPES, TextSplit
from compress.data.text.table import TextTable
from compress.data.text.tag_targets import tag_targets
from compress.data.text.task_splits import masked_split


def origin_of(split: Split, methods: Sequence[TextAugmentation]) -> TextOrigin:
    """The texts of a split.

    Args:
        split: The training split.
        methods: That would change its texts.

    Raises:
        DataError: It has no texts, or its targets are lost in a copy.
    """
    origin = getattr(split, "origin", None)
    if not isinstance(origin, TextOrigin):
        msg = gettext("augment of a stage changes texts, and the training samples have none; for images use data.augment")
        raise DataError(msg)
    reason = misfit(methods, origin.settings.columns.targets or "classes")
    if reason is not None:
        raise DataError(reason)
    return origin


def augmented_split(  # each keyword is one input of the copies
    split: TextSplit,
    methods: Sequence[TextAugmentation],
    resources: Resources,
    *,
    seed: int,
    folder: Path,
    teacher_hash: str = "",
    others: Sequence[Split] = (),
) -> tuple[TextSplit, Fact]:
    """The split with copies after its samples, and how many there are.

    The copies are in the folder as `augmented-HASH.jsonl`; a file with the same inputs is read, and not made again.

    Args:
        split: The training texts.
        methods: Of augmentation.
        resources: Tokenizer, teacher and folders.
        seed: Of the copies.
        folder: Of the file.
        teacher_hash: Identity of the teacher, if a method uses it; else empty.
        others: Splits of which no text becomes a copy: validation and test.

    Raises:
        DataError: As for `origin_of`, or no copy could be made.
        CompressError: Of a method.
    """
    origin = origin_of(split, methods)
    excluded: set[Texts] = set()
    for other in others:
        own = getattr(other, "origin", None)
        excluded |= texts_of(own.table) if isinstance(own, TextOrigin) else set()
    path = folder / f"augmented-{_identity(split, origin, methods, resources.base, seed, teacher_hash, excluded)}.jsonl"
    copies = read_copies(path)
    if copies is None:
        tags = origin.settings.columns.targets == "tags"
        copies = list(make_copies(origin.table, methods, resources, seed, excluded, tags=tags))
        if copies:
            write_copies(path, copies)
    if not copies:
        msg = gettext(
            "no changed copy of the {count} training texts could be made: they may have a single word each, or no word with a "
            "candidate; use longer texts or other methods, or raise p",
            count=len(split),
        )
        raise DataError(msg)
    made = Counter(copy.method for copy in copies)
    asked = sum(method.copies for method in methods) * len(split)
    labels = "teacher" if not all(copy.labelled for copy in copies) else "kept"
    fact = Fact.of(
        "data.texts_augmented",
        path.name,
        copies=len(copies),
        texts=len(split),
        methods=", ".join(f"{name} {count}" for name, count in sorted(made.items())),
        left_out=asked - len(copies),
        labels=labels,
    )
    return _with_copies(split, origin, copies), fact


def _identity(  # each argument is one thing that the copies depend on
    split: TextSplit,
    origin: TextOrigin,
    methods: Sequence[TextAugmentation],
    base: Path,
    seed: int,
    teacher: str,
    excluded: set[Texts],
) -> str:
    """Hash of everything that the copies depend on."""
    settings = [(name_of(FAMILY, each), each.model_dump(mode="json"), each.file_hashes(base)) for each in methods]
    held_out = hashlib.sha256(json.dumps(sorted(excluded, key=str)).encode()).hexdigest()
    texts = hashlib.sha256(json.dumps([*origin.table.texts, *(origin.table.pairs or ())]).encode()).hexdigest()
    whole = json.dumps([split.fingerprint, texts, settings, seed, teacher, held_out], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _with_copies(split: TextSplit, origin: TextOrigin, copies: Sequence[Copy]) -> TextSplit:
    """The split with the copies after its samples."""
    table = _table(origin, copies)
    kind = origin.settings.columns.targets or "classes"
    whole = _joined(origin.table, table)
    if isinstance(split, MaskedSplit):
        return masked_split(whole, origin.tokenizer, origin.settings, len(split.forms))[0]
    encodings = origin.tokenizer.encodings(table.texts, table.pairs)
    encoded = origin.tokenizer.pack(encodings)
    forms = {TYPES: encoded.types}
    inputs = {name: rows.joined(forms.get(name, encoded.ids)) for name, rows in split.inputs.items()}
    of_copies: Mapping[str, Tensor | Ragged]
    if kind == "tags":
        tags = tag_targets(encodings, table, origin.classes)
        of_copies = dict.fromkeys(split.targets, tags)
    else:
        of_copies = {name: _targets(each, copies) for name, each in split.targets.items() if isinstance(each, Tensor)}
    targets = {name: _join(each, of_copies[name]) for name, each in split.targets.items()}
    joined = TextSplit(inputs, targets, [*split.texts, *table.texts])
    joined.origin = origin._replace(table=whole)
    return joined


def _table(origin: TextOrigin, copies: Sequence[Copy]) -> TextTable:
    """The copies as texts; with tags, those of labelled ones."""
    pairs = None if origin.table.pairs is None else [copy.text_pair or "" for copy in copies]
    cells = [_cells(origin.table, copy) for copy in copies]
    return TextTable([copy.text for copy in copies], pairs, cells)


def _cells(table: TextTable, copy: Copy) -> list[TaggedWord] | list[LabelledSpan] | None:
    """Tagged words or labelled spans of a copy, as those of its text are."""
    if copy.tags is None or table.targets is None:
        return None
    target = table.targets[copy.row]
    if isinstance(target, list | tuple) and target and isinstance(target[0], TaggedWord):
        return [TaggedWord(*tag) for tag in copy.tags]
    return [LabelledSpan(*tag) for tag in copy.tags]


def _joined(first: TextTable, second: TextTable) -> TextTable:
    pairs = None if first.pairs is None or second.pairs is None else [*first.pairs, *second.pairs]
    return TextTable([*first.texts, *second.texts], pairs)


def _targets(values: Tensor, copies: Sequence[Copy]) -> Tensor:
    """The targets of the texts that the copies are of; without a label `UNLABELLED`, or NaN for values."""
    rows = values[torch.tensor([copy.row for copy in copies])].clone()
    blank = torch.tensor([not copy.labelled for copy in copies])
    rows[blank] = math.nan if values.is_floating_point() else UNLABELLED
    return rows


def _join(first: Tensor | Ragged, second: Tensor | Ragged) -> Tensor | Ragged:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        return first.joined(second)
    assert isinstance(first, Tensor)  # noqa: S101  # the copies have targets of the form of the split's
    assert isinstance(second, Tensor)  # noqa: S101  # likewise
    return torch.cat([first, second])
