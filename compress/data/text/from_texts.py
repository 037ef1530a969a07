"""Texts of the caller's own as `Data`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.settings import DataSettings, DataSource
from compress.data.text.encode import TextParts, assemble, encode_tables
from compress.data.text.settings import Columns, Lengths, Targets, TrainedTokenizer
from compress.data.text.table import Cell, TextTable
from compress.data.text.tokenizer import TextTokenizer
from compress.data.text.tokenizer_files import pad_token

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Sample = str | tuple[str, Cell] | tuple[str, str, Cell]
"""A text, a text with its target, or two texts with their target."""


def parts_of_texts(
    splits: Sequence[Sequence[Sample]],
    tokenizer: Tokenizer | TrainedTokenizer | str | Path,
    targets: Targets,
    names: Sequence[str],
    lengths: Lengths,
) -> TextParts:
    """The parts of the data of samples; arguments and errors as of `Data.from_texts`."""
    tables = [_table(samples, name) for samples, name in zip(splits, ("train", "validation", "test"), strict=True)]
    has_pairs = any(table.pairs is not None for table in tables)
    columns = Columns(target=tuple(names) or "target", targets=targets, text_pair="text_pair" if has_pairs else None)
    choice = str(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    known = choice if isinstance(choice, str | TrainedTokenizer) else None
    settings = DataSettings(source="text:python", columns=columns, lengths=lengths, tokenizer=known)
    given = (
        None if isinstance(choice, str | TrainedTokenizer) else TextTokenizer.of(choice, lengths.most, pad_token(choice, None))
    )
    encoded = encode_tables(tables, settings, DataSource("text", "python", Path.cwd()), given)
    return assemble(tables, encoded, settings)


def _table(samples: Sequence[Sample], split: str) -> TextTable:
    rows = [(sample,) if isinstance(sample, str) else tuple(sample) for sample in samples]
    widths = {len(row) for row in rows}
    if (
        len(widths) != 1
        or not widths <= {1, 2, 3}
        or not all(isinstance(text, str) for row in rows for text in row[: max(1, len(row) - 1)])
    ):
        msg = gettext(
            "{split}: samples are all texts, all (text, target), or all (text, text, target); texts are str", split=split
        )
        raise DataError(msg)
    width = widths.pop()
    return TextTable(
        [str(row[0]) for row in rows],
        [str(row[1]) for row in rows] if width == 3 else None,
        [_cell(row[-1]) for row in rows] if width > 1 else None,
        [f"{split} sample {index}" for index in range(len(rows))],
    )


def _cell(target: object) -> Cell:
    """Class numbers as names."""
    if target is None or isinstance(target, str | float):
        return target
    return str(target) if isinstance(target, int) else [str(part) for part in target]  # type: ignore[attr-defined]
