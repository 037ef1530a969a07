import numpy as np
import pytest

from compress.core.errors import DataError
from compress.data.sources.text.rows import table_of
from compress.data.text.settings import Columns


def made(cells, **columns):
    return table_of([("line 1", cells)], list(cells), Columns(**columns), "file")


def test_a_table_without_the_default_target_has_none():
    assert made({"text": "a"}).targets is None
    with pytest.raises(DataError, match="no column 'target'"):
        made({"text": "a"}, target="target")


def test_targets_are_cells_or_several():
    assert made({"text": "a", "target": 3.0}).targets == ["3"]
    assert made({"text": "a", "target": True}).targets == ["1"]
    assert made({"text": "a", "target": "  "}).targets == [None]
    assert made({"text": "a", "target": ["x", "y"]}).targets == [["x", "y"]]
    assert made({"text": "a", "target": "x| y"}, targets="labels", separator="|").targets == [["x", "y"]]
    assert made({"text": "a", "p": 1, "q": 0}, target=("p", "q")).targets == [["1", "0"]]


def test_a_text_of_another_type_is_refused():
    with pytest.raises(DataError, match="line 1: the column text holds int"):
        made({"text": 3, "target": "x"})
    assert made({"text": None, "target": "x"}).texts == [""]


def test_a_column_of_groups_is_read_and_selected():
    rows = [(f"line {index}", {"text": "a", "target": "x", "dialect": dialect}) for index, dialect in enumerate("nsn")]
    table = table_of(rows, ["text", "target", "dialect"], Columns(group="dialect"), "file")
    assert table.select(np.array([2, 1])).members == ["n", "s"]
    with pytest.raises(DataError, match="no column 'speaker'"):
        made({"text": "a", "target": "x"}, group="speaker")
