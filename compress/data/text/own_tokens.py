"""The same texts in the tokens of another network, for a teacher with a tokenizer of its own.

texts ──► tokenizer of the data ──► student
└─► tokenizer of the teacher ─► teacher        sample n is the same text for both
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.settings import DataSource
from compress.data.text.encode import assemble, encode_tables
from compress.data.text.origin import TextOrigin
from compress.data.text.pair_split import PairSplit
from compress.data.text.settings import PAIRS, WHOLE_TEXTS
from compress.data.text.split import IDS, TYPES, TextSplit
from compress.data.text.tokenizer import TextTokenizer
from compress.data.text.tokenizer_files import load_tokenizer

if TYPE_CHECKING:
    from compress.data.batch import Split
    from compress.data.interface import Data


def data_in_tokens(data: Data, source: str, base: Path) -> Data:
    """The data in the tokens of another tokenizer: the same texts and targets, in the same order.

    Args:
        data: Texts, encoded by another tokenizer.
        source: Folder, file or name of the tokenizer.
        base: Folder for relative paths.

    Raises:
        DataError: The tokenizer cannot be read, or the texts are not known.
    """
    splits = (data.train, data.validation, data.test)
    origins = [_origin(split) for split in splits]
    settings = origins[0].settings
    tokenizer = load_tokenizer(source, base, settings.lengths.most)
    tables = [origin.table for origin in origins]
    encoded = encode_tables(tables, settings, DataSource("text", source, base), tokenizer)
    parts = assemble(tables, encoded, settings)
    train, validation, test = parts.splits
    return replace(data, spec=parts.spec, train=train, validation=validation, test=test, files=parts.files, warnings=())


def tokenizer_of_data(data: Data) -> TextTokenizer:
    """The tokenizer that the training texts were encoded by.

    Raises:
        DataError: The texts are not known.
    """
    return _origin(data.train).tokenizer


def split_in_tokens(split: Split, tokenizer: TextTokenizer) -> TextSplit:
    """The samples of a split in the tokens of another tokenizer, without targets besides the second texts of pairs.

    Args:
        split: Texts, encoded by another tokenizer.
        tokenizer: The other tokenizer.

    Raises:
        DataError: The texts of the split are not known.
    """
    origin = _origin(split)
    table = origin.table
    if origin.settings.columns.targets in PAIRS:
        first = tokenizer.encode(table.texts).ids
        second = first if table.pairs is None else tokenizer.encode(table.pairs).ids
        return PairSplit(first, second, None, table.texts)
    encoded = tokenizer.encode(table.texts, table.pairs)
    types = {TYPES: encoded.types} if bool(encoded.types.values.any()) else {}
    return TextSplit({IDS: encoded.ids, **types}, {}, table.texts)


def own_tokens_fact(data: Data, source: str) -> Fact:
    """That a network reads the texts in its own tokens, and how many of the test texts are cut.

    Args:
        data: Of `data_in_tokens`.
        source: The network.
    """
    origin = _origin(data.test)
    table = origin.table
    cut = origin.tokenizer.encode(table.texts, table.pairs).cut
    values = {"tokens": origin.tokenizer.vocabulary, "cut": cut, "texts": len(table), "most": origin.tokenizer.max_length}
    return Fact.of("data.own_tokens", source, **values)


def _origin(split: Split) -> TextOrigin:
    origin = getattr(split, "origin", None)
    if isinstance(origin, TextOrigin):
        columns = origin.settings.columns
        if columns.targets in WHOLE_TEXTS or columns.prompt is not None:
            return origin
    msg = gettext(
        "the teacher has a tokenizer of its own, and these samples are no whole texts that it could read anew; use its "
        "tokenizer for the data: `tokenizer: model`"
    )
    raise DataError(msg)
