from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.settings import DataSettings, DataSource
from compress.data.text.encode import encode_tables
from compress.data.text.table import TextTable

pytest.importorskip("tokenizers")


def test_splits_have_targets_alike():
    tables = [TextTable(["a b", "c d"], targets=["x", "y"]), TextTable(["a"]), TextTable(["b"])]
    with pytest.raises(DataError, match="the validation, test texts have no targets"):
        encode_tables(tables, DataSettings(source="text:x"), DataSource("text", "x", Path()))
