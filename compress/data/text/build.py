"""Tables of texts → `Data`: division into splits, then `encode`."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.fact import Fact
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.text.encode import assemble, encode_tables
from compress.data.text.table import TextTable, divide, limited, withhold


def build_text_data(splits: Mapping[str, TextTable], settings: DataSettings, origin: DataSource) -> Data:
    """Encode texts and split them.

    Args:
        splits: Tables of `train`, `val` and `test`, or of `all`.
        settings: The `data:` block.
        origin: The source.

    Raises:
        DataError: Too few texts, targets that do not fit, no tokenizer.
        MissingPackageError: tokenizers is not installed.
    """
    train, validation, test = divide(splits, validation=settings.validation, test=settings.test, seed=settings.seed)
    seed, most = settings.seed, settings.evaluation_limit
    train = withhold(limited(train, settings.limit, seed), settings.labelled, seed)
    tables = (train, limited(validation, most, seed), limited(test, most, seed))
    parts = assemble(tables, encode_tables(tables, settings, origin), settings)
    train_split, validation_split, test_split = parts.splits
    members = tables[2].members
    has_groups = len(members) == len(test_split)  # windows of long texts are more samples than texts
    without = () if has_groups or not members else (Fact.of("data.groups_of_windows"),)
    return Data(
        parts.spec,
        train_split,
        validation_split,
        test_split,
        source=settings.source,
        warnings=(*parts.facts, *without),
        files=parts.files,
        groups=members if has_groups else (),
    )
