"""Changed copies of training texts, and their file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compress.core.atomic_files import write_text
from compress.core.registry_field import name_of
from compress.core.seed_of import seed_of
from compress.data.text.augmentation.base import Draw, Resources, TextAugmentation
from compress.data.text.augmentation.fitting import FAMILY
from compress.data.text.augmentation.words import Edited, Words, rebuild, split_words
from compress.data.text.cells import LabelledSpan, TaggedWord
from compress.data.text.table import Cell, TextTable
from compress.data.text.tag_targets import OUTSIDE

CHUNK = 128
"""Texts that are changed together."""
Texts = tuple[str, str | None]
"""A text, and its second text."""
Tags = list[tuple[int, int, str]]


class Copy(NamedTuple):
    """A changed copy of a text.

    Attributes:
        row: Number of the training text.
        method: Name of the method.
        labelled: Whether it has the label of the text.
        text: First text.
        text_pair: Second text; None for single texts.
        tags: Start, end and tag of its words or spans, for labelled copies of texts with tags; else None.
    """

    row: int
    method: str
    labelled: bool
    text: str
    text_pair: str | None = None
    tags: Tags | None = None


def make_copies(
    table: TextTable,
    methods: Sequence[TextAugmentation],
    resources: Resources,
    seed: int,
    excluded: Collection[Texts] = (),
    *,
    tags: bool = False,
) -> Iterator[Copy]:
    """Copies of each text by each method; equal ones, and those that are excluded, are left out.

    Of a pair, every other copy changes the first text, and the others the second one; the other text of the pair stays.

    Args:
        table: The training texts.
        methods: The methods.
        resources: Tokenizer, teacher and folders.
        seed: Of the choices; each text, method and copy has its own.
        excluded: Texts that no copy may be, such as those of the test.
        tags: Whether the targets are tags of words.

    Raises:
        CompressError: Of a method.
    """
    seen: dict[int, set[Texts]] = {}
    for number, method in enumerate(methods):
        edit = method.editor(resources)
        name = name_of(FAMILY, method)
        for start in range(0, len(table), CHUNK):
            rows = range(start, min(len(table), start + CHUNK))
            sides = _sides(table, rows, resources, fixed=tags and method.keeps_label)
            draws = [edit(side) for side in sides]
            for place, row in enumerate(rows):
                own = [(side[place], draw[place]) for side, draw in zip(sides, draws, strict=True)]
                known = seen.setdefault(row, {_texts(table, row)})
                for turn in range(method.copies):
                    rng = np.random.default_rng(seed_of("text_augmentation", seed, number, name, row, turn))
                    copied, edited = _copy(_texts(table, row), own, turn, rng)
                    if copied in known or copied in excluded or not copied[0].strip():
                        continue
                    known.add(copied)
                    moved = _moved(table.targets[row], edited) if tags and method.keeps_label and table.targets else None
                    yield Copy(row, name, method.keeps_label, *copied, moved)


def _texts(table: TextTable, row: int) -> Texts:
    return table.texts[row], None if table.pairs is None else table.pairs[row]


def texts_of(table: TextTable) -> set[Texts]:
    """All texts, or pairs of texts."""
    return {_texts(table, row) for row in range(len(table))}


def _sides(table: TextTable, rows: Sequence[int], resources: Resources, *, fixed: bool) -> list[list[Words]]:
    """Words of the first texts, and of the second ones of pairs."""
    sides = [[texts[row] for row in rows] for texts in (table.texts, table.pairs) if texts is not None]
    words = [split_words(resources.tokenizer, texts) for texts in sides]
    if fixed and table.targets is not None:
        words[0] = [_with_fixed(each, table.targets[row]) for each, row in zip(words[0], rows, strict=True)]
    return words


def _with_fixed(words: Words, target: Cell) -> Words:
    """The words, of which those with another tag than `O` do not change."""
    named = [(start, end) for start, end, tag in _spans(target) if tag != OUTSIDE]
    inside = [any(start < last and first < end for start, end in named) for first, last in words.spans]
    return Words(words.text, words.spans, frozenset(index for index, is_named in enumerate(inside) if is_named))


def _spans(target: Cell) -> Tags:
    parts = target if isinstance(target, list | tuple) else ()
    return [(each[0], each[1], each[2]) for each in parts if isinstance(each, TaggedWord | LabelledSpan)]


def _copy(texts: Texts, own: Sequence[tuple[Words, Draw]], turn: int, rng: np.random.Generator) -> tuple[Texts, Edited]:
    """The texts of a copy, and the change."""
    side = turn % len(own)
    words, draw = own[side]
    edited = rebuild(words, draw(rng))
    return ((edited.text, texts[1]) if side == 0 else (texts[0], edited.text)), edited


def _moved(target: Cell, edited: Edited) -> Tags:
    """Tagged words and spans at their places in the copy, without removed ones."""
    places = [(edited.place(start, end), tag) for start, end, tag in _spans(target)]
    return [(*place, tag) for place, tag in places if place is not None and place[1] > place[0]]


def write_copies(path: Path, copies: Iterable[Copy]) -> None:
    """Write copies as JSON lines, with the columns of `Copy`."""
    lines = [json.dumps(copy._asdict(), ensure_ascii=False) for copy in copies]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_copies(path: Path) -> list[Copy] | None:
    """The copies of a file; None without a file, or with a damaged one."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return [
            Copy(**{**row, "tags": None if row["tags"] is None else [(a, b, tag) for a, b, tag in row["tags"]]}) for row in rows
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return None
