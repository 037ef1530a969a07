import json

import pytest

from compress.core.errors import DataError
from compress.data.sources.text.arrow_table import FEATURES, class_names, read_files
from compress.data.text.settings import Columns

pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
NAMES = {FEATURES: json.dumps({"info": {"features": {"target": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}).encode()}


def table(**columns):
    return pa.table({"text": ["a", "b", "c"], "target": [1, 0, -1], **columns}).replace_schema_metadata(NAMES)


def test_numbers_of_classes_become_names(tmp_path):
    pq.write_table(table(), tmp_path / "t.parquet")
    read = read_files([tmp_path / "t.parquet"] * 2, Columns())
    assert read.texts == ["a", "b", "c"] * 2
    assert read.targets == ["yes", "no", None] * 2
    assert read.origin[0] == "t.parquet row 1"
    assert class_names(None) == {}


def test_files_of_arrow_are_read(tmp_path):
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table())
    assert read_files([tmp_path / "t.arrow"], Columns()).targets == ["yes", "no", None]


def test_damaged_files_and_missing_columns_are_told(tmp_path):
    (tmp_path / "t.parquet").write_text("text")
    with pytest.raises(DataError, match=r"no \.parquet file"):
        read_files([tmp_path / "t.parquet"], Columns())
    pq.write_table(table(), tmp_path / "u.parquet")
    with pytest.raises(DataError, match="no column 'sentence'"):
        read_files([tmp_path / "u.parquet"], Columns(text="sentence"))
